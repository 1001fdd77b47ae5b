"""Names: of fields, banks and classes."""

import logging

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.database.dataset_locks import evaluation_lock
from ntt_plugin.dataset.evaluation.evaluate import evaluate
from ntt_plugin.dataset.segmentation.masks_from_boxes import masks_from_boxes
from ntt_plugin.dataset.segmentation.segment import segment
from tests.bad_input.expectations import refused, row


def rename_reds(dataset, name):
    """Class ``red`` gets another name, in a copy of the ground truth."""
    for sample in dataset:
        copies = [label.copy() for label in sample.ground_truth.detections]
        for label in copies:
            label.label = name if label.label == "red" else label.label
        sample["labels"] = fo.Detections(detections=copies)
        sample.save()


@row("field-name")
@pytest.mark.parametrize("name", ["", "two words", "a.b", "_hidden", "1st", "a$", "a\0b"])
@pytest.mark.parametrize("step", ["segment", "boxes"])
def test_a_field_name_that_cannot_be_is_refused_with_those_that_can(
    unchanged, segmenter, name, step
):
    with refused(repr(name), "letters, digits and underscores"):
        if step == "segment":
            segment(unchanged, "blocks", label_field=name, segmenter=segmenter)
        else:
            masks_from_boxes(unchanged, "ground_truth", name, segmenter=segmenter)


@row("field-reserved")
@pytest.mark.parametrize(
    "name", ["id", "filepath", "tags", "metadata", "created_at", "last_modified_at"]
)
def test_a_field_name_that_fiftyone_keeps_for_itself_is_refused(unchanged, segmenter, name):
    with refused(repr(name)):
        segment(unchanged, "blocks", label_field=name, overwrite=True, segmenter=segmenter)
    assert all(sample.filepath and sample.tags == [] for sample in unchanged)


@row("field-taken")
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_field_that_we_did_not_make_is_never_written(unchanged, segmenter, overwrite):
    with refused("'ground_truth'", unchanged.name, "choose another field name"):
        segment(unchanged, "blocks", "ground_truth", overwrite=overwrite, segmenter=segmenter)


@row("bank-name")
@pytest.mark.parametrize(
    "name", ["", "two words", "1st", "a-b", "_hidden", "../evil", "/etc/passwd", "a.b", "a\0b"]
)
def test_a_bank_name_that_cannot_be_is_refused_with_those_that_can(
    unchanged, segmenter, name, tmp_path
):
    files = sorted(tmp_path.rglob("*"))
    with refused(repr(name), "letters, digits and underscores"):
        banks.build_memory_bank(unchanged, "ground_truth", name, segmenter=segmenter)
    with refused(repr(name), "letters, digits and underscores"):
        banks.rename_memory_bank(unchanged, "blocks", name)
    assert sorted(tmp_path.rglob("*")) == files


@row("bank-taken")
def test_a_bank_name_that_is_taken_is_refused_with_what_to_do(unchanged, segmenter):
    with refused("'blocks'", unchanged.name, "overwrite=True"):
        banks.build_memory_bank(
            unchanged, "ground_truth", "blocks", classes=["red"], segmenter=segmenter
        )


ODD = {
    "dollar": "$where",
    "dots": "a.b..c",
    "slashes": "../../etc/passwd",
    "quotes": '"it\'s" <b>',
    "newline": "two\nlines\t\x1b[31m",
    "other scripts": "Vögel 鳥 🐦 عصفور",
    "long": "x" * 10_000,
}


@row("odd-label-names")
@row("long-label-names")
@pytest.mark.parametrize("kind", ODD)
def test_odd_and_long_class_names_go_the_whole_way(dataset, segmenter, kind, tmp_path):
    name = ODD[kind]
    rename_reds(dataset, name)

    bank = banks.build_memory_bank(
        dataset, "labels", "odd", classes=[name, "blue"], segmenter=segmenter
    )
    bank.save(tmp_path / "odd.safetensors")
    report = segment(dataset, tmp_path / "odd.safetensors", segmenter=segmenter)

    assert bank.classes == [name, "blue"] or bank.classes == ["blue", name]
    assert report.failed == []
    assert set(dataset.distinct("ntt.detections.label")) == {name, "blue"}
    results = evaluate(dataset, "ntt", "labels", "eval")
    assert results is not None


