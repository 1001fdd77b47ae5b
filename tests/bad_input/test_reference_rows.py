"""Views, fields, classes and labels that cannot be learnt from."""

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from PIL import Image

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.evaluation.evaluate import evaluate
from ntt_plugin.dataset.references.sampling import sample_references
from ntt_plugin.dataset.segmentation.masks_from_boxes import masks_from_boxes
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.engine import Segmenter
from tests.bad_input.expectations import refused, row
from tests.dataset import scenes


def build(samples, segmenter, field="labels", **options):
    return banks.build_memory_bank(samples, field, "new", segmenter=segmenter, **options)


def copy_labels(dataset, change):
    """The ground truth in a field ``labels``, each label changed; the first one's id."""
    first = None
    for sample in dataset:
        copies = []
        for label in sample.ground_truth.detections:
            copies.append(fo.Detection(label=label.label, bounding_box=label.bounding_box))
            copies[-1].mask = label.mask
            change(sample, copies[-1])
            first = first or copies[-1].id
        sample["labels"] = fo.Detections(detections=copies)
        sample.save()
    return first


@row("empty-view")
@pytest.mark.parametrize("action", ["sample", "build", "segment", "boxes", "evaluate"])
def test_an_empty_view_is_refused_by_every_step(unchanged, segmenter, action):
    view = unchanged.match(F("filepath") == "none")
    steps = {
        "sample": lambda: sample_references(view, "ground_truth"),
        "build": lambda: build(view, segmenter, "ground_truth"),
        "segment": lambda: segment(view, "blocks", segmenter=segmenter),
        "boxes": lambda: masks_from_boxes(view, "ground_truth", "new", segmenter=segmenter),
        "evaluate": lambda: evaluate(view, "before", "ground_truth", "eval"),
    }
    with refused(unchanged.name, "holds no sample", "widen it or add samples"):
        steps[action]()


@row("field-missing")
@pytest.mark.parametrize("action", ["sample", "build", "boxes"])
@pytest.mark.parametrize("field", ["absent", "filepath", "tags"])
def test_a_field_that_is_missing_or_of_another_type_is_refused_with_those_there_are(
    unchanged, segmenter, action, field
):
    steps = {
        "sample": lambda: sample_references(unchanged, field),
        "build": lambda: build(unchanged, segmenter, field),
        "boxes": lambda: masks_from_boxes(unchanged, field, "new", segmenter=segmenter),
    }
    with refused(unchanged.name, repr(field), "'ground_truth'"):
        steps[action]()


@row("no-masks")
def test_boxes_without_masks_are_refused_with_the_way_to_masks(dataset, segmenter):
    copy_labels(dataset, lambda _, label: label.set_field("mask", None))
    with refused("no mask", "masks_from_boxes"):
        build(dataset, segmenter)


@row("class-without-references")
def test_a_class_left_without_references_is_named_with_the_reason(dataset, segmenter):
    def empty_greens(_, label):
        if label.label == "green":
            label.mask = np.zeros_like(label.mask)

    first = copy_labels(dataset, empty_greens)
    assert first
    with refused("'green'", "Its mask is empty", "leave the class out"):
        build(dataset, segmenter)
    assert banks.list_memory_banks(dataset) == ["blocks"]


@row("unknown-class")
@pytest.mark.parametrize("action", ["sample", "build"])
def test_an_unknown_class_is_refused_with_those_there_are(unchanged, segmenter, action):
    steps = {
        "sample": lambda: sample_references(unchanged, "ground_truth", classes=["red", "cow"]),
        "build": lambda: build(unchanged, segmenter, "ground_truth", classes=["red", "cow"]),
    }
    with refused("'cow'", "'blue', 'green', 'red'"):
        steps[action]()


def nan_box(_, label):
    label.bounding_box = [float("nan"), 0.1, 0.2, 0.2]


def outside_box(_, label):
    label.bounding_box = [1.5, 1.5, 0.2, 0.2]


def vanishing(_, label):
    label.mask = np.zeros_like(label.mask)
    label.mask[0, 0] = True


UNUSABLE = {
    "box-outside": (outside_box, "outside the image"),
    "nan-box": (nan_box, "four finite numbers"),
}


@row("box-outside")
@row("nan-box")
@pytest.mark.parametrize("name", UNUSABLE)
def test_a_label_that_cannot_serve_is_left_out_and_listed_and_the_others_are_learnt(
    dataset, segmenter, name
):
    damage, reason = UNUSABLE[name]
    seen = []

    def change(sample, label):
        if len(seen) < 1:
            damage(sample, label)
        seen.append((sample.id, sample.filepath))

    first = copy_labels(dataset, change)
    bank = build(dataset, segmenter)
    (left_out,) = bank.refused
    assert len(bank) == 17
    assert (left_out.provenance.sample, left_out.provenance.label) == (seen[0][0], first)
    assert reason in left_out.reason and seen[0][1] in left_out.reason


@row("vanishing-mask")
def test_a_mask_that_vanishes_on_the_patch_grid_is_left_out_with_what_to_do(dataset):
    damaged = dataset.first()

    def change(sample, label):
        if (sample.id, label.label) == (damaged.id, "red"):
            vanishing(sample, label)

    copy_labels(dataset, change)
    bank = build(dataset, Segmenter.from_preset("tiny", device="cpu"))
    (left_out,) = bank.refused
    assert {label: bank.shots(label) for label in bank.classes} == {"red": 5, "green": 6, "blue": 6}
    assert (left_out.label, left_out.provenance.sample) == ("red", damaged.id)
    for words in (damaged.filepath, "too small or too thin", "choose a larger object"):
        assert words in left_out.reason


@row("box-outside")
@row("nan-box")
@pytest.mark.parametrize("damage", [nan_box, outside_box])
def test_a_box_that_is_none_gives_no_mask_and_a_note(dataset, segmenter, damage):
    def change(sample, label):
        if sample.id == dataset.first().id and label.label == "red":
            damage(sample, label)

    copy_labels(dataset, change)
    report = masks_from_boxes(dataset, "labels", "filled", segmenter=segmenter)
    (note,) = report.notes
    assert note.sample == dataset.first().id and "class 'red'" in note.reason
    assert (report.segmented, report.instances, report.failed) == (6, 17, [])


@row("mask-of-another-size")
def test_a_mask_of_another_size_than_its_box_is_stretched_to_it(dataset, segmenter):
    """Half a block is painted yellow: a feature tells how much of which half a mask covered."""
    expected = {}
    for index, sample in enumerate(dataset):
        pixels = scenes.draw(index)
        x1, y1, x2, y2 = scenes.blocks(index)["red"]
        pixels[y1 + 8 : y2, x1:x2] = (250, 250, 0)
        Image.fromarray(pixels).save(sample.filepath)
        # Two rows and three columns over the block: the whole of it but for one corner.
        coarse = np.array([[1, 1, 0], [1, 1, 1]], bool)
        rows = (np.arange(y2 - y1) + 0.5) * 2 // (y2 - y1)
        columns = (np.arange(x2 - x1) + 0.5) * 3 // (x2 - x1)
        stretched = coarse[rows.astype(int)][:, columns.astype(int)]
        expected[sample.id] = pixels[y1:y2, x1:x2][stretched].mean(axis=0)

    def shrink(_, label):
        label.mask = np.array([[1, 1, 0], [1, 1, 1]], bool)

    copy_labels(dataset, shrink)
    bank = build(dataset, segmenter, classes=["red"])
    assert (len(bank), bank.refused) == (6, [])
    for reference in bank.references("red"):
        assert np.allclose(reference.feature, expected[reference.provenance.sample], atol=8)
