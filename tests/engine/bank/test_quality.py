import math

import numpy as np
import pytest
import torch

from ntt_plugin.engine.bank.memory_bank import Fingerprint, MemoryBank
from ntt_plugin.engine.bank.quality import class_similarity, negative_quality, reference_quality

ENCODER = Fingerprint("encoder", "digest", size=16, channels=4)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)


@pytest.fixture
def bank(features):
    """Class ``a`` of the first five features, ``b`` of the others."""
    bank = MemoryBank(ENCODER)
    bank.add("a", torch.from_numpy(features[:5]))
    bank.add("b", torch.from_numpy(features[5:]))
    return bank


OTHERS = [[1, 2, 3, 4], [0, 2, 3, 4], [0, 1, 3, 4], [0, 1, 2, 4], [0, 1, 2, 3], [6], [5]]


def test_quality_is_leave_one_out(bank, features):
    for row, (entry, own) in enumerate(zip(reference_quality(bank), OTHERS, strict=True)):
        others = features[5:] if row < 5 else features[:5]
        assert math.isclose(
            entry.own, unit(features[row]) @ unit(features[own].mean(axis=0)), abs_tol=1e-6
        )
        assert math.isclose(
            entry.nearest, unit(features[row]) @ unit(others.mean(axis=0)), abs_tol=1e-6
        )
        assert entry.nearest_class == ("b" if row < 5 else "a")


def test_close_is_the_mean_cosine_to_the_nearer_half_of_the_others(bank, features):
    for row, (entry, own) in enumerate(zip(reference_quality(bank), OTHERS, strict=True)):
        cosines = sorted((unit(features[row]) @ unit(features[i]) for i in own), reverse=True)
        assert math.isclose(entry.close, np.mean(cosines[: (len(own) + 1) // 2]), abs_tol=1e-6)


def test_references_are_in_the_banks_order(bank):
    ids = [entry.id for label in bank.classes for entry in bank.references(label)]
    assert [entry.id for entry in reference_quality(bank)] == ids


def test_quality_with_one_shot_and_with_one_class_is_not_a_number():
    bank = MemoryBank(ENCODER)
    bank.add("a", torch.ones(4))
    (entry,) = reference_quality(bank)
    assert math.isnan(entry.own) and math.isnan(entry.close) and math.isnan(entry.nearest)
    assert entry.nearest_class is None


def test_an_empty_bank_has_no_quality():
    bank = MemoryBank(ENCODER)
    assert reference_quality(bank) == negative_quality(bank) == []
    assert class_similarity(bank).shape == (0, 0)


def test_a_negative_is_compared_with_the_prototypes(bank, features):
    (identity,) = bank.add_negatives("b", torch.tensor([1.0, 2.0, 3.0, 4.0]))
    (entry,) = negative_quality(bank)
    negative = unit(np.array([1.0, 2.0, 3.0, 4.0]))
    assert (entry.id, entry.label, entry.nearest_class) == (identity, "b", "a")
    assert math.isclose(entry.own, negative @ unit(features[5:].mean(axis=0)), abs_tol=1e-6)
    assert math.isclose(entry.nearest, negative @ unit(features[:5].mean(axis=0)), abs_tol=1e-6)


def test_class_similarity_is_the_cosine_of_the_means(bank, features):
    found = class_similarity(bank)
    expected = unit(features[:5].mean(axis=0)) @ unit(features[5:].mean(axis=0))
    assert found.dtype == torch.float32
    assert np.allclose(found, [[1, expected], [expected, 1]], atol=1e-6)