@row("empty-label-names")
@pytest.mark.parametrize("name", ["", "  ", None])
def test_labels_without_a_name_are_passed_over(dataset, segmenter, name):
    rename_reds(dataset, name)
    bank = banks.build_memory_bank(dataset, "labels", "named", segmenter=segmenter)
    assert (sorted(bank.classes), bank.refused) == (["blue", "green"], [])
    with refused("class", "'blue', 'green'"):
        banks.build_memory_bank(dataset, "labels", "none", classes=[""], segmenter=segmenter)


@row("look-alike-names")
def test_look_alike_class_names_stay_two_and_that_is_said(dataset, segmenter, caplog):
    wide = "gr\uff45en"
    rename_reds(dataset, wide)
    with caplog.at_level(logging.WARNING):
        bank = banks.build_memory_bank(dataset, "labels", "alike", segmenter=segmenter)
    assert {"green", wide} < set(bank.classes)
    assert "look alike" in caplog.text and wide in caplog.text
    assert dataset.filter_labels("labels", F("label") == wide).count("labels.detections") == 6


@row("evaluation-taken")
@pytest.mark.parametrize("name", ["check", "label", "origin", "iscrowd"])
def test_the_name_of_another_evaluation_or_of_an_attribute_is_refused_before_any_work(
    dataset, segmenter, monkeypatch, name
):
    segment(dataset, "blocks", segmenter=segmenter)
    dataset.clone_sample_field("ground_truth", "other")
    for sample in dataset.iter_samples(autosave=True):
        for label in sample.other.detections:
            label["origin"] = "mine"
    evaluate(dataset, "ntt", "ground_truth", "check")
    monkeypatch.setattr("ntt_plugin.dataset.evaluation.evaluate.export_coco", None)
    with refused(repr(name), "choose another name"):
        evaluate(dataset, "ntt", "other", name)
    assert set(dataset.values("other.detections.origin", unwind=True)) == {"mine"}


@row("evaluation-running")
def test_an_evaluation_of_a_name_that_another_one_has_is_refused(dataset, segmenter):
    segment(dataset, "blocks", segmenter=segmenter)
    with evaluation_lock(dataset, "check"), refused("'check'", "process", "Wait for its end"):
        evaluate(dataset, "ntt", "ground_truth", "check")
    assert dataset.list_evaluations() == []


@row("no-dataset")
def test_what_is_no_dataset_is_refused_with_how_to_give_one(unchanged, segmenter):
    for given in (unchanged.name, list(unchanged), None):
        with refused("fo.load_dataset("):
            segment(given, "blocks", segmenter=segmenter)


@row("no-names")
@pytest.mark.parametrize("given", [5, [["red"]]])
def test_names_that_are_no_texts_are_refused(unchanged, segmenter, given):
    with refused("in classes is no text", "list of names"):
        banks.build_memory_bank(
            unchanged, "ground_truth", "new", classes=given, segmenter=segmenter
        )
    with refused("in group_slices is no text"):
        segment(unchanged, "blocks", group_slices=given, segmenter=segmenter)


@row("no-common-class")
def test_classes_that_differ_in_case_or_blanks_are_told_in_pairs(dataset, segmenter, caplog):
    rename_reds(dataset, "Red ")
    dataset.filter_labels("labels", F("label") == "Red ", only_matches=False).save("labels")
    segment(dataset, "blocks", segmenter=segmenter)
    evaluate(dataset, "ntt", "labels", "check")
    assert "no class in common" in caplog.text and "'red' and 'Red '" in caplog.text
