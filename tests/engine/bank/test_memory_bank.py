import numpy as np
import pytest
import torch

from ntt_plugin.engine.bank.memory_bank import Fingerprint, MemoryBank, Refused
from ntt_plugin.engine.recipe import PRESETS, Recipe
from ntt_plugin.engine.references import Provenance
from ntt_plugin.errors import BankError, RecipeError

ENCODER = Fingerprint("facebook/dinov2-large", "0123456789abcdef", 518, 4)
OTHER = Fingerprint("facebook/dinov2-base", "fedcba9876543210", 518, 4)


def unit(vector):
    vector = np.asarray(vector, dtype=np.float64)
    return vector / np.linalg.norm(vector)


@pytest.fixture
def bank():
    """Two boats, one bird, and a negative of the boats."""
    generator = torch.Generator().manual_seed(0)
    bank = MemoryBank(ENCODER)
    bank.add("boat", torch.randn(2, 4, generator=generator))
    bank.add("bird", torch.randn(4, generator=generator))
    bank.add_negatives("boat", torch.randn(4, generator=generator))
    return bank


def test_classes_keep_the_order_of_their_first_addition(bank):
    bank.add("ant", torch.ones(4))
    bank.add("bird", torch.ones(4))
    assert bank.classes == ["boat", "bird", "ant"]


def test_shots_are_counted_per_class_and_in_all_without_negatives(bank):
    assert (bank.shots("boat"), bank.shots("bird"), len(bank)) == (2, 1, 3)


def test_prototypes_are_the_plain_mean_then_unit_length():
    bank = MemoryBank(ENCODER)
    bank.add("a", torch.tensor([[3.0, 0, 0, 0], [0, 1, 0, 0]]))
    bank.add("b", torch.tensor([0.0, 0, 2, 0]))
    expected = [unit([1.5, 0.5, 0, 0]), [0, 0, 1, 0]]
    assert np.allclose(bank.prototypes().numpy(), expected)


def test_prototypes_follow_every_change(bank):
    before = bank.prototypes()
    bank.add("bird", torch.tensor([9.0, 0, 0, 0]))
    assert not torch.allclose(before[1], bank.prototypes()[1])
    assert torch.allclose(before[0], bank.prototypes()[0])


def test_a_caller_cannot_change_what_the_bank_holds(bank):
    kept = bank.prototypes()
    feature = torch.ones(4)
    bank.add("new", feature)
    feature.zero_()
    bank.prototypes().zero_()
    bank.classes.clear()
    bank.features("boat").zero_()
    assert torch.equal(bank.prototypes()[:2], kept)
    assert torch.equal(bank.features("new"), torch.ones(1, 4))


def test_the_version_counts_changes(bank):
    version = bank.version
    bank.add("boat", torch.ones(4))
    bank.add_negatives("bird", torch.ones(4))
    bank.remove("bird")
    assert bank.version == version + 3


def test_adding_nothing_changes_nothing(bank):
    version = bank.version
    assert bank.add("new", torch.zeros(0, 4)) == []
    assert (bank.version, bank.classes) == (version, ["boat", "bird"])


def test_provenance_stays_with_its_feature(bank):
    origin = Provenance("harbour", "sample", "label", (1.0, 2.0, 3.0, 4.0))
    (added,) = bank.add("boat", torch.ones(4), [origin])
    stored = bank.references("boat")[-1]
    assert (stored.id, stored.provenance) == (added, origin)


def test_ids_are_unique(bank):
    ids = [*bank.add("boat", torch.ones(3, 4)), *bank.add_negatives("boat", torch.ones(2, 4))]
    assert len(set(ids)) == 5


def test_removing_a_reference_leaves_the_others(bank):
    first, second = bank.references("boat")
    bank.remove_reference(first.id)
    assert [entry.id for entry in bank.references("boat")] == [second.id]
    assert torch.equal(bank.features("boat")[0], second.feature)


def test_removing_a_negative_leaves_the_references(bank):
    (negative,) = bank.negative_references("boat")
    bank.remove_reference(negative.id)
    assert (len(bank.negatives("boat")), bank.shots("boat")) == (0, 2)


def test_a_class_goes_with_its_last_reference(bank):
    for entry in bank.references("boat"):
        bank.remove_reference(entry.id)
    assert bank.classes == ["bird"]


@pytest.mark.parametrize(
    "attempt",
    [
        lambda bank: bank.shots("cow"),
        lambda bank: bank.remove("cow"),
        lambda bank: bank.add_negatives("cow", torch.ones(4)),
        lambda bank: bank.features("cow"),
    ],
)
def test_an_unknown_class_is_refused_with_those_there_are(bank, attempt):
    with pytest.raises(BankError, match=r"'cow'.*boat, bird"):
        attempt(bank)


