"""Labels whose ids repeat: in a cloned field, in other samples, in a cloned dataset."""

import zlib

import fiftyone as fo
import numpy as np
import pytest

from ntt_plugin.dataset.banks import add_references, banks, edit
from ntt_plugin.dataset.evaluation.compare import compare_segmentations
from ntt_plugin.dataset.evaluation.evaluate import evaluate
from ntt_plugin.dataset.references.sampling import sample_references
from ntt_plugin.dataset.samples.label_lookup import find_labels, find_sources
from ntt_plugin.dataset.samples.label_selection import LabelKey, exclude_labels, select_labels
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.engine.bank.memory_bank import MemoryBank
from ntt_plugin.engine.references import Provenance
from ntt_plugin.errors import DatasetError


@pytest.fixture
def cloned(dataset):
    """The field ``second`` has the ids of ``ground_truth``, and masks of another shape."""
    dataset.clone_sample_field("ground_truth", "second")
    for sample in dataset.iter_samples(autosave=True):
        for label in sample.second.detections:
            label.confidence = 0.9
            label.mask = np.triu(np.ones_like(label.mask))
    return dataset


@pytest.fixture
def repeated(dataset):
    """Three further samples of the same images, whose labels have the ids of the first three's."""
    dataset.add_collection(dataset.limit(3).clone(), new_ids=True)
    ids = dataset.values("ground_truth.detections.id", unwind=True)
    assert (len(ids), len(set(ids))) == (27, 18)
    return dataset


def provenances(bank):
    return [entry.provenance for label in bank.classes for entry in bank.references(label)]


def without_field(bank):
    """The bank as a version before this one wrote it."""
    old = MemoryBank(bank.fingerprint, bank.recipe)
    for label in bank.classes:
        for entry in bank.references(label):
            source = entry.provenance
            old.add(label, entry.feature, Provenance(source.dataset, source.sample, source.label))
    return old


def test_a_label_left_out_of_one_field_stays_in_the_other(dataset):
    dataset.clone_sample_field("ground_truth", "second")
    for sample in dataset.iter_samples(autosave=True):
        for label in sample.second.detections:
            label.confidence = 0.9
        sample.second.detections[0].mask = None
    results = evaluate(dataset, "second", "ground_truth", "check")
    assert results.config.left_out["label_count"] == 6
    assert (dataset.sum("check_tp"), dataset.sum("check_fn")) == (12, 6)
    assert len(results.ytrue) == 18


def test_a_label_left_out_of_one_sample_stays_in_the_other(repeated):
    repeated.clone_sample_field("ground_truth", "found")
    for sample in repeated.iter_samples(autosave=True):
        for label in sample.found.detections:
            label.confidence = 0.9
    sample = repeated.first()
    sample.ground_truth.detections[0].mask = None
    sample.save()
    evaluate(repeated, "found", "ground_truth", "check")
    assert (repeated.sum("check_tp"), repeated.sum("check_fp")) == (26, 1)


@pytest.mark.parametrize("field", ["ground_truth", "second"])
def test_the_source_is_in_the_field_that_was_learnt(cloned, segmenter, field):
    bank = banks.build_memory_bank(cloned, field, "both", segmenter=segmenter)
    assert {source.field for source in provenances(bank)} == {field}
    masks = {
        (sample.filepath, label.id): label.mask
        for sample in cloned
        for label in sample[field].detections
    }
    for source in find_sources(provenances(bank)):
        shown = fo.Detection.from_dict(dict(source.label))
        assert source.field == field
        assert np.array_equal(shown.mask, masks[source.filepath, shown.id])


@pytest.mark.parametrize("field", ["ground_truth", "second"])
def test_the_view_of_references_shows_the_field_that_was_learnt(cloned, segmenter, field):
    banks.build_memory_bank(cloned, field, "both", segmenter=segmenter)
    view = banks.load_references_view(cloned, "both")
    counts = {name: view.count(f"{name}.detections") for name in ("ground_truth", "second")}
    assert counts == {"ground_truth": 0, "second": 0, field: 18}


def test_a_renamed_field_still_gives_the_sources(cloned, segmenter):
    bank = banks.build_memory_bank(cloned, "ground_truth", "blocks", segmenter=segmenter)
    cloned.delete_sample_field("second")
    cloned.rename_sample_field("ground_truth", "truth")
    assert all(source.field == "truth" for source in find_sources(provenances(bank)))
    assert banks.load_references_view(cloned, "blocks").count("truth.detections") == 18
    change = edit.update_memory_bank(cloned, "truth", "blocks", segmenter=segmenter)
    assert (change.added, change.already) == ({}, 18)


def test_a_label_deleted_from_its_field_is_not_taken_from_another(cloned, segmenter):
    bank = banks.build_memory_bank(cloned, "second", "blocks", segmenter=segmenter)
    cloned.clear_sample_field("second")
    assert all(source.label is None for source in find_sources(provenances(bank)))


