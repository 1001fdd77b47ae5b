"""The ways to match that options_ap.py tries, against the engine and plain sums."""

import numpy as np
import pytest
import torch

from benchmarks import matching_options as options
from ntt_plugin.engine import Fingerprint, MemoryBank
from ntt_plugin.engine.matching.match import similarities

CHANNELS = 6


def a_reference(rng: np.random.Generator, centre: np.ndarray) -> options.Views:
    return options.Views(
        *(centre + 0.3 * rng.normal(size=CHANNELS).astype(np.float32) for _ in range(4)),
        background=rng.normal(size=CHANNELS).astype(np.float32),
    )


@pytest.fixture
def drawn() -> options.Drawn:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, CHANNELS)).astype(np.float32)
    return [[a_reference(rng, centre) for _ in range(4)] for centre in centres]


@pytest.fixture
def features() -> np.ndarray:
    return options.units(np.random.default_rng(1).normal(size=(20, CHANNELS)))


def bank_of(drawn: options.Drawn, backgrounds: bool = False) -> MemoryBank:
    bank = MemoryBank(Fingerprint("e", "d", 14, CHANNELS))
    for index, references in enumerate(drawn):
        bank.add(str(index), torch.from_numpy(np.stack([r.plain for r in references])))
    if backgrounds:
        every = np.stack([r.background for references in drawn for r in references])
        for label in bank.classes:
            bank.add_negatives(label, torch.from_numpy(every))
    return bank


def test_the_mean_of_plain_views_is_the_recipes_similarity(
    drawn: options.Drawn, features: np.ndarray
) -> None:
    expected = similarities(features, bank_of(drawn), 0.8)
    np.testing.assert_allclose(options.to_means(drawn)(features), expected, atol=1e-6)


def test_backgrounds_as_negatives_are_the_recipes_section_5(
    drawn: options.Drawn, features: np.ndarray
) -> None:
    expected = similarities(features, bank_of(drawn, backgrounds=True), 0.8)
    found = options.background_negatives(drawn, each=True)(features)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not np.allclose(found, options.to_means(drawn)(features))


def test_what_is_more_like_background_than_any_class_is_dropped(
    drawn: options.Drawn, features: np.ndarray
) -> None:
    plain = options.to_means(drawn)(features)
    background = features @ options.units(np.stack([r.background for c in drawn for r in c])).T
    found = options.background_class(drawn, each=True)(features)
    dropped = background.max(axis=1) > plain.max(axis=1)
    assert 0 < dropped.sum() < len(features)
    assert not found[dropped].any() and np.array_equal(found[~dropped], plain[~dropped])


def test_best_of_each_reference_is_the_nearest_one(
    drawn: options.Drawn, features: np.ndarray
) -> None:
    expected = [
        [max(0, max(float(f @ options.units(r.plain[None])[0]) for r in c)) for c in drawn]
        for f in features
    ]
    np.testing.assert_allclose(options.several(drawn, None)(features), expected, atol=1e-6)


def test_a_cold_log_sum_exp_is_the_best_and_a_hot_one_the_mean(
    drawn: options.Drawn, features: np.ndarray
) -> None:
    cold = options.several(drawn, None, 1e-4)(features)
    np.testing.assert_allclose(cold, options.several(drawn, None)(features), atol=1e-3)
    cosines = [features @ options.units(np.stack([r.plain for r in c])).T for c in drawn]
    mean = np.stack([c.mean(axis=1) for c in cosines], axis=1).clip(min=0)
    np.testing.assert_allclose(options.several(drawn, None, 1e3)(features), mean, atol=1e-3)


def test_clusters_find_groups_that_lie_apart() -> None:
    rng, axes = np.random.default_rng(0), np.eye(CHANNELS)[:3]
    rows = np.concatenate([axis + 0.05 * rng.normal(size=(5, CHANNELS)) for axis in axes])
    found = options.clusters(rows, 3) @ axes.T
    assert sorted(found.argmax(axis=1)) == [0, 1, 2] and (found.max(axis=1) > 0.95).all()


def test_leave_one_out_takes_several_prototypes_where_a_class_has_two_looks() -> None:
    # The first class looks like two opposite things, so that its mean says nothing.
    axes = np.eye(CHANNELS, dtype=np.float32)
    rng = np.random.default_rng(0)
    looks = [[axes[0], -axes[0]], [axes[1]], [axes[2]]]
    drawn = [[a_reference(rng, 3 * look) for look in own for _ in range(4)] for own in looks]
    features = options.units(np.stack([axes[0], -axes[0], axes[1], axes[2]]))
    assert options.chosen_by_leave_one_out(drawn)(features).argmax(axis=1).tolist() == [0, 0, 1, 2]


def test_without_the_background_two_features_are_compared_across_it(
    drawn: options.Drawn, features: np.ndarray
) -> None:
    found = options.background_removed(drawn)
    direction = options.units(
        np.mean([[r.background for r in c] for c in drawn], axis=(0, 1))[None]
    )
    moved = options.units(features - 0.4 * (features @ direction.T) * direction)
    np.testing.assert_allclose(found(moved), found(features), atol=1e-5)
