import math

import pytest
import torch
import torch.nn.functional as F

from ntt_plugin.engine.bank.memory_bank import Fingerprint, MemoryBank
from ntt_plugin.engine.bank.quality import (
    find_badly_cut,
    find_duplicates,
    find_outliers,
    reference_quality,
)
from ntt_plugin.engine.references import Provenance

CHANNELS = 32
ENCODER = Fingerprint("encoder", "digest", size=16, channels=CHANNELS)


def around(axis: int, count: int, seed: int = 0, spread: float = 0.1) -> torch.Tensor:
    """Features near one axis, (count, C)."""
    noise = torch.randn(count, CHANNELS, generator=torch.Generator().manual_seed(seed))
    return F.one_hot(torch.tensor(axis), CHANNELS) + spread * noise


@pytest.fixture
def bank():
    """Six references each of two classes that are well apart."""
    bank = MemoryBank(ENCODER)
    bank.add("dog", around(0, 6, seed=1))
    bank.add("cat", around(1, 6, seed=2))
    return bank


def outliers(bank):
    return find_outliers(reference_quality(bank))


def test_a_sound_bank_has_none(bank):
    assert outliers(bank) == {}


def test_a_reference_of_another_class_is_said_to_be_more_like_that(bank):
    (wrong,) = bank.add("dog", around(1, 1, seed=3))
    (entry,) = [entry for entry in reference_quality(bank) if entry.id == wrong]
    reason = f"more like 'cat' ({entry.nearest:.2f}) than its own class 'dog' ({entry.own:.2f})"
    found = outliers(bank)
    assert list(found) == [wrong]
    assert found[wrong].startswith(reason) and found[wrong].endswith("perhaps mislabelled")


def test_what_is_like_no_class_is_not_said_to_be_of_another(bank):
    (background,) = bank.add("dog", around(7, 1, seed=3))
    found = outliers(bank)
    assert list(found) == [background]
    assert found[background].startswith("unlike the other references of 'dog'")


def test_two_bad_ones_do_not_hide_each_other(bank):
    bad = bank.add("dog", torch.cat([around(1, 1, seed=3), around(7, 1, seed=4)]))
    assert sorted(outliers(bank)) == sorted(bad)


def test_a_class_that_varies_is_judged_by_its_own_measure(bank):
    bank.add("bird", around(2, 10, seed=5, spread=0.25))
    assert outliers(bank) == {}


def test_the_scale_of_similarities_does_not_matter(bank):
    """As with an encoder to which all things are alike: every feature shares a large part."""
    shared = MemoryBank(ENCODER)
    for label in bank.classes:
        shared.add(label, bank.features(label) + 3 * F.one_hot(torch.tensor(20), CHANNELS))
    (wrong,) = shared.add("dog", around(1, 1, 3) + 3 * F.one_hot(torch.tensor(20), CHANNELS))
    assert list(outliers(shared)) == [wrong]


@pytest.mark.parametrize("shots", [1, 2])
def test_of_one_or_two_references_none_can_be_told_apart(bank, shots):
    bank.add("bird", torch.cat([around(2, 1), around(1, 1, seed=3)])[:shots])
    assert outliers(bank) == {}


def test_one_class_alone_has_outliers_too():
    bank = MemoryBank(ENCODER)
    bank.add("dog", around(0, 6, seed=1))
    (odd,) = bank.add("dog", around(7, 1, seed=3))
    assert list(outliers(bank)) == [odd]


def test_equal_references_are_no_outliers():
    bank = MemoryBank(ENCODER)
    bank.add("dog", torch.ones(5, CHANNELS))
    bank.add("cat", around(1, 5))
    assert outliers(bank) == {}


def test_a_mask_of_which_nothing_is_found_again_is_badly_cut(bank):
    first, second = bank.references("dog")[:2]
    found = find_badly_cut(reference_quality(bank), {first.id: 0.05, second.id: 0.4})
    assert list(found) == [first.id]
    assert "IoU 0.05" in found[first.id] and "mask may be wrong" in found[first.id]


def test_a_bad_cut_counts_where_the_reference_is_unlike_its_class_too(bank):
    half = F.normalize(around(0, 1), dim=1) + 0.6 * F.normalize(around(1, 1), dim=1)
    (rather_odd,) = bank.add("dog", half)
    qualities = reference_quality(bank)
    assert find_outliers(qualities) == {}
    assert list(find_badly_cut(qualities, {rather_odd: 0.4})) == [rather_odd]
    assert find_badly_cut(qualities, {rather_odd: 0.6}) == {}


def test_a_single_reference_can_be_badly_cut():
    bank = MemoryBank(ENCODER)
    (only,) = bank.add("dog", torch.ones(CHANNELS))
    (entry,) = reference_quality(bank)
    assert math.isnan(entry.own)
    assert list(find_badly_cut([entry], {only: 0.0})) == [only]


def test_the_same_label_twice_is_a_duplicate_after_the_first(bank):
    origin = Provenance("dataset", "sample", "label")
    _, again = bank.add("dog", around(0, 2, seed=8), [origin, origin])
    assert list(find_duplicates(bank)) == [again]


def test_a_label_of_the_same_id_in_another_sample_is_another_object(bank):
    origins = [Provenance("dataset", sample, "label") for sample in ("one", "other")]
    bank.add("dog", around(0, 2, seed=8), origins)
    assert find_duplicates(bank) == {}


def test_the_same_feature_twice_is_a_duplicate(bank):
    (copy,) = bank.add("dog", bank.features("dog")[2], Provenance("dataset", "sample", "copy"))
    assert find_duplicates(bank) == {copy: "the same object as another reference of 'dog'"}


def test_one_object_in_two_classes_is_found_in_both(bank):
    origin = Provenance("dataset", "sample", "label")
    (dog,) = bank.add("dog", around(0, 1, seed=8), origin)
    (cat,) = bank.add("cat", around(0, 1, seed=8), origin)
    found = find_duplicates(bank)
    assert "'cat' too" in found[dog] and "'dog' too" in found[cat]


def test_a_reference_that_is_a_negative_of_its_class_is_found_in_both_places(bank):
    origin = Provenance("dataset", "sample", "label")
    (positive,) = bank.add("dog", around(0, 1, seed=8), origin)
    (negative,) = bank.add_negatives("dog", around(0, 1, seed=8), origin)
    bank.add_negatives("cat", around(0, 1, seed=8), origin)
    found = find_duplicates(bank)
    assert sorted(found) == sorted([positive, negative])
    assert "negative" in found[positive] and "reference" in found[negative]
