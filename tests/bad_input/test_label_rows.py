"""Masks, boxes and crowds that are not what is assumed, from a file to the scores."""

import itertools
import os
import re
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.banks.quality import check_references
from ntt_plugin.dataset.evaluation.compare import compare_segmentations
from ntt_plugin.dataset.evaluation.evaluate import coco_figures, evaluate
from ntt_plugin.dataset.evaluation.exclusions import LeftOut
from ntt_plugin.dataset.labels.placed_masks import full_mask
from ntt_plugin.dataset.references.choose import choose_references
from ntt_plugin.dataset.references.copies import keep_labels
from ntt_plugin.dataset.references.sampling import sample_references
from ntt_plugin.dataset.samples.label_selection import LabelKey
from ntt_plugin.dataset.segmentation.masks_from_boxes import masks_from_boxes
from ntt_plugin.dataset.segmentation.segment import segment
from tests.bad_input.expectations import refused, row
from tests.dataset import scenes


@pytest.fixture
def labelled(dataset, segmenter):
    """The dataset, segmented in ``ntt``, with its ground truth copied to ``labels``."""
    segment(dataset, "blocks", label_field="ntt", segmenter=segmenter)
    rewrite(dataset, lambda sample, label, whole: None)
    return dataset


def rewrite(dataset, change, field="labels"):
    """Write the ground truth into a field, each label changed by its sample and its full mask."""
    for sample in dataset:
        copies = []
        for label in sample["ground_truth"].detections:
            copy = fo.Detection(label=label.label, bounding_box=label.bounding_box, mask=label.mask)
            change(sample, copy, full_mask(label, scenes.SIZE))
            copies.append(copy)
        sample[field] = fo.Detections(detections=copies)
        sample.save()


def uncropped(sample, label, whole):
    label.mask = whole


def uncropped_255(sample, label, whole):
    label.mask = whole.astype(np.uint8) * 255


def uncropped_file(sample, label, whole):
    path = sample.filepath.replace(".png", f"_{label.label}_whole.png")
    Image.fromarray(whole).save(path)
    label.mask, label.mask_path = None, path


def in_colours(sample, label, whole):
    path = sample.filepath.replace(".png", f"_{label.label}_red.png")
    red = np.zeros((*label.mask.shape, 3), np.uint8)
    red[..., 0] = label.mask * 255
    Image.fromarray(red).save(path)
    label.mask, label.mask_path = None, path


def in_alpha(sample, label, whole):
    path = sample.filepath.replace(".png", f"_{label.label}_alpha.png")
    rgba = np.random.default_rng(0).integers(0, 255, (*whole.shape, 4), np.uint8)
    rgba[..., 3] = whole * 255
    Image.fromarray(rgba).save(path)
    label.mask, label.mask_path = None, path


def in_a_palette(sample, label, whole):
    path = sample.filepath.replace(".png", f"_{label.label}_palette.png")
    picture = Image.fromarray(label.mask.astype(np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, 128, 0, 0] + [0] * 762)
    picture.save(path)
    label.mask, label.mask_path = None, path


def in_jpeg(sample, label, whole):
    path = sample.filepath.replace(".png", f"_{label.label}.jpg")
    Image.fromarray(whole).convert("L").save(path, quality=80)
    label.mask, label.mask_path = None, path


READ = [uncropped, uncropped_255, uncropped_file, in_colours, in_alpha, in_a_palette, in_jpeg]


