import numpy as np
import pytest
from fiftyone import ViewField as F

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.banks.add_references import add_negatives, add_references, mark_negatives
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.errors import DatasetError, ReferenceRefusedError

PATH = "ground_truth.detections"


@pytest.fixture
def bank(dataset, segmenter):
    return banks.build_memory_bank(dataset.limit(1), "ground_truth", "blocks", segmenter=segmenter)


@pytest.fixture
def predicted(dataset, bank, segmenter):
    """The dataset with predictions in ``ntt``."""
    segment(dataset, "blocks", "ntt", segmenter=segmenter, progress=False)
    return dataset


def labels_of(view, label, field="ground_truth"):
    chosen = view.filter_labels(field, F("label") == label)
    return chosen.values(f"{field}.detections.id", unwind=True)


def tagged(dataset, tag, field="ground_truth"):
    chosen = dataset.filter_labels(field, F("tags").contains(tag))
    return set(chosen.values(f"{field}.detections.id", unwind=True))


def test_selected_labels_are_marked_and_counted(dataset):
    ids = labels_of(dataset.limit(3), "red") + labels_of(dataset.limit(2), "blue")
    added = add_references(dataset.select_labels(ids=ids), "ground_truth")
    assert tagged(dataset, "reference") == set(ids) == set(added.label_ids)
    assert added.counts == {"red": 3, "blue": 2}
    assert (added.tag, added.field, added.bank) == ("reference", "ground_truth", None)
    assert (added.added, added.already, added.refused, added.version) == ({}, 0, (), None)
    assert set(added.view.values(f"{PATH}.id", unwind=True)) == set(ids)


def test_references_are_added_to_those_there_are(dataset):
    add_references(dataset.limit(1), "ground_truth")
    add_references(dataset[1:2], "ground_truth")
    assert len(tagged(dataset, "reference")) == 6


def test_a_label_is_a_reference_or_a_negative(dataset, bank, segmenter):
    view = dataset.select_labels(ids=labels_of(dataset, "red"))
    add_negatives(view, "ground_truth", "blocks", segmenter=segmenter)
    first = dataset.limit(2)
    add_references(first, "ground_truth", classes=["red"])
    assert tagged(dataset, "reference") == set(labels_of(first, "red"))
    assert not tagged(dataset, "reference") & tagged(dataset, "negative")
    mark_negatives(first, "ground_truth")
    assert tagged(dataset, "reference") == set()


def test_other_tags_stay(dataset):
    dataset.tag_labels("mine", label_fields="ground_truth")
    add_references(dataset.limit(1), "ground_truth", tag="good")
    assert len(tagged(dataset, "mine")) == 18 and len(tagged(dataset, "good")) == 3


def test_a_bank_learns_what_is_marked(dataset, bank, segmenter):
    added = add_references(dataset.limit(3), "ground_truth", "blocks", segmenter=segmenter)
    loaded = banks.load_memory_bank(dataset, "blocks")
    assert added.added == {"red": 2, "green": 2, "blue": 2}
    assert (added.already, added.version, added.bank) == (3, loaded.version, "blocks")
    learnt = {r.provenance.label for label in loaded.classes for r in loaded.references(label)}
    assert learnt == set(added.label_ids) == tagged(dataset, "reference")


def test_a_bank_learns_negatives_of_the_class_that_each_label_carries(dataset, bank, segmenter):
    added = add_negatives(
        dataset[1:2], "ground_truth", "blocks", classes=["red"], segmenter=segmenter
    )
    loaded = banks.load_memory_bank(dataset, "blocks")
    assert added.counts == added.added == {"red": 1}
    assert [r.provenance.label for r in loaded.negative_references("red")] == list(added.label_ids)
    assert tagged(dataset, "negative") == set(added.label_ids)


def test_a_negative_of_no_class_is_named_and_not_marked(dataset, segmenter):
    banks.build_memory_bank(
        dataset.limit(1), "ground_truth", "reds", classes=["red"], segmenter=segmenter
    )
    added = add_negatives(dataset[1:2], "ground_truth", "reds", segmenter=segmenter)
    assert added.counts == {"red": 1}
    assert {entry.label for entry in added.refused} == {"green", "blue"}
    with pytest.raises(ReferenceRefusedError, match=r"no class 'blue'.*add references"):
        add_negatives(dataset[1:2], "ground_truth", "reds", classes=["blue"], segmenter=segmenter)
    assert tagged(dataset, "negative") == set(added.label_ids)


@pytest.mark.parametrize("name", [None, "blocks"])
def test_labels_that_cannot_serve_are_named_and_not_marked(dataset, bank, segmenter, name):
    sample = dataset.last()
    bare, crowd, good = sample.ground_truth.detections
    bare.mask = None
    crowd["iscrowd"] = 1
    sample.save()
    view = dataset.select(sample.id)
    added = add_references(view, "ground_truth", name, segmenter=segmenter)
    reasons = {entry.provenance.label: entry.reason for entry in added.refused}
    assert set(reasons) == {bare.id, crowd.id}
    assert "no mask" in reasons[bare.id] and "iscrowd" in reasons[crowd.id]
    assert tagged(dataset, "reference") == {good.id}