def test_an_unknown_reference_is_refused(bank):
    with pytest.raises(BankError, match="no reference 'gone'"):
        bank.remove_reference("gone")


@pytest.mark.parametrize(
    ("label", "features", "provenances"),
    [
        ("a", torch.ones(5), None),
        ("a", torch.ones(1, 1, 4), None),
        ("a", torch.tensor([1.0, 2, float("nan"), 4]), None),
        ("a", torch.tensor([1.0, 2, float("inf"), 4]), None),
        ("a", torch.ones(2, 4), [Provenance()]),
        ("", torch.ones(4), None),
        (" ", torch.ones(4), None),
        (None, torch.ones(4), None),
    ],
)
def test_what_cannot_be_stored_is_refused_and_changes_nothing(bank, label, features, provenances):
    with pytest.raises(BankError):
        bank.add(label, features, provenances)
    assert (bank.classes, len(bank)) == (["boat", "bird"], 3)


def test_merging_takes_over_what_is_new_and_nothing_twice(bank):
    other = MemoryBank.from_bytes(bank.to_bytes())
    other.add("boat", torch.ones(4))
    other.add("cow", torch.ones(2, 4))
    other.add_negatives("bird", torch.ones(4))
    bank.merge(other)
    bank.merge(other)
    shots = {label: bank.shots(label) for label in bank.classes}
    assert shots == {"boat": 3, "bird": 1, "cow": 2}
    assert (len(bank.negatives("boat")), len(bank.negatives("bird"))) == (1, 1)


def test_merging_brings_the_refused_along_once(bank):
    other = MemoryBank(ENCODER)
    other.refused.append(Refused("boat", Provenance(sample="s"), "too thin"))
    bank.merge(other)
    bank.merge(other)
    assert bank.refused == other.refused


def test_merging_keeps_the_own_recipe(bank):
    other = MemoryBank(ENCODER, Recipe(grid=5))
    other.add("boat", torch.ones(4))
    bank.merge(other)
    assert bank.recipe == PRESETS["paper"]


def test_a_presets_name_stands_for_its_recipe():
    assert MemoryBank(ENCODER, "fast").recipe == PRESETS["fast"]
    with pytest.raises(RecipeError, match="no preset 'slow'"):
        MemoryBank(ENCODER, "slow")


def test_merging_what_is_here_already_is_no_change(bank):
    version = bank.version
    bank.merge(MemoryBank.from_bytes(bank.to_bytes()))
    assert bank.version == version


def test_a_bank_of_another_encoder_is_refused_with_both_names(bank):
    with pytest.raises(BankError, match=r"facebook/dinov2-large.*facebook/dinov2-base"):
        bank.merge(MemoryBank(OTHER))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"name": "a copy"}, True),
        ({"digest": "0"}, False),
        ({"size": 224}, False),
        ({"channels": 8}, False),
        ({"context_ratio": 0.3}, False),
    ],
)
def test_encoders_are_the_same_by_what_they_compute(change, same):
    other = Fingerprint(**{**vars(ENCODER), **change})
    assert ENCODER.same(other) is same


def test_the_nearest_reference_is_that_of_the_largest_cosine(bank):
    ids = bank.add("cow", torch.eye(4))
    features = torch.tensor([[0.0, 0.1, 0, 0], [0.6, 0, 0.8, 0], [1, 1, 1, 1.1]])
    assert bank.nearest_reference("cow", features) == [ids[1], ids[2], ids[3]]


def test_the_nearest_reference_is_the_first_among_equals(bank):
    ids = bank.add("cow", torch.ones(3, 4))
    assert bank.nearest_reference("cow", torch.ones(1, 4)) == ids[:1]


def test_an_empty_bank_has_no_prototype():
    assert MemoryBank(ENCODER).prototypes().shape == (0, 4)


def test_the_date_is_in_utc(bank):
    assert bank.created.endswith("+00:00")


def test_entries_are_references_and_negatives_of_each_class_in_turn():
    bank = MemoryBank(ENCODER)
    (cat,) = bank.add("cat", torch.ones(4))
    (dog,) = bank.add("dog", torch.ones(4))
    (not_cat,) = bank.add_negatives("cat", torch.zeros(4))
    found = [(label, negative, stored.id) for label, negative, stored in bank.entries()]
    assert found == [("cat", False, cat), ("cat", True, not_cat), ("dog", False, dog)]