@row("mask-of-the-image")
@row("mask-values")
def test_masks_in_other_forms_are_learnt_scored_and_copied_as_plain_ones(labelled, segmenter):
    plain = banks.build_memory_bank(labelled, "labels", "plain", segmenter=segmenter)
    evaluate(labelled, "ntt", "labels", "plain")
    kinds = itertools.cycle(READ)
    rewrite(labelled, lambda *label: next(kinds)(*label))

    bank = banks.build_memory_bank(labelled, "labels", "other", segmenter=segmenter)

    assert bank.refused == [] and bank.classes == plain.classes
    for name in bank.classes:
        for found, expected in zip(bank.references(name), plain.references(name), strict=True):
            assert np.allclose(found.feature, expected.feature)
    results = evaluate(labelled, "ntt", "labels", "other")
    ours, expected = coco_figures(labelled, "other"), coco_figures(labelled, "plain")
    assert results.config.left_out["label_count"] == 0
    assert ours == expected
    assert results.mAP() == pytest.approx(expected.segm["AP"], abs=0.02)
    assert labelled.values("other_tp") == labelled.values("plain_tp")
    same = compare_segmentations(labelled, "labels", "ground_truth").overall
    assert (same.same, same.only_first, same.only_second) == (18, 0, 0)
    kept = keep_labels(choose_references(labelled, "labels"))
    assert len(kept.copies) == 18 and kept.refused == []
    for sample in labelled:
        copies = {copy.id: copy for copy in sample["ntt_references"].detections}
        for label in sample["labels"].detections:
            copy = copies[kept.copies[LabelKey(sample.id, "labels", label.id)].label]
            assert copy.mask.dtype == bool
            for held in (label, copy):
                expected_mask = scenes.draw(index_of(sample)).any(axis=-1)
                assert (full_mask(held, scenes.SIZE) <= expected_mask).all()
            assert full_mask(copy, scenes.SIZE).sum() == full_mask(label, scenes.SIZE).sum()
    checks = check_references(labelled, "other", segmenter=segmenter)
    assert [check.recut_iou for check in checks] == [1.0] * 18


@row("inverted-mask")
def test_a_mask_that_seems_inverted_is_used_as_it_is_and_noted(labelled, segmenter, caplog):
    changed = []

    def invert(sample, label, whole):
        label.confidence = 0.5
        if not changed:
            rows, columns = np.mgrid[
                -1 : 1 : label.mask.shape[0] * 1j, -1 : 1 : label.mask.shape[1] * 1j
            ]
            label.mask = rows**2 + columns**2 > 1
            changed.append((label.id, sample.filepath))

    rewrite(labelled, invert)
    ((key, filepath),) = changed
    said = rf"the mask of the .*{key}.* covers the corners .*save its inverse, `mask == 0`"

    bank = banks.build_memory_bank(labelled, "labels", "new", segmenter=segmenter)
    (note,) = bank.notes
    assert note.startswith(filepath) and re.search(said, note) and len(bank) == 18
    for first, second in (("ntt", "labels"), ("labels", "ground_truth")):
        results = evaluate(labelled, first, second, first)
        (note,) = LeftOut.from_dict(results.config.left_out).notes
        assert note.startswith("1 masks in 'labels' may be inverted") and re.search(said, note)
        assert filepath in note and note in caplog.text
        assert results.config.left_out["label_count"] == 0
    found = compare_segmentations(labelled, "ntt", "labels", "ground_truth")
    assert found.left_out.notes == [note]


def index_of(sample):
    return int(Path(sample.filepath).stem)


def elsewhere(sample, label, whole):
    label.mask = np.roll(whole, 40, axis=1)


def probabilities(sample, label, whole):
    label.mask = np.where(label.mask, 0.83, 0.12) + np.linspace(0, 0.1, label.mask.shape[1])


def logits(sample, label, whole):
    label.mask = np.where(label.mask, 4.0, -7.5)


def nan(sample, label, whole):
    label.mask = label.mask.astype(float)
    label.mask[0, 0] = np.nan


def ids(sample, label, whole):
    label.mask = label.mask + np.arange(label.mask.shape[1], dtype=np.uint8) // 9


def pipe(sample, label, whole):
    path = sample.filepath.replace(".png", f"_{label.label}.pipe")
    os.mkfifo(path)
    label.mask, label.mask_path = None, path


def device(sample, label, whole):
    label.mask, label.mask_path = None, "/dev/zero"


def pixels(sample, label, whole):
    height, width = whole.shape
    x, y, w, h = label.bounding_box
    label.bounding_box = [x * width, y * height, w * width, h * height]


