"""The panel Memory banks where there is no bank yet: what to do next, by what the dataset holds."""

import fiftyone as fo
import pytest

from tests.e2e.datasets import add_boxes


@pytest.fixture(scope="module")
def dataset(clone) -> fo.Dataset:
    """Labels with masks."""
    return clone()


def test_of_labels_with_masks_references_are_chosen(tab):
    panel = tab.panel("memory_banks")
    panel.get_by_text("No memory bank yet.").wait_for()
    panel.get_by_text("Select samples, or labels in a sample, that show your classes").wait_for()
    panel.get_by_role("button", name="Sample references").wait_for()
    tab.shoot("panel_empty_masks")


def test_of_boxes_masks_are_made(tab, clone):
    dataset = clone()
    add_boxes(dataset)
    dataset.delete_sample_field("ground_truth")
    tab.open(dataset.name)
    panel = tab.panel("memory_banks")
    panel.get_by_text("Your labels are boxes. Fill masks into a new field first").wait_for()
    panel.get_by_role("button", name="Masks from boxes").wait_for()
    tab.shoot("panel_empty_boxes")


def test_without_labels_some_are_drawn(tab, clone):
    dataset = clone()
    dataset.delete_sample_field("ground_truth")
    tab.open(dataset.name)
    panel = tab.panel("memory_banks")
    panel.get_by_text("This dataset has no labels with masks or boxes yet.").wait_for()
    tab.shoot("panel_empty_nothing")