def test_corrected_masks_in_a_cloned_field_are_learnt(cloned, segmenter):
    banks.build_memory_bank(cloned, "ground_truth", "blocks", segmenter=segmenter)
    change = edit.update_memory_bank(cloned, "second", "blocks", segmenter=segmenter)
    assert (sum(change.added.values()), change.already) == (18, 0)
    again = edit.update_memory_bank(cloned, "second", "blocks", segmenter=segmenter)
    assert (again.added, again.already) == ({}, 18)


def test_a_bank_without_fields_holds_its_labels_as_before(cloned, segmenter):
    built = banks.build_memory_bank(cloned, "ground_truth", "new", segmenter=segmenter)
    banks.save_memory_bank(cloned, "old", without_field(built))
    change = edit.update_memory_bank(cloned, "ground_truth", "old", segmenter=segmenter)
    assert (change.added, change.already) == ({}, 18)
    old = provenances(banks.load_memory_bank(cloned, "old"))
    assert {source.field for source in find_sources(old)} == {"ground_truth"}
    likely = [*old, *provenances(built)[:1]]
    assert {source.field for source in find_sources(likely)} == {"ground_truth"}
    likely = [*old, Provenance(cloned.name, old[0].sample, old[0].label, field="second")]
    assert {source.field for source in find_sources(likely)} == {"second"}


def test_labels_of_other_samples_with_the_same_ids_are_learnt(repeated, segmenter):
    banks.build_memory_bank(repeated.limit(3), "ground_truth", "blocks", segmenter=segmenter)
    change = edit.update_memory_bank(repeated.skip(6), "ground_truth", "blocks",
                                           segmenter=segmenter)  # fmt: skip
    assert (sum(change.added.values()), change.already) == (9, 0)
    assert {key.sample for key in change.labels} == set(repeated.skip(6).values("id"))


def test_marks_go_on_the_labels_that_were_given(repeated, segmenter):
    added = add_references.add_references(repeated.limit(2), "ground_truth")
    assert repeated.count_label_tags("ground_truth") == {"reference": 6}
    assert repeated.skip(6).count_label_tags("ground_truth") == {}
    assert added.view.values("id") == repeated.limit(2).values("id")


def test_marks_go_on_the_field_that_was_given(cloned, segmenter):
    added = add_references.add_references(cloned.limit(2), "second")
    assert cloned.count_label_tags("second") == {"reference": 6}
    assert cloned.count_label_tags("ground_truth") == {}
    assert added.view.count("ground_truth.detections") == 0
    assert added.view.count("second.detections") == 6


def test_a_refused_label_takes_no_other_of_its_id_along(repeated, segmenter):
    sample = repeated.first()
    sample.ground_truth.detections[0].mask = None
    sample.save()
    added = add_references.add_references(repeated, "ground_truth")
    assert len(added.refused) == 1
    assert repeated.count_label_tags("ground_truth") == {"reference": 26}


def test_references_drawn_at_random_are_tagged_in_their_samples_alone(repeated):
    chosen = sample_references(repeated, "ground_truth", shots=4)
    assert repeated.count_label_tags("ground_truth") == {"reference": len(chosen.label_ids)}


def test_kept_copies_are_of_each_sample(repeated, segmenter):
    banks.build_memory_bank(repeated.skip(3).limit(3), "ground_truth", "blocks",
                            segmenter=segmenter)  # fmt: skip
    segment(repeated, "blocks", segmenter=segmenter)
    ids = repeated.limit(3).values("ntt.detections.id")
    for sample, labels in zip(repeated.skip(6).iter_samples(autosave=True), ids, strict=True):
        for label, label_id in zip(sample.ntt.detections, labels, strict=True):
            label.id = label_id
    added = add_references.add_references(repeated, "ntt", "blocks", segmenter=segmenter)
    assert len(added.label_ids) == len(set(added.label_ids)) == 27
    assert (sum(added.added.values()), added.already) == (27, 0)


def test_a_label_names_the_field_of_its_reference(cloned, segmenter):
    banks.build_memory_bank(cloned.limit(2), "second", "blocks", segmenter=segmenter)
    segment(cloned.skip(2), "blocks", segmenter=segmenter)
    assert cloned.distinct("ntt.detections.reference_field") == ["second"]