def corners(sample, label, whole):
    x, y, w, h = label.bounding_box
    label.bounding_box = [x, y, x + w, y + h]


def backwards(sample, label, whole):
    x, y, w, h = label.bounding_box
    label.bounding_box = [x + w, y + h, -w, -h]


def odd_crowd(sample, label, whole):
    label["iscrowd"] = "perhaps"


REFUSED = {
    elsewhere: "stretched out of shape",
    probabilities: "`mask > 0.5`",
    logits: "`mask > 0`",
    nan: "NaN",
    ids: "`mask == id`",
    pipe: "is a pipe",
    device: "a device",
    pixels: "divide by the width and height",
    corners: "x1 y1 x2 y2",
    backwards: "negative side",
    odd_crowd: "'perhaps', which is neither yes nor no",
}


@row("mask-of-the-image")
@row("mask-values")
@row("mask-file")
@row("pixel-boxes")
@row("corner-boxes")
@row("negative-boxes")
@row("crowd-values")
def test_a_label_that_cannot_be_read_is_left_out_and_named_by_every_step(labelled, segmenter):
    """Of each kind one label of 18; the others are learnt and scored as without it."""
    said, kinds = {}, iter(REFUSED)

    def damage(sample, label, whole):
        kind = next(kinds, None)
        if kind is not None:
            kind(sample, label, whole)
            said[label.id] = REFUSED[kind]
        label.confidence = 0.5

    rewrite(labelled, damage)

    def require_named(found):
        assert found.keys() == said.keys()
        for key, words in said.items():
            assert words in found[key]

    bank = banks.build_memory_bank(labelled, "labels", "new", segmenter=segmenter)
    require_named({entry.provenance.label: entry.reason for entry in bank.refused})
    assert len(bank) == 18 - len(said)

    results = evaluate(labelled, "ntt", "labels", "truth")
    entries = LeftOut.from_dict(results.config.left_out).labels
    require_named({entry.label: entry.reason for entry in entries})
    assert sum(labelled.values("truth_tp")) + sum(labelled.values("truth_fn")) == 18 - len(said)

    del said[next(key for key, words in said.items() if "perhaps" in words)]
    results = evaluate(labelled, "labels", "ground_truth", "predictions")
    entries = LeftOut.from_dict(results.config.left_out).labels
    require_named({entry.label: entry.reason for entry in entries})
    compared = compare_segmentations(labelled, "labels", "ground_truth")
    require_named({entry.label: entry.reason for entry in compared.left_out.labels})
    assert compared.overall.same == 18 - len(said)


@row("pixel-boxes")
@row("crowd-values")
@pytest.mark.parametrize(
    ("change", "said"), [(pixels, "far outside the image"), (odd_crowd, "'perhaps'")]
)
def test_sampling_passes_them_over_and_no_mask_is_made_of_them(labelled, segmenter, change, said):
    rewrite(labelled, change)
    for protocol in ("spread", "paper"):
        with refused("can be a reference", "18 not readable", said):
            sample_references(labelled, "labels", shots=2, protocol=protocol)
    report = masks_from_boxes(labelled, "labels", "made", segmenter=segmenter)
    assert report.instances == 0 and len(report.notes) == 18
    assert all(said in note.reason for note in report.notes)


@row("pixel-boxes")
def test_polygons_in_pixels_are_left_out_and_named(labelled, segmenter):
    for sample in labelled:
        shapes = []
        for label in sample["ground_truth"].detections:
            x1, y1, x2, y2 = scenes.blocks(index_of(sample))[label.label]
            corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
            shapes.append(
                fo.Polyline(label=label.label, points=[corners], closed=True, filled=True)
            )
        sample["drawn"] = fo.Polylines(polylines=shapes)
        sample.save()
    with refused("far outside the image", "divide by the width and height"):
        banks.build_memory_bank(labelled, "drawn", "new", segmenter=segmenter)
    with refused("18 not readable", "far outside the image"):
        sample_references(labelled, "drawn")
