"""COCO files: every mask comes back to the pixel; what cannot be exported is named."""

import json
import os
import tracemalloc

import fiftyone as fo
import numpy as np
import pytest
from pycocotools.coco import COCO

from ntt_plugin.dataset.export.coco import export_coco
from ntt_plugin.dataset.labels.clean import Clean, clean_mask
from ntt_plugin.dataset.review.steps import review_labels
from ntt_plugin.errors import DatasetError
from tests.dataset import scenes


def labels_of(dataset, field="labels"):
    return [label for sample in dataset for label in sample[field].detections]


@pytest.fixture(scope="module")
def exported(ragged, tmp_path_factory):
    dataset, masks = ragged
    path = tmp_path_factory.mktemp("coco") / "new" / "labels.json"
    report = export_coco(dataset, "labels", path)
    return report, COCO(path), labels_of(dataset), masks


def test_every_mask_comes_back_to_the_pixel(exported):
    report, coco, labels, masks = exported
    annotations = coco.loadAnns(coco.getAnnIds())
    assert len(annotations) == len(labels) == sum(report.instances.values()) == 40
    for annotation, label in zip(annotations, labels, strict=True):
        assert (coco.annToMask(annotation) == masks[label.id]).all()


def test_boxes_areas_crowds_scores_and_classes_are_the_labels(exported):
    _, coco, labels, masks = exported
    names = {entry["id"]: entry["name"] for entry in coco.loadCats(coco.getCatIds())}
    assert list(names.values()) == ["bird", "cat", "dog"]
    for annotation, label in zip(coco.loadAnns(coco.getAnnIds()), labels, strict=True):
        rows, columns = np.nonzero(masks[label.id])
        x, y, w, h = annotation["bbox"]
        assert (x, y) == (columns.min(), rows.min())
        assert (w, h) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert annotation["area"] == len(rows)
        assert annotation["iscrowd"] == (label["iscrowd"] if "iscrowd" in label else 0)
        assert annotation.get("score") == label.confidence
        assert names[annotation["category_id"]] == label.label


def test_images_are_named_below_their_common_folder(exported, ragged):
    _, coco, _, _ = exported
    dataset, _ = ragged
    root = os.path.dirname(os.path.dirname(dataset.first().filepath))
    images = coco.loadImgs(coco.getImgIds())
    assert [os.path.join(root, image["file_name"]) for image in images] == dataset.values(
        "filepath"
    )
    assert {(image["height"], image["width"]) for image in images} == {(120, 160)}


def test_masks_are_cleaned_where_asked_for(ragged, tmp_path):
    dataset, masks = ragged
    clean = Clean(specks=20, holes=30)
    export_coco(dataset, "labels", tmp_path / "a.json", clean=clean)
    coco = COCO(tmp_path / "a.json")
    changed = 0
    for annotation, label in zip(coco.loadAnns(coco.getAnnIds()), labels_of(dataset), strict=True):
        expected = clean_mask(masks[label.id], clean)
        changed += (expected != masks[label.id]).any()
        assert (coco.annToMask(annotation) == expected).all()
    assert changed > 5


def test_polylines_are_exported_as_they_are_learnt(dataset, tmp_path):
    for index, sample in enumerate(dataset.iter_samples(autosave=True)):
        sample["lines"] = fo.Polylines(polylines=scenes.polylines(index))
    export_coco(dataset, "lines", tmp_path / "a.json")
    coco = COCO(tmp_path / "a.json")
    areas = [annotation["area"] for annotation in coco.loadAnns(coco.getAnnIds())]
    blocks = [block for index in range(6) for block in scenes.blocks(index).values()]
    assert areas == [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in blocks]


def test_only_some_classes_in_the_order_given(dataset, tmp_path):
    report = export_coco(dataset, "ground_truth", tmp_path / "a.json", classes=["red", "blue"])
    written = json.loads((tmp_path / "a.json").read_text())
    assert [entry["name"] for entry in written["categories"]] == ["red", "blue"]
    assert report.instances == {"red": 6, "blue": 6}


def test_only_what_a_review_approved(dataset, tmp_path):
    ids = dataset.values("ground_truth.detections.id")
    review_labels(dataset, "ground_truth", [ids[0][0], ids[1][1]], [ids[0][1], *ids[2]])
    report = export_coco(dataset, "ground_truth", tmp_path / "a.json", only_approved=True)
    # The third image is judged and empty; of three nothing is known.
    assert (sum(report.instances.values()), report.images) == (2, 3)
    assert any("3 images were left out" in note.reason for note in report.notes)


