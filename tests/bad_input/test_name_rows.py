"""Names: of fields, banks and classes."""

from __future__ import annotations

import logging

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

from ntt_plugin.dataset import banks
from ntt_plugin.dataset.boxes import masks_from_boxes
from ntt_plugin.dataset.evaluation import evaluate
from ntt_plugin.dataset.segmentation import segment
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
def test_a_field_name_that_cannot_be_is_refused_with_those_that_can(dataset, segmenter, name, step):
    before = set(dataset.get_field_schema())
    with refused(repr(name), "letters, digits and underscores"):
        if step == "segment":
            segment(dataset, "blocks", label_field=name, segmenter=segmenter)
        else:
            masks_from_boxes(dataset, "ground_truth", name, segmenter=segmenter)
    assert set(dataset.get_field_schema()) == before


@row("field-reserved")
@pytest.mark.parametrize("name", ["id", "filepath", "tags", "metadata", "created_at", "save"])
def test_a_field_name_that_fiftyone_keeps_for_itself_is_refused(dataset, segmenter, name):
    before = dict(dataset.get_field_schema())
    with refused(repr(name)):
        segment(dataset, "blocks", label_field=name, overwrite=True, segmenter=segmenter)
    assert set(dataset.get_field_schema()) == set(before)
    assert all(sample.filepath and sample.tags == [] for sample in dataset)


@row("field-taken")
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_field_that_we_did_not_make_is_never_written(dataset, segmenter, overwrite):
    with refused("'ground_truth'", dataset.name, "choose another field name"):
        segment(dataset, "blocks", "ground_truth", overwrite=overwrite, segmenter=segmenter)


@row("bank-name")
@pytest.mark.parametrize("name", ["", "two words", "../evil", "/etc/passwd", "a.b", "a\0b"])
def test_a_bank_name_that_cannot_be_is_refused_with_those_that_can(
    dataset, segmenter, name, tmp_path
):
    files = sorted(tmp_path.rglob("*"))
    with refused(repr(name), "letters, digits and underscores"):
        banks.build_memory_bank(dataset, "ground_truth", name, segmenter=segmenter)
    with refused(repr(name), "letters, digits and underscores"):
        banks.rename_memory_bank(dataset, "blocks", name)
    assert sorted(tmp_path.rglob("*")) == files


@row("bank-taken")
def test_a_bank_name_that_is_taken_is_refused_with_what_to_do(dataset, segmenter):
    with refused("'blocks'", dataset.name, "overwrite=True"):
        banks.build_memory_bank(
            dataset, "ground_truth", "blocks", classes=["red"], segmenter=segmenter
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
    assert sorted(bank.classes) == ["blue", "green"]
    with refused("class", "'blue', 'green'"):
        banks.build_memory_bank(dataset, "labels", "none", classes=[""], segmenter=segmenter)


@row("look-alike-names")
def test_look_alike_class_names_stay_two_and_that_is_said(dataset, segmenter, caplog):
    cyrillic = "gr\u0435en"
    rename_reds(dataset, cyrillic)
    with caplog.at_level(logging.WARNING):
        bank = banks.build_memory_bank(dataset, "labels", "alike", segmenter=segmenter)
    assert {"green", cyrillic} < set(bank.classes)
    assert "look alike" in caplog.text and "U+0435" in caplog.text
    assert dataset.filter_labels("labels", F("label") == cyrillic).count("labels.detections") == 6
