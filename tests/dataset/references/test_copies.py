import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F

from ntt_plugin.dataset.labels.label_field import require_writable, segmentation_fields
from ntt_plugin.dataset.references.choose import choose_references
from ntt_plugin.dataset.references.copies import keep_labels
from ntt_plugin.dataset.samples.label_selection import LabelKey
from ntt_plugin.errors import DatasetError
from tests.dataset import scenes
from tests.processes import run_elsewhere


def keep(view, classes=None):
    return keep_labels(choose_references(view, "ground_truth", classes=classes))


def copies(sample):
    held = sample["ntt_references"]
    return held.detections if held else []


def test_each_label_has_its_copy(dataset):
    kept = keep(dataset.limit(2))
    for sample in dataset.limit(2):
        by_id = {copy.id: copy for copy in copies(sample)}
        for label in sample.ground_truth.detections:
            copy = by_id[kept.copies[LabelKey(sample.id, "ground_truth", label.id)].label]
            assert copy.label == label.label
            assert np.array_equal(copy.mask, label.mask)
            assert copy.bounding_box == label.bounding_box
    assert dataset.count("ntt_references.detections") == 6


def test_the_same_object_is_copied_once(dataset):
    first = keep(dataset.limit(1))
    assert keep(dataset.limit(1)).copies == first.copies
    assert dataset.count("ntt_references.detections") == 3


@pytest.mark.parametrize(("rows", "same"), [(2, True), (4, False)])
def test_the_same_object_is_one_that_covers_nine_tenths(dataset, rows, same):
    """Of the rows of a block that many are missing: IoU 23/25 or more, and 23/27 or less."""
    keep(dataset.limit(1), ["red"])
    sample = dataset.first()
    red = next(d for d in sample.ground_truth.detections if d.label == "red")
    assert red.mask.shape[0] in (25, 26, 27)
    red.mask = red.mask & (np.arange(red.mask.shape[0]) >= rows)[:, None]
    sample.save()
    keep(dataset.limit(1), ["red"])
    assert (dataset.count("ntt_references.detections") == 1) == same


def test_the_same_object_of_another_class_is_another(dataset):
    keep(dataset.limit(1), ["red"])
    sample = dataset.first()
    next(d for d in sample.ground_truth.detections if d.label == "red").label = "crimson"
    sample.save()
    keep(dataset.limit(1), ["crimson"])
    held = {copy.label for copy in copies(dataset.first())}
    assert held == {"red", "crimson"}


def test_masks_in_files_are_copied_out_of_them(dataset, tmp_path):
    sample = dataset.first()
    label = sample.ground_truth.detections[0]
    mask = label.mask.copy()
    label.export_mask(str(tmp_path / "mask.png"), update=True)
    sample.save()
    keep(dataset.limit(1), [label.label])
    (tmp_path / "mask.png").unlink()
    [copy] = copies(dataset.first())
    assert copy.mask_path is None
    assert np.array_equal(copy.mask, mask)


def test_a_label_whose_mask_cannot_be_read_is_named_and_the_others_are_copied(dataset):
    sample = dataset.first()
    bad = sample.ground_truth.detections[0]
    bad.mask = np.zeros_like(bad.mask)
    sample.save()
    kept = keep(dataset.limit(1))
    [refused] = kept.refused
    assert refused.provenance.label == bad.id and "empty" in refused.reason
    assert len(kept.copies) == 2


def test_other_labels_stay_as_they_are_and_a_sample_in_hand_sees_the_copy(dataset):
    held = dataset.first()
    before = dataset.values("ground_truth.detections.id")
    keep(dataset.limit(1).filter_labels("ground_truth", F("label") == "red"))
    assert len(copies(held)) == 1
    assert dataset.values("ground_truth.detections.id") == before


def test_no_run_may_write_the_field(dataset):
    keep(dataset.limit(1))
    assert segmentation_fields(dataset) == []
    with pytest.raises(DatasetError, match="was not made by a segmentation"):
        require_writable(dataset, "ntt_references", "run", overwrite=True)


def test_copies_of_another_process_are_seen_and_kept(dataset):
    code = (
        "import sys, fiftyone as fo\n"
        "from ntt_plugin.dataset.references.copies import keep_labels\n"
        "from ntt_plugin.dataset.references.choose import choose_references\n"
        "view = fo.load_dataset(sys.argv[1]).limit(1)\n"
        "keep_labels(choose_references(view, 'ground_truth', classes=['red', 'blue']))\n"
    )
    held = dataset.first()
    run_elsewhere(code, dataset.name)
    keep(dataset.limit(1), ["blue", "green"])
    names = dataset.values("ntt_references.detections.label", unwind=True)
    assert sorted(names) == sorted(scenes.COLOURS)
    assert {copy.label for copy in copies(held)} == set(scenes.COLOURS)


def test_slices_of_a_group_keep_their_own(dataset):
    grouped = fo.Dataset()
    grouped.add_group_field("group", default="left")
    group, sample = fo.Group(), dataset.first()
    grouped.add_samples(
        [
            fo.Sample(
                filepath=sample.filepath,
                group=group.element(side),
                ground_truth=sample.ground_truth.copy(),
            )
            for side in ("left", "right")
        ]
    )
    try:
        keep(grouped.select_group_slices("right"), ["red"])
        counts = [
            grouped.select_group_slices(side).count("ntt_references.detections")
            for side in ("left", "right")
        ]
        assert counts == [0, 1]
    finally:
        grouped.delete()