def test_rejected_labels_are_never_exported_and_counted(dataset, tmp_path):
    ids = dataset.values("ground_truth.detections.id")
    review_labels(dataset, "ground_truth", [ids[0][0]], [ids[0][1], *ids[2]])
    report = export_coco(dataset, "ground_truth", tmp_path / "a.json")
    assert (sum(report.instances.values()), report.images) == (18 - 4, 6)
    assert [note.reason for note in report.notes] == [
        "4 labels were left out: a review rejected them"
    ]


def test_images_that_still_hold_labels_to_review_are_counted(dataset, tmp_path):
    first, second, third, *_ = dataset.values("ground_truth.detections.id")
    review_labels(dataset, "ground_truth", [first[0], *second, third[0]], [third[1]])
    report = export_coco(dataset, "ground_truth", tmp_path / "a.json", only_approved=True)
    assert any("2 images still hold 3 labels to review" in note.reason for note in report.notes)


def test_what_cannot_be_exported_is_named_and_stops_nothing(dataset, tmp_path):
    samples = list(dataset)
    os.remove(samples[0].filepath)
    samples[1]["ground_truth"].detections[0].mask = None
    samples[1]["ground_truth"].detections[1].label = None
    samples[2]["ground_truth"].detections[0].mask = np.zeros((4, 4), bool)
    samples[3]["ground_truth"] = None
    for sample in samples:
        sample.save()
    report = export_coco(dataset, "ground_truth", tmp_path / "a.json")
    assert (report.images, sum(report.instances.values())) == (4, 3 * 4 - 3)
    failed = [note.sample for note in report.failed]
    assert failed == [samples[0].id, samples[1].id, samples[1].id, samples[2].id]
    assert any("nothing was ever written" in note.reason for note in report.notes)
    json.loads((tmp_path / "a.json").read_text())


def test_a_sample_that_fiftyone_cannot_load_is_named(dataset, tmp_path):
    second = dataset.skip(1).first().id
    dataset._sample_collection.update_one(
        {"_id": dataset.skip(1).first()._id}, {"$set": {"ground_truth.detections.0.mask": b"no"}}
    )
    report = export_coco(fo.load_dataset(dataset.name), "ground_truth", tmp_path / "a.json")
    assert second in {note.sample for note in report.failed}
    assert report.images >= 5


def test_a_file_that_is_there_is_replaced_only_if_asked_for(dataset, tmp_path):
    path = tmp_path / "a.json"
    path.write_text("mine")
    with pytest.raises(DatasetError, match="overwrite=True"):
        export_coco(dataset, "ground_truth", path)
    assert path.read_text() == "mine"
    export_coco(dataset, "ground_truth", path, overwrite=True)
    assert path.read_text().startswith("{")


def test_a_stopped_export_leaves_the_former_file_and_no_other(dataset, tmp_path):
    path = tmp_path / "a.json"
    path.write_text("mine")

    def stop(bar):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_coco(dataset, "ground_truth", path, overwrite=True, progress=stop)
    assert path.read_text() == "mine"
    images = {os.path.basename(filepath) for filepath in dataset.values("filepath")}
    assert set(os.listdir(tmp_path)) == {"a.json", *images}


def test_two_exports_into_one_file_at_once_do_not_replace_each_other(dataset, tmp_path):
    path = tmp_path / "a.json"

    def other(bar):
        if not path.exists():
            export_coco(dataset.limit(2), "ground_truth", path, progress=False)

    with pytest.raises(DatasetError, match="there already"):
        export_coco(dataset, "ground_truth", path, progress=other)
    assert len(COCO(path).getImgIds()) == 2


@pytest.mark.parametrize("name", ["a.txt", "a"])
def test_another_ending_is_refused(dataset, tmp_path, name):
    with pytest.raises(DatasetError, match="json"):
        export_coco(dataset, "ground_truth", tmp_path / name)


def test_memory_does_not_grow_with_the_labels(dataset, tmp_path):
    """What Python holds at most, with three times the labels in three times the images."""

    def most(view, name):
        tracemalloc.start()
        export_coco(view, "ground_truth", tmp_path / name, progress=False)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    for _ in range(3):
        dataset.add_samples([sample.copy() for sample in dataset], progress=False)
    most(dataset.limit(1), "warm.json")
    from ntt_plugin.dataset.export import read_labels

    read_labels._AT_ONCE, before = 4, read_labels._AT_ONCE
    try:
        assert most(dataset, "b.json") < 1.5 * most(dataset.limit(16), "a.json")
    finally:
        read_labels._AT_ONCE = before