def test_a_vanishing_mask_is_named_and_not_marked(dataset, bank, segmenter):
    sample = dataset.last()
    thin = sample.ground_truth.detections[0]
    thin.mask = np.eye(*thin.mask.shape, dtype=bool) & (np.arange(thin.mask.shape[1]) < 3)
    sample.save()
    added = add_references(dataset.select(sample.id), "ground_truth", "blocks", segmenter=segmenter)
    assert [entry.provenance.label for entry in added.refused] == [thin.id]
    assert len(added.label_ids) == 2 and thin.id not in tagged(dataset, "reference")


def test_where_no_label_can_serve_it_is_an_error_and_nothing_is_marked(dataset):
    for label in (sample := dataset.first()).ground_truth.detections:
        label.mask = None
    sample.save()
    with pytest.raises(ReferenceRefusedError, match=r"None of the 3 labels can serve.*no mask"):
        add_references(dataset.limit(1), "ground_truth")
    assert tagged(dataset, "reference") == set()


def test_an_unknown_bank_is_told_before_anything_is_marked(dataset, segmenter):
    with pytest.raises(DatasetError, match="no memory bank 'nope'"):
        add_references(dataset, "ground_truth", "nope", segmenter=segmenter)
    assert tagged(dataset, "reference") == set()


@pytest.mark.parametrize("tag", ["", "  ", None, "$x"])
def test_a_tag_that_cannot_be_found_again_is_refused(dataset, tag):
    with pytest.raises(DatasetError, match="tag"):
        add_references(dataset, "ground_truth", tag=tag)


def test_predictions_are_copied_before_they_are_learnt(predicted, segmenter):
    image = predicted[2:3]
    ids = labels_of(image, "blue", "ntt")
    added = add_references(predicted.select_labels(ids=ids), "ntt", "blocks", segmenter=segmenter)
    [copy] = predicted[image.first().id]["ntt_references"].detections
    [source] = [d for d in image.first()["ntt"].detections if d.id in ids]
    assert added.field == "ntt_references" and added.label_ids == (copy.id,)
    assert (copy.label, copy.bounding_box, copy.tags) == (
        "blue",
        source.bounding_box,
        ["reference"],
    )
    assert np.array_equal(copy.mask, source.mask)
    assert tagged(predicted, "reference", "ntt") == set()
    loaded = banks.load_memory_bank(predicted, "blocks")
    assert loaded.references("blue")[-1].provenance.label == copy.id


def test_copies_outlive_the_next_run_and_are_found_again(predicted, segmenter):
    one = predicted[2:3]
    first = add_references(one, "ntt", "blocks", segmenter=segmenter)
    segment(predicted, "blocks", "ntt", overwrite=True, segmenter=segmenter, progress=False)
    second = add_references(one, "ntt", "blocks", segmenter=segmenter)
    assert set(first.label_ids) == set(second.label_ids)
    assert (second.added, second.already) == ({}, len(first.label_ids))
    view = banks.load_references_view(predicted, "blocks")
    assert view.count("ntt_references.detections") == len(first.label_ids)
    assert view.count(PATH) == 3


def test_a_promoted_prediction_that_turns_out_wrong_becomes_a_negative(predicted, segmenter):
    one = predicted[2:3]
    blue = one.select_labels(ids=labels_of(one, "blue", "ntt"))
    promoted = add_references(blue, "ntt", "blocks", segmenter=segmenter)
    with pytest.raises(ReferenceRefusedError, match="from_references=True"):
        add_negatives(blue, "ntt", "blocks", segmenter=segmenter)
    assert banks.load_memory_bank(predicted, "blocks").shots("blue") == 2
    demoted = add_negatives(blue, "ntt", "blocks", segmenter=segmenter, from_references=True)
    loaded = banks.load_memory_bank(predicted, "blocks")
    assert promoted.label_ids == demoted.label_ids
    assert [r.provenance.label for r in loaded.negative_references("blue")] == list(
        demoted.label_ids
    )
    assert loaded.shots("blue") == 1
    assert tagged(predicted, "reference", "ntt_references") == set()


def test_a_label_that_the_bank_learnt_in_place_is_not_learnt_again_as_a_copy(predicted, segmenter):
    banks.build_memory_bank(predicted[2:3], "ntt", "own", segmenter=segmenter)
    segmenter.reference_feature = None
    added = add_references(predicted[2:3], "ntt", "own", segmenter=segmenter)
    assert (added.added, added.already) == ({}, len(added.label_ids))


def test_patches_are_taken_for_their_labels(predicted, segmenter):
    patches = predicted.to_patches("ntt").match(F("ntt.label") == "green")
    added = add_negatives(patches.limit(2), "ntt", "blocks", segmenter=segmenter)
    assert added.counts == {"green": 2}


def test_what_was_done_is_told_in_words(dataset, bank, segmenter):
    added = add_references(dataset.limit(2), "ground_truth", "blocks", segmenter=segmenter)
    assert str(added) == (
        "6 labels in 'ground_truth' are 'reference': blue (2), green (2), red (2); "
        "'blocks' learnt 3, and held 3 before"
    )