def test_a_label_id_of_several_labels_is_ambiguous_when_references_are_removed(cloned, segmenter):
    banks.build_memory_bank(cloned, "ground_truth", "blocks", segmenter=segmenter)
    edit.update_memory_bank(cloned, "second", "blocks", segmenter=segmenter)
    shared = cloned.first().second.detections[0].id
    with pytest.raises(DatasetError, match="2 labels with the id") as caught:
        edit.remove_references(cloned, "blocks", [shared])
    held = banks.load_memory_bank(cloned, "blocks")
    ids = [entry.id for label in held.classes for entry in held.references(label)
           if entry.provenance.label == shared]  # fmt: skip
    assert len(ids) == 2 and all(one in str(caught.value) for one in ids)
    assert sum(edit.remove_references(cloned, "blocks", ids[:1]).removed.values()) == 1


def test_merged_banks_keep_labels_of_both_fields(cloned, segmenter):
    first = banks.build_memory_bank(cloned, "ground_truth", "one", segmenter=segmenter)
    banks.build_memory_bank(cloned, "second", "two", segmenter=segmenter)
    banks.save_memory_bank(cloned, "three", without_field(first))
    assert len(edit.merge_memory_banks(cloned, ["one", "two"], "both")) == 36
    assert len(edit.merge_memory_banks(cloned, ["one", "three"], "same")) == 18


def test_merged_banks_of_a_cloned_dataset_keep_what_was_changed_there(dataset, segmenter):
    banks.build_memory_bank(dataset, "ground_truth", "one", segmenter=segmenter)
    other = dataset.clone()
    try:
        sample = other.first()
        corrected = sample.ground_truth.detections[0]
        corrected.mask = None
        corrected.bounding_box = [0, 0, 1, 1]
        corrected.mask = np.ones((64, 96), dtype=bool)
        sample.save()
        banks.build_memory_bank(other, "ground_truth", "two", segmenter=segmenter)
        assert len(edit.merge_memory_banks(other, ["one", "two"], "both")) == 19
    finally:
        other.delete()


def test_a_source_is_looked_for_in_the_dataset_that_was_learnt_from(dataset, segmenter):
    bank = banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)
    expected = [source.label["mask"] for source in find_sources(provenances(bank))]
    other = dataset.clone()
    try:
        for sample in other.iter_samples(autosave=True):
            for label in sample.ground_truth.detections:
                label.mask = np.triu(np.ones_like(label.mask))
        found = find_sources(provenances(bank), other)
        assert [source.label["mask"] for source in found] == expected
        assert all(find_labels(provenances(bank), other))
    finally:
        other.delete()


@pytest.mark.parametrize("change", ["mask", "box", "packing"])
def test_labels_redrawn_in_a_cloned_dataset_are_learnt_there(dataset, segmenter, change):
    banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)
    other = dataset.clone()
    try:
        sample = other.first()
        label = sample.ground_truth.detections[0]
        if change == "mask":
            label.mask = np.triu(np.ones_like(label.mask))
        elif change == "box":
            label.bounding_box = [0.1, 0.1, *label.bounding_box[2:]]
        sample.save()
        if change == "packing":
            collection = other._sample_collection
            stored = collection.find_one({"_id": sample._id})
            mask = zlib.decompress(stored["ground_truth"]["detections"][0]["mask"])
            repacked = {"ground_truth.detections.0.mask": zlib.compress(mask, 0)}
            collection.update_one({"_id": sample._id}, {"$set": repacked})
        result = edit.update_memory_bank(other, "ground_truth", "blocks", segmenter=segmenter)
        new = int(change != "packing")
        assert (sum(result.added.values()), result.already) == (new, 18 - new)
        again = edit.update_memory_bank(other, "ground_truth", "blocks", segmenter=segmenter)
        assert (again.added, again.already) == ({}, 18)
    finally:
        other.delete()


def test_differences_are_of_their_own_field(cloned):
    for sample in cloned.iter_samples(autosave=True):
        sample.second.detections[0].bounding_box = [0.9, 0.9, 0.05, 0.05]
        sample.second.detections[0].mask = None
    found = compare_segmentations(cloned.limit(1), "ground_truth", "second")
    sample = cloned.first()
    own = [key for key in found.labels if key.label == sample.second.detections[0].id]
    assert sorted(key.field for key in own) == ["ground_truth", "second"]
    assert found.view.count("second.detections") == sum(k.field == "second" for k in found.labels)


def test_labels_are_selected_and_excluded_by_all_three(repeated):
    one, other = repeated.first(), repeated.skip(6).first()
    shared = one.ground_truth.detections[0].id
    assert shared == other.ground_truth.detections[0].id
    key = LabelKey(other.id, "ground_truth", shared)
    second = LabelKey(one.id, "ground_truth", one.ground_truth.detections[1].id)
    view = select_labels(repeated, [key, second])
    held = dict(zip(*view.values(["id", "ground_truth.detections.id"]), strict=True))
    assert held == {one.id: [second.label], other.id: [shared]}
    assert exclude_labels(repeated, [key]).count("ground_truth.detections") == 26
    assert len(select_labels(repeated, [])) == 0
