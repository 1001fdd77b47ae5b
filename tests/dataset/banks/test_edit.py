import threading
import time

import numpy as np
import pytest
import torch
from fiftyone import ViewField as F

from ntt_plugin.dataset.banks import banks, edit, store
from ntt_plugin.dataset.banks.thresholds import save_thresholds
from ntt_plugin.dataset.database.dataset_locks import bank_lock
from ntt_plugin.engine.bank.memory_bank import MemoryBank
from ntt_plugin.errors import BankError, DatasetError, ReferenceRefusedError
from tests.dataset import scenes


@pytest.fixture
def counting(segmenter):
    """A segmenter that tells which labels it was asked to encode."""
    asked = []
    feature = segmenter.reference_feature

    def asking(reference):
        asked.append(reference.provenance.label)
        return feature(reference)

    segmenter.reference_feature = asking
    segmenter.asked = asked
    return segmenter


@pytest.fixture
def bank(dataset, counting):
    """What the first two images show but for blue, saved as ``blocks``."""
    built = banks.build_memory_bank(
        dataset.limit(2), "ground_truth", "blocks", classes=["red", "green"], segmenter=counting
    )
    counting.asked.clear()
    return built


def update(dataset, segmenter, **others):
    return edit.update_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter, **others)


def ids_of(view, label):
    chosen = view.filter_labels("ground_truth", F("label") == label)
    return chosen.values("ground_truth.detections.id", unwind=True)


def test_an_update_is_the_bank_that_would_have_been_built_at_once(dataset, bank, counting):
    change = update(dataset.limit(4), counting)
    whole = banks.build_memory_bank(dataset.limit(4), "ground_truth", "whole", segmenter=counting)
    loaded = banks.load_memory_bank(dataset, "blocks")
    assert set(loaded.classes) == set(whole.classes)
    for label in whole.classes:
        assert torch.equal(loaded.features(label), whole.features(label))
        assert [r.provenance for r in loaded.references(label)] == [
            r.provenance for r in whole.references(label)
        ]
    assert change.added == {"red": 2, "green": 2, "blue": 4}
    assert (change.already, change.version) == (4, loaded.version)


def test_an_update_computes_what_is_new_and_nothing_else(dataset, bank, counting):
    update(dataset.limit(3), counting)
    new = ids_of(dataset.limit(3), "blue") + ids_of(dataset[2:3], "red")
    assert sorted(counting.asked) == sorted(new + ids_of(dataset[2:3], "green"))


def test_what_the_bank_held_keeps_its_ids_and_its_features(dataset, bank, counting):
    update(dataset, counting)
    loaded = banks.load_memory_bank(dataset, "blocks")
    before = bank.references("red")
    for old, kept in zip(before, loaded.references("red"), strict=False):
        assert old.id == kept.id and torch.equal(old.feature, kept.feature)
    assert (loaded.created, loaded.recipe) == (bank.created, bank.recipe)


def test_a_second_update_computes_nothing_and_changes_nothing(dataset, bank, counting):
    update(dataset, counting)
    counting.asked.clear()
    before = banks.load_memory_bank(dataset, "blocks").to_bytes()
    change = update(dataset, counting)
    assert (change.added, change.already, counting.asked) == ({}, 18, [])
    assert change.label_ids == ()
    assert banks.load_memory_bank(dataset, "blocks").to_bytes() == before


def test_only_what_is_tagged_and_asked_for_is_learnt(dataset, bank, counting):
    dataset.select_labels(ids=ids_of(dataset, "red")).tag_labels("more")
    dataset.select_labels(ids=ids_of(dataset, "blue")).tag_labels("more")
    change = update(dataset, counting, tag="more", classes=["blue"])
    assert change.added == {"blue": 6}
    assert sorted(change.label_ids) == sorted(ids_of(dataset, "blue"))


def test_negatives_are_learnt_as_negatives(dataset, bank, counting):
    change = update(dataset[4:], counting, negatives=True, classes=["red"])
    loaded = banks.load_memory_bank(dataset, "blocks")
    assert (change.added, change.negatives) == ({}, {"red": 2})
    assert torch.equal(loaded.negatives("red"), torch.tensor([[250.0, 0, 0]] * 2))
    assert loaded.shots("red") == 2


def test_a_negative_of_a_class_that_is_not_there_is_left_out_without_computing(
    dataset, bank, counting
):
    change = update(dataset[4:], counting, negatives=True)
    assert change.negatives == {"red": 2, "green": 2}
    assert {entry.label for entry in change.refused} == {"blue"}
    assert "add references of it first" in change.refused[0].reason
    assert not set(ids_of(dataset, "blue")) & set(counting.asked)


