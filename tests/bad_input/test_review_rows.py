"""Labels and banks that a review, an export or an estimate cannot use."""

import json

import numpy as np
import pytest

from ntt_plugin.dataset.banks.banks import build_memory_bank, load_memory_bank
from ntt_plugin.dataset.banks.edit import update_memory_bank
from ntt_plugin.dataset.banks.estimate_thresholds import estimate_thresholds
from ntt_plugin.dataset.export.coco import export_coco
from ntt_plugin.dataset.export.yolo import export_yolo_seg
from ntt_plugin.dataset.review.accept import accept_labels
from ntt_plugin.dataset.review.steps import review_labels
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.errors import DatasetError, ReferenceRefusedError
from tests.bad_input.expectations import row

FIELD = "labels"


@pytest.fixture(autouse=True)
def labels(dataset):
    """A copy of the ground truth, to be judged and spoilt."""
    dataset.clone_sample_field("ground_truth", FIELD)


def spoil(dataset):
    """An empty mask in the first sample; its label's id."""
    sample = dataset.first()
    label = sample[FIELD].detections[0]
    label.mask = np.zeros_like(label.mask)
    sample.save()
    return label.id


@row("unexportable-label")
def test_a_label_that_cannot_be_exported_is_named(dataset, tmp_path):
    key = spoil(dataset)
    count = dataset.count(f"{FIELD}.detections")
    for export, path in ((export_coco, "a.json"), (export_yolo_seg, "yolo")):
        report = export(dataset, FIELD, tmp_path / path)
        assert sum(report.instances.values()) == count - 1
        assert [note.reason.split(":")[0] for note in report.failed] == [f"label {key}"]
    assert len(json.loads((tmp_path / "a.json").read_text())["annotations"]) == count - 1


@row("export-in-the-way")
def test_what_is_in_the_place_of_an_export_stays(dataset, tmp_path):
    (tmp_path / "a.json").write_text("mine")
    (tmp_path / "yolo").mkdir()
    (tmp_path / "yolo" / "mine").write_text("mine")
    with pytest.raises(DatasetError, match="there already"):
        export_coco(dataset, FIELD, tmp_path / "a.json")
    for overwrite in (False, True):
        with pytest.raises(DatasetError, match="there already"):
            export_yolo_seg(dataset, FIELD, tmp_path / "yolo", overwrite=overwrite)
    assert (tmp_path / "a.json").read_text() == (tmp_path / "yolo" / "mine").read_text() == "mine"


@row("unacceptable-label")
def test_a_label_that_cannot_be_accepted_is_named(dataset):
    key = spoil(dataset)
    review_labels(dataset, FIELD, dataset.values(f"{FIELD}.detections.id", unwind=True))
    done = accept_labels(dataset, FIELD, "truth")
    assert key not in done.label_ids
    assert len(done.label_ids) == dataset.count(f"{FIELD}.detections") - 1
    assert [key in note.reason for note in done.failed] == [True]


@row("corrected-after-accepting")
def test_what_a_person_did_to_a_copy_stays(dataset):
    first, second = dataset.values(f"{FIELD}.detections.id")[0][:2]
    review_labels(dataset, FIELD, [first, second])
    accept_labels(dataset, FIELD, "truth")
    sample = dataset.first()
    sample["truth"].detections[1].label = "mine"
    sample.save()
    review_labels(dataset, FIELD, change={first: "new", second: "new"}, again=True)
    done = accept_labels(dataset, FIELD, "truth")
    assert done.updated == [first]
    assert any("stay as they are" in note.reason for note in done.notes)
    sample.reload()
    assert [label.label for label in sample["truth"].detections] == ["new", "mine"]


@row("read-only-field")
def test_a_read_only_field_stays_as_it_is(dataset, segmenter):
    build_memory_bank(dataset, FIELD, "all", segmenter=segmenter)
    segment(dataset, "all", "found", segmenter=segmenter)
    before = dataset.values("found.detections")
    for name in ("found", FIELD):
        field = dataset.get_field(name)
        field.read_only = True
        field.save()
    keys = dataset.values("found.detections.id", unwind=True)
    for change in (
        lambda: segment(dataset, "all", "found", overwrite="everything", segmenter=segmenter),
        lambda: review_labels(dataset, "found", keys),
        lambda: accept_labels(dataset, "found", FIELD),
    ):
        with pytest.raises(DatasetError, match="read-only"):
            change()
    assert dataset.values("found.detections") == before


@row("reviewed-by-two")
def test_a_label_that_somebody_judged_meanwhile_is_left_alone(dataset):
    key = dataset.values(f"{FIELD}.detections.id")[0][0]
    review_labels(dataset, FIELD, [key], reviewer="ann")
    assert review_labels(dataset, FIELD, reject=[key], reviewer="ben").left_alone == (key,)


@row("peoples-labels")
def test_what_people_said_stays_through_a_run(dataset, segmenter):
    build_memory_bank(dataset, FIELD, "all", segmenter=segmenter)
    segment(dataset, "all", "found", segmenter=segmenter)
    key = dataset.values("found.detections.id")[0][0]
    review_labels(dataset, "found", [key])
    report = segment(dataset, "all", "found", overwrite=True, segmenter=segmenter)
    assert (report.kept, report.overlapping) == (1, 1)
    assert key in dataset.values("found.detections.id", unwind=True)
    report = segment(dataset, "all", "found", overwrite="everything", segmenter=segmenter)
    assert (report.kept, report.dropped) == (0, 1)


@row("negative-is-reference")
def test_a_reference_becomes_no_negative_by_mistake(dataset, segmenter):
    build_memory_bank(dataset, FIELD, "all", segmenter=segmenter)
    before = load_memory_bank(dataset, "all").to_bytes()
    with pytest.raises(ReferenceRefusedError, match="from_references=True"):
        update_memory_bank(dataset, FIELD, "all", negatives=True, segmenter=segmenter)
    assert load_memory_bank(dataset, "all").to_bytes() == before


@row("one-reference-image")
def test_references_of_one_image_give_no_thresholds(dataset, segmenter):
    build_memory_bank(dataset.limit(1), FIELD, "one", segmenter=segmenter)
    found = estimate_thresholds(dataset, "one", segmenter=segmenter)
    assert (found.thresholds, len(found.without)) == ({}, 3)
