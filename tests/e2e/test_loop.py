"""The whole loop by hand: pick, build, segment, judge, correct, relabel; one story, in order."""

import fiftyone as fo
import pytest

import ntt_plugin as ntt
from tests.e2e.app_page import AppPage


@pytest.fixture(scope="module")
def dataset(clone) -> fo.Dataset:
    return clone()


@pytest.fixture(scope="module")
def marked(shared_tab: AppPage) -> str:
    """The page at the end of Add references, from its button above the grid; it stays open."""
    shared_tab.select_sample(0)
    shared_tab.select_sample(1)
    form = shared_tab.button("add_references", "Add references")
    form.wait_for("Will tag ")
    shared_tab.shoot("loop_1_add_references")
    form.submit("Add")
    end = form.wait_for_end("labels tagged 'reference'")
    shared_tab.shoot("loop_1_added")
    return end


@pytest.fixture(scope="module")
def built(shared_tab: AppPage, marked: str) -> str:
    """The page at the end of Build memory bank, from the tagged labels; it stays open."""
    form = shared_tab.next_step("Build a memory bank", "Build memory bank")
    form.choose("Preset", "tiny")
    form.fill("Name", "shapes")
    form.wait_for("Will save the bank 'shapes'")
    shared_tab.shoot("loop_2_build")
    form.submit("Build")
    end = form.wait_for_end("The memory bank 'shapes' is ready")
    shared_tab.shoot("loop_2_built")
    return end


@pytest.fixture(scope="module")
def segmented(shared_tab: AppPage, built: str) -> str:
    """The page at the end of the first Segment with memory bank; its view is open then."""
    form = shared_tab.next_step("Segment images with it", "Segment with memory bank")
    form.wait_for("Will write labels into 'ntt' of 8 images.")
    form.submit("Segment")
    end = form.wait_for_end("in the field 'ntt'")
    form.press("Show these images, without the doubtful labels")
    shared_tab.shoot("loop_3_segmented")
    form.close()
    shared_tab.wait_for_counts("8 samples")
    shared_tab.shoot("loop_3_labels")
    return end


@pytest.fixture(scope="module")
def evaluated(shared_tab: AppPage, segmented: str) -> str:
    """The page at the end of Evaluate segmentation; the panel that it opens is open then."""
    form = shared_tab.operator("Evaluate segmentation")
    form.wait_for("Will compare")
    form.submit("Evaluate")
    end = form.wait_for_end("is in the Model Evaluation panel")
    form.press("Open the Model Evaluation panel")
    shared_tab.shoot("loop_4_evaluated")
    form.close()
    return end


@pytest.fixture(scope="module")
def corrected(shared_tab: AppPage, evaluated: str) -> str:
    """The page at the end of Add as negatives, for one prediction selected among the patches."""
    shared_tab.show_patches("ntt")
    shared_tab.select_sample(0)
    form = shared_tab.operator("Add as negatives")
    form.wait_for("Will teach 'shapes' up to 1 negative,")
    shared_tab.shoot("loop_5_add_as_negatives")
    form.submit("Add")
    end = form.wait_for_end("1 label tagged 'negative'")
    form.close()
    return end


@pytest.fixture(scope="module")
def promoted(shared_tab: AppPage, corrected: str) -> str:
    """The page at the end of Promote to references, for another prediction; it stays open."""
    shared_tab.clear_selection()
    shared_tab.select_sample(2)
    form = shared_tab.operator("Promote to references")
    form.wait_for("Will teach 'shapes' up to 1 reference")
    form.submit("Promote")
    end = form.wait_for_end("1 label tagged 'reference'")
    shared_tab.shoot("loop_6_promoted")
    return end


@pytest.fixture(scope="module")
def relabelled(shared_tab: AppPage, promoted: str) -> str:
    """The page at the end of the second run, begun with the button that the first page offers."""
    form = shared_tab.next_step("Segment again", "Segment with memory bank")
    form.wait_for("Will write labels into 'ntt' of 8 images.")
    shared_tab.shoot("loop_7_segment_again")
    form.submit("Segment")
    end = form.wait_for_end("in the field 'ntt'")
    shared_tab.shoot("loop_7_relabelled")
    form.close()
    return end


@pytest.fixture(scope="module")
def suggested(shared_tab: AppPage, relabelled: str) -> str:
    """The page at the end of Suggest references; its patches are open then."""
    shared_tab.clear_selection()
    shared_tab.clear_view()
    form = shared_tab.operator("Suggest references")
    form.fill_number("Suggestions", "5")
    form.wait_for("Will look through 8 images")
    shared_tab.shoot("loop_8_suggest")
    form.submit("Suggest")
    end = form.wait_for_end("5 suggestions out of 8 images")
    form.close()
    shared_tab.wait_for_counts("5 patches")
    shared_tab.shoot("loop_8_suggestions")
    return end


def test_labels_of_selected_samples_become_references(marked, dataset):
    dataset.reload()
    tagged = [sample.id for sample in dataset if "reference" in label_tags(sample)]
    assert tagged == dataset.values("id")[:2]


def test_the_bank_learns_the_marked_labels_alone(built, dataset):
    bank = ntt.load_memory_bank(dataset, "shapes")
    assert len(bank) == dataset.limit(2).count("ground_truth.detections")
    assert f"{len(bank)} references of {len(bank.classes)} classes" in built


def test_every_sample_gets_labels_with_masks(segmented, dataset):
    dataset.reload()
    labels = dataset.values("ntt.detections", unwind=True)
    assert labels and all(label.mask is not None for label in labels)
    assert f"{len(labels):,} labels in 8 images" in segmented


def test_the_new_field_is_in_the_sidebar(segmented, shared_tab):
    shared_tab.page.locator("[data-cy=sidebar-field-ntt]").wait_for()


def test_scores_are_those_of_the_evaluation(evaluated, dataset):
    dataset.reload()
    figures = ntt.coco_figures(dataset, "ntt_eval")
    assert f"AP, segm: {figures.segm['AP']:.3f}" in evaluated
    assert f"AP, bbox: {figures.bbox['AP']:.3f}" in evaluated


def test_the_evaluation_is_in_the_panel_that_the_page_opened(evaluated, shared_tab):
    panel = shared_tab.page.locator("[data-cy=panel-content-model_evaluation_panel_builtin]")
    panel.get_by_text("ntt_eval", exact=True).click()
    panel.get_by_text("True Positives", exact=True).wait_for()
    shared_tab.shoot("loop_4_panel")
    shared_tab.close_panel("model_evaluation_panel_builtin")


def test_a_wrong_prediction_becomes_a_negative(corrected, dataset):
    bank = ntt.load_memory_bank(dataset, "shapes")
    assert sum(len(bank.negative_references(label)) for label in bank.classes) == 1


def test_a_right_prediction_becomes_a_reference(promoted, dataset):
    labels = dataset.limit(2).count("ground_truth.detections")
    assert len(ntt.load_memory_bank(dataset, "shapes")) == labels + 1


def test_relabelling_runs_no_network(relabelled):
    assert "From kept proposals: 8" in relabelled


def test_suggestions_say_why(suggested, dataset):
    dataset.reload()
    reasons = dataset.values("suggestions.detections.reason", unwind=True)
    assert len(reasons) == 5
    assert all(reasons)


def label_tags(sample: fo.Sample) -> set[str]:
    return {tag for label in sample["ground_truth"].detections for tag in label.tags}
