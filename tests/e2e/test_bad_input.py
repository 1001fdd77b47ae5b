"""What a person reads who asks for something that cannot be; nothing can be run then."""

import fiftyone as fo
import pytest

from tests.e2e.datasets import add_boxes


@pytest.fixture(scope="module")
def dataset(clone) -> fo.Dataset:
    """Masks in ``ground_truth``, boxes in ``boxes``, nothing else."""
    dataset = clone()
    add_boxes(dataset)
    return dataset


def test_no_bank_yet(tab, dataset):
    form = tab.operator("Segment with memory bank")
    form.wait_for(
        f"'{dataset.name}' has no memory bank yet. Make one with the operator Build memory bank, "
        "or bring one with Import memory bank."
    )
    form.cannot_be_run("Segment")
    tab.shoot("bad_no_bank")
    form.cancel()


def test_a_name_that_cannot_be(tab):
    form = tab.operator("Build memory bank")
    form.fill("Name", "my bank!")
    form.wait_for("'my bank!' cannot be the name of a memory bank")
    form.cannot_be_run("Build")
    tab.shoot("bad_name")
    form.cancel()


def test_a_field_without_masks(tab):
    form = tab.operator("Build memory bank")
    form.choose("Labels", "boxes")
    form.wait_for("No label in 'boxes' has a mask here. Fill masks into a new field first")
    form.cannot_be_run("Build")
    tab.shoot("bad_no_masks")
    form.cancel()


def test_a_file_that_is_no_bank(tab, tmp_path):
    file = tmp_path / "notes.safetensors"
    file.write_text("no bank at all")
    form = tab.operator("Import memory bank")
    form.fill("File", str(file))
    form.wait_for(f"{file}")
    form.cannot_be_run("Import")
    tab.shoot("bad_file")
    form.cancel()


def test_nothing_to_compare_with(new_tab, clone):
    dataset = clone()
    tab = new_tab()
    tab.open(dataset.name)
    form = tab.operator("Evaluate segmentation")
    form.wait_for("There is nothing to compare 'ground_truth' with")
    form.cannot_be_run("Evaluate")
    tab.shoot("bad_nothing_to_compare")
    tab.close()
