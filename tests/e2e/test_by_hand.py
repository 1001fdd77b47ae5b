"""Build a bank, segment with it and score the labels, in the App alone."""

from __future__ import annotations

import fiftyone as fo
import pytest

import ntt_plugin as ntt


@pytest.fixture(scope="module")
def dataset(clone) -> fo.Dataset:
    return clone()


@pytest.fixture(scope="module")
def built(shared_tab) -> str:
    """The page at the end of Build memory bank."""
    form = shared_tab.operator("Build memory bank")
    form.choose("Preset", "tiny")
    form.fill("Name", "shapes")
    form.wait_for("Will save the bank 'shapes' with up to 46 references.")
    shared_tab.shoot("build_form")
    form.submit("Build")
    end = form.wait_for_end("The memory bank 'shapes' is ready")
    shared_tab.shoot("build_end")
    form.close()
    return end


@pytest.fixture(scope="module")
def segmented(shared_tab, built) -> str:
    """The page at the end of Segment with memory bank; its view is open then."""
    form = shared_tab.operator("Segment with memory bank")
    form.wait_for("Will write labels into 'ntt' of 8 images.")
    shared_tab.shoot("segment_form")
    form.submit("Segment")
    form.wait_for_progress("Segmenting: ")
    shared_tab.shoot("segment_progress")
    end = form.wait_for_end("in the field 'ntt'")
    shared_tab.shoot("segment_end")
    form.press("Show these images")
    form.close()
    shared_tab.wait_for_counts("8 samples")
    shared_tab.shoot("segment_labels")
    return end


@pytest.fixture(scope="module")
def evaluated(shared_tab, segmented) -> str:
    """The page at the end of Evaluate segmentation."""
    form = shared_tab.operator("Evaluate segmentation")
    form.wait_for("Will compare")
    shared_tab.shoot("evaluate_form")
    form.submit("Evaluate")
    end = form.wait_for_end("is in the Model Evaluation panel")
    shared_tab.shoot("evaluate_end")
    form.close()
    return end


def test_a_bank_is_saved_with_the_dataset(built, dataset):
    bank = ntt.load_memory_bank(dataset, "shapes")
    assert len(bank) == 46
    assert "46 references of 15 classes" in built


def test_labels_with_masks_are_written(segmented, dataset):
    dataset.reload()
    labels = dataset.values("ntt.detections", unwind=True)
    assert labels and all(label.mask is not None for label in labels)
    assert f"{len(labels):,} labels in 8 images" in segmented


def test_the_new_field_is_in_the_sidebar(segmented, tab):
    tab.page.locator("[data-cy=sidebar-field-ntt]").wait_for()


def test_scores_are_those_of_the_evaluation(evaluated, dataset):
    dataset.reload()
    figures = ntt.coco_figures(dataset, "ntt_eval")
    assert f"AP, segm: {figures.segm['AP']:.3f}" in evaluated
    assert f"AP, bbox: {figures.bbox['AP']:.3f}" in evaluated


def test_the_evaluation_is_in_its_panel(evaluated, tab):
    panel = tab.panel("model_evaluation_panel_builtin")
    panel.get_by_text("ntt_eval", exact=True).click()
    panel.get_by_text("True Positives", exact=True).wait_for()
    tab.shoot("evaluation_panel")