def test_a_reference_becomes_a_negative_with_its_feature(dataset, bank, counting):
    first = dataset.first()
    wrong = {"negatives": True, "from_references": True}
    change = update(dataset.select(first.id), counting, classes=["red"], **wrong)
    loaded = banks.load_memory_bank(dataset, "blocks")
    assert (change.negatives, change.removed, counting.asked) == ({"red": 1}, {"red": 1}, [])
    assert [r.provenance.sample for r in loaded.negative_references("red")] == [first.id]
    assert first.id not in [r.provenance.sample for r in loaded.references("red")]
    update(dataset.select(first.id), counting, classes=["red"])
    loaded = banks.load_memory_bank(dataset, "blocks")
    assert (loaded.shots("red"), len(loaded.negatives("red"))) == (2, 0)


def test_a_reference_is_not_made_a_negative_by_mistake(dataset, bank, counting):
    """The field of the references was chosen in place of that of the predictions."""
    change = update(dataset, counting, negatives=True, classes=["red"])
    assert change.negatives == {"red": 4}
    assert {entry.reason.split(",")[0] for entry in change.refused} == {
        "The bank holds it as a reference"
    }
    loaded = banks.load_memory_bank(dataset, "blocks")
    assert loaded.shots("red") == bank.shots("red") == 2


def test_the_last_reference_of_a_class_does_not_become_its_negative(dataset, bank, counting):
    change = update(dataset, counting, negatives=True, classes=["red"], from_references=True)
    loaded = banks.load_memory_bank(dataset, "blocks")
    assert loaded.shots("red") == 1
    assert change.negatives == {"red": 5}
    assert "all that the bank knows" in change.refused[0].reason


def test_a_label_that_was_renamed_moves_to_its_class(dataset, bank, counting):
    sample = dataset.first()
    red = next(d for d in sample.ground_truth.detections if d.label == "red")
    red.label = "crimson"
    sample.save()
    change = update(dataset.limit(2), counting, classes=["crimson"])
    loaded = banks.load_memory_bank(dataset, "blocks")
    assert (change.added, change.removed, counting.asked) == ({"crimson": 1}, {"red": 1}, [])
    assert (loaded.shots("crimson"), loaded.shots("red")) == (1, 1)


def test_bad_references_are_named_and_the_others_are_learnt(dataset, bank, counting):
    sample = dataset.last()
    bare, crowd, thin = sample.ground_truth.detections
    bare.mask = None
    crowd["iscrowd"] = 1
    thin.mask = np.eye(*thin.mask.shape, dtype=bool) & (np.arange(thin.mask.shape[1]) < 3)
    sample.save()
    change = update(dataset[4:], counting)
    reasons = {entry.provenance.label: entry.reason for entry in change.refused}
    assert set(reasons) == {bare.id, crowd.id, thin.id}
    assert "no mask" in reasons[bare.id] and "iscrowd" in reasons[crowd.id]
    assert "too small" in reasons[thin.id]
    assert sum(change.added.values()) == 3
    kept = banks.load_memory_bank(dataset, "blocks").refused
    assert {entry.provenance.label for entry in kept} == set(reasons)


def test_what_was_refused_and_mended_is_learnt_and_no_longer_listed(dataset, bank, counting):
    sample = dataset.last()
    mask, sample.ground_truth.detections[0].mask = sample.ground_truth.detections[0].mask, None
    sample.save()
    for _ in range(2):
        change = update(dataset[4:], counting)
        assert len(change.refused) == 1
    sample.ground_truth.detections[0].mask = mask
    sample.save()
    assert sum(update(dataset[4:], counting).added.values()) == 1
    assert banks.load_memory_bank(dataset, "blocks").refused == []


def test_where_nothing_can_be_learnt_the_first_reason_is_told(dataset, bank, counting):
    for sample in dataset[4:]:
        for label in sample.ground_truth.detections:
            label.mask = None
        sample.save()
    with pytest.raises(ReferenceRefusedError, match=r"None of the 6 labels.*'blocks'.*no mask"):
        update(dataset[4:], counting)
    assert banks.load_memory_bank(dataset, "blocks").to_bytes() == bank.to_bytes()


def test_another_encoder_is_refused_before_anything_is_computed(dataset, bank):
    other = scenes.ColourSegmenter(digest="others")
    other.reference_feature = None
    with pytest.raises(BankError, match="made by the encoder"):
        update(dataset, other)


def test_the_segmenter_comes_from_the_banks_own_recipe(dataset, bank, counting, monkeypatch):
    asked = []

    def get(recipe, device):
        asked.append((recipe, device))
        return counting

    monkeypatch.setattr("ntt_plugin.dataset.banks.learn.get_segmenter", get)
    edit.update_memory_bank(dataset, "ground_truth", "blocks", device="cpu")
    assert asked == [(bank.recipe, "cpu")]


