"""Masks from boxes, thresholds, comparison, renaming and deleting a bank, in the App."""

import fiftyone as fo
import pytest

import ntt_plugin as ntt
from tests.e2e.datasets import add_boxes, add_work


@pytest.fixture(scope="module")
def dataset(clone) -> fo.Dataset:
    """The scenes with a bank, predictions, an evaluation, and boxes."""
    dataset = clone()
    add_work(dataset)
    add_boxes(dataset)
    return dataset


def test_masks_from_boxes_are_looked_at_before_they_are_used(tab, dataset):
    form = tab.operator("Masks from boxes")
    form.choose("Boxes", "boxes")
    form.choose("Preset", "tiny")
    form.wait_for("into 'boxes_masks' of 8 images; 'boxes' stays as it is.")
    tab.shoot("masks_from_boxes")
    form.submit("Fill masks")
    form.wait_for_end("in the field 'boxes_masks'")
    form.press("Show these images")
    form.close()
    tab.wait_for_counts("8 samples")
    tab.shoot("masks_from_boxes_preview")
    dataset.reload()
    masks = dataset.values("boxes_masks.detections.mask", unwind=True)
    assert masks and all(mask is not None for mask in masks)


def test_thresholds_are_saved_and_applied(tab, dataset):
    form = tab.operator("Save thresholds")
    form.wait_for("Will keep with 'shapes'")
    tab.shoot("save_thresholds")
    form.submit("Save")
    form.wait_for_end("The memory bank 'shapes' keeps thresholds")
    tab.shoot("saved_thresholds")
    form = tab.next_step("Apply thresholds", "Apply thresholds")
    form.wait_for("with 'below_threshold'")
    tab.shoot("apply_thresholds")
    form.submit("Apply")
    end = form.wait_for_end("are below their thresholds")
    tab.shoot("applied_thresholds")
    form.close()
    dataset.reload()
    below = dataset.count_label_tags().get("below_threshold", 0)
    assert f" {below} are below" in end


def test_two_passes_are_compared_by_class(tab):
    form = tab.operator("Compare segmentations")
    form.choose("Second", "ground_truth")
    form.wait_for("Nothing is changed.")
    form.submit("Compare")
    form.wait_for_end("agree on")
    tab.shoot("compared")
    form.close()


def test_a_bank_is_renamed_and_deleted(tab, dataset):
    form = tab.operator("Rename memory bank")
    form.fill("New name", "forms")
    form.submit("Rename")
    form.wait_for_end("'forms'")
    form.close()
    dataset.reload()
    assert ntt.list_memory_banks(dataset) == ["forms"]
    form = tab.operator("Delete memory bank")
    form.wait_for("Will delete for good: forms")
    form.tick("Delete it for good")
    form.submit("Delete")
    form.wait_for_end("'forms'")
    form.close()
    dataset.reload()
    assert ntt.list_memory_banks(dataset) == []
