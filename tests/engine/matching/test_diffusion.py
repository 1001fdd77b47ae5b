import numpy as np
import pytest

from ntt_plugin.engine.masks.packed import pack_mask
from ntt_plugin.engine.matching.soft_merging import diffused_redundancy
from tests.engine.masks.packed_masks import blob


def by_a_plain_loop(masks: list[np.ndarray]) -> list[float]:
    """The recipe's section 6, number by number."""
    count = len(masks)
    covers = [[0.0] * count for _ in range(count)]
    for i in range(count):
        for j in range(i):
            covers[i][j] = float((masks[i] & masks[j]).sum() / masks[i].sum())
    strongest = [max(row) for row in covers]
    pi = [1 / count] * count
    for _ in range(30):
        spread = []
        for row in covers:
            total = sum(row)
            flow = sum(value / total * pi[j] for j, value in enumerate(row)) if total else 0.0
            spread.append(flow)
        pi = [0.3 * flow + 0.7 * q for flow, q in zip(spread, strongest, strict=True)]
    return pi


def one_label(masks):
    return diffused_redundancy(masks, np.zeros(len(masks), int))


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_recipes_formula(seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = [mask for mask in (blob(rng, 110, 170) for _ in range(20)) if mask.any()]

    found = one_label([pack_mask(mask) for mask in masks])

    assert np.allclose(found, by_a_plain_loop(masks), atol=1e-12)
    assert found.max() > 0.5


def test_labels_have_nothing_to_do_with_one_another() -> None:
    rng = np.random.default_rng(9)
    masks = [mask for mask in (blob(rng, 110, 170) for _ in range(25)) if mask.any()]
    labels = rng.integers(0, 3, len(masks))

    found = diffused_redundancy([pack_mask(mask) for mask in masks], labels)

    for label in range(3):
        own = [mask for mask, of in zip(masks, labels, strict=True) if of == label]
        assert np.allclose(found[labels == label], by_a_plain_loop(own), atol=1e-12)


def test_what_is_covered_by_something_covered_counts_for_less() -> None:
    outer, inner, copy = (np.zeros((60, 60), bool) for _ in range(3))
    outer[:40, :40] = inner[10:30, 10:30] = copy[10:30, 10:30] = True
    found = one_label([pack_mask(mask) for mask in (outer, inner, copy)])

    assert found[0] == pytest.approx(0, abs=1e-12)
    assert found[1] == pytest.approx(0.7)
    assert found[2] == pytest.approx(0.7 + 0.3 * (0.5 * 0 + 0.5 * 0.7))


def test_masks_apart_are_not_redundant_and_none_are_nothing() -> None:
    one, other = np.zeros((2, 30, 30), bool)
    one[:10], other[20:] = True, True

    assert np.allclose(one_label([pack_mask(one), pack_mask(other)]), 0)
    assert one_label([]).shape == (0,)