def test_an_update_of_no_bank_is_told(dataset, counting):
    with pytest.raises(DatasetError, match="no memory bank 'blocks'"):
        update(dataset, counting)


def test_patches_are_taken_for_their_labels(dataset, bank, counting):
    patches = dataset.to_patches("ground_truth").match(F("ground_truth.label") == "blue").limit(2)
    assert update(patches, counting).added == {"blue": 2}


def test_progress_tells_of_what_is_new(dataset, bank, counting):
    seen = []
    update(dataset.limit(3), counting, progress=lambda bar: seen.append((bar.iteration, bar.total)))
    assert seen[-1] == (5, 5)


def test_a_callback_that_raises_leaves_the_bank_as_it_was(dataset, bank, counting):
    def cancel(bar):
        if bar.iteration > 1:
            raise KeyError

    with pytest.raises(KeyError):
        update(dataset, counting, progress=cancel)
    assert banks.load_memory_bank(dataset, "blocks").to_bytes() == bank.to_bytes()


def test_what_another_changed_meanwhile_is_not_lost(dataset, bank, counting):
    theirs = ids_of(dataset[3:4], "blue")

    def meanwhile(bar):
        if bar.iteration == 1 and len(banks.load_memory_bank(dataset, "blocks").classes) == 2:
            other = scenes.ColourSegmenter()
            edit.update_memory_bank(
                dataset[3:4], "ground_truth", "blocks", classes=["blue"], segmenter=other
            )
            edit.remove_references(dataset, "blocks", [bank.references("green")[0].id])

    change = update(dataset[2:4], counting, progress=meanwhile)
    loaded = banks.load_memory_bank(dataset, "blocks")
    assert {label: loaded.shots(label) for label in loaded.classes} == {
        "red": 4,
        "green": 3,
        "blue": 2,
    }
    assert [r.provenance.label for r in loaded.references("blue")][:1] == theirs
    assert (change.already, sum(change.added.values())) == (1, 5)


def test_an_update_waits_for_another_change_to_end(dataset, bank, counting):
    lock = bank_lock(dataset, "blocks")
    lock.__enter__()
    threading.Thread(
        target=lambda: (time.sleep(0.5), lock.__exit__(None, None, None)), daemon=True
    ).start()
    assert sum(update(dataset.limit(3), counting).added.values()) == 5


def test_an_update_gives_up_on_a_change_that_does_not_end(dataset, bank, counting, monkeypatch):
    monkeypatch.setattr(store, "_PATIENCE", 0.2)
    with bank_lock(dataset, "blocks"), pytest.raises(DatasetError, match="is changing the memory"):
        update(dataset, counting)
    assert banks.load_memory_bank(dataset, "blocks").to_bytes() == bank.to_bytes()


def test_references_are_removed_by_their_ids_or_their_labels(dataset, bank):
    first, second = bank.references("red")[0], bank.references("green")[1]
    change = edit.remove_references(dataset, "blocks", [first.id, str(second.provenance.label)])
    loaded = banks.load_memory_bank(dataset, "blocks")
    assert [r.id for r in loaded.references("red")] == [bank.references("red")[1].id]
    assert [r.id for r in loaded.references("green")] == [bank.references("green")[0].id]
    assert change.removed == {"red": 1, "green": 1}
    assert change.version == loaded.version > bank.version


def test_classes_are_removed_with_their_negatives(dataset, bank, counting):
    update(dataset[4:], counting, negatives=True, classes=["red"])
    change = edit.remove_references(dataset, "blocks", classes=["red"])
    assert change.removed == {"red": 4}
    assert banks.load_memory_bank(dataset, "blocks").classes == ["green"]


def test_a_class_goes_with_its_last_reference(dataset, bank):
    ids = [entry.id for entry in bank.references("red")]
    edit.remove_references(dataset, "blocks", ids, classes=["red"])
    assert banks.load_memory_bank(dataset, "blocks").classes == ["green"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"references": ["nope"]}, "holds no reference 'nope'"),
        ({"classes": ["nope"]}, "no class 'nope'; its classes are 'red', 'green'"),
        ({"classes": ["red", "green"]}, "Nothing would be left"),
        ({}, "Nothing was named"),
    ],
)
def test_a_removal_that_cannot_be_changes_nothing(dataset, bank, arguments, told):
    with pytest.raises(DatasetError, match=told):
        edit.remove_references(dataset, "blocks", **arguments)
    assert banks.load_memory_bank(dataset, "blocks").to_bytes() == bank.to_bytes()


def test_a_duplicate_is_the_same_and_on_its_own(dataset, bank):
    edit.duplicate_memory_bank(dataset, "blocks", "copy")
    assert banks.load_memory_bank(dataset, "copy").to_bytes() == bank.to_bytes()
    edit.remove_references(dataset, "copy", classes=["red"])
    assert banks.load_memory_bank(dataset, "blocks").to_bytes() == bank.to_bytes()


def test_a_duplicate_takes_no_name_that_is_taken(dataset, bank):
    with pytest.raises(DatasetError, match="already has a memory bank 'blocks'"):
        edit.duplicate_memory_bank(dataset, "blocks", "blocks")


def test_merged_banks_hold_each_label_once(dataset, bank, counting):
    banks.build_memory_bank(dataset[1:3], "ground_truth", "more", segmenter=counting)
    merged = edit.merge_memory_banks(dataset, ["blocks", "more"], "both")
    whole = banks.build_memory_bank(dataset.limit(3), "ground_truth", "whole", segmenter=counting)
    for label in ("red", "green"):
        assert torch.equal(merged.features(label), whole.features(label))
    assert merged.shots("blue") == 2
    assert banks.load_memory_bank(dataset, "both").to_bytes() == merged.to_bytes()
    assert banks.list_memory_banks(dataset) == ["blocks", "both", "more", "whole"]


def test_banks_of_other_encoders_are_not_merged(dataset, bank):
    other = MemoryBank(scenes.ColourSegmenter(digest="others").fingerprint, "tiny")
    other.add("red", torch.ones(3))
    banks.save_memory_bank(dataset, "other", other)
    with pytest.raises(BankError, match="'blocks' and 'other' cannot be merged"):
        edit.merge_memory_banks(dataset, ["blocks", "other"], "both")


@pytest.mark.parametrize(
    ("names", "new_name", "told"),
    [
        (["blocks"], "both", "two memory banks or more"),
        (["blocks", "blocks"], "both", "two memory banks or more"),
        (["blocks", "nope"], "both", "no memory bank 'nope'"),
        (["blocks", "copy"], "copy", "already has a memory bank 'copy'"),
    ],
)
def test_a_merger_that_cannot_be_is_told(dataset, bank, names, new_name, told):
    edit.duplicate_memory_bank(dataset, "blocks", "copy")
    with pytest.raises(DatasetError, match=told):
        edit.merge_memory_banks(dataset, names, new_name)


def test_a_bank_is_merged_into_another_with_a_tick(dataset, bank, counting):
    banks.build_memory_bank(dataset[2:], "ground_truth", "more", segmenter=counting)
    edit.merge_memory_banks(dataset, ["blocks", "more"], "blocks", overwrite=True)
    assert banks.get_memory_bank_info(dataset, "blocks").shots == {"red": 6, "green": 6, "blue": 4}


def test_undo_takes_the_last_change_back_and_once_more_brings_it_back(dataset, bank, counting):
    before = banks.load_memory_bank(dataset, "blocks").to_bytes()
    update(dataset[4:], counting, negatives=True, classes=["red"])
    after = banks.load_memory_bank(dataset, "blocks").to_bytes()
    undone = edit.undo_memory_bank(dataset, "blocks")
    assert banks.load_memory_bank(dataset, "blocks").to_bytes() == before
    assert (undone.removed, undone.added, undone.negatives) == ({"red": 2}, {}, {})
    again = edit.undo_memory_bank(dataset, "blocks")
    assert banks.load_memory_bank(dataset, "blocks").to_bytes() == after
    assert (again.removed, again.negatives) == ({}, {"red": 2})


def test_undo_goes_with_a_new_name_and_passes_thresholds_over(dataset, bank, counting):
    before = banks.load_memory_bank(dataset, "blocks").to_bytes()
    update(dataset[4:], counting, negatives=True, classes=["red"])
    save_thresholds(dataset, "blocks", thresholds={"red": 0.5})
    banks.rename_memory_bank(dataset, "blocks", "bricks")
    edit.undo_memory_bank(dataset, "bricks")
    assert banks.load_memory_bank(dataset, "bricks").to_bytes() == before


def test_a_new_bank_has_nothing_to_undo(dataset, bank):
    with pytest.raises(DatasetError, match="No former state"):
        edit.undo_memory_bank(dataset, "blocks")
    edit.remove_references(dataset, "blocks", classes=["red"])
    banks.delete_memory_bank(dataset, "blocks")
    banks.save_memory_bank(dataset, "blocks", bank)
    with pytest.raises(DatasetError, match="No former state"):
        edit.undo_memory_bank(dataset, "blocks")
