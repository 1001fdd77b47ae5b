"""The end of an evaluation, as the App shows it."""

import pytest
from pymongo.collection import Collection

from ntt_plugin.app.runtime.result_page import output_page
from tests.app.driver import page

LABEL = "ground_truth.detections.label"
SCORE = {"label_field": "ntt", "gt_field": "ground_truth", "eval_key": "score"}


def test_labels_that_cannot_be_scored_are_named(plugin, dataset):
    sample = dataset.match_tags("target").first()
    broken = sample["ground_truth"].detections[0]
    broken.bounding_box = [float("nan")] * 4
    sample.save()

    messages = plugin.run(dataset, "evaluate_segmentation", SCORE)

    assert broken.id in str(messages[-1])


def test_a_button_opens_the_panel_that_holds_the_evaluation(plugin, dataset):
    results = page(plugin.run(dataset, "evaluate_segmentation", SCORE))
    button = output_page(results).type.properties["panel"].view
    assert button.operator == "@voxel51/operators/open_panel"
    assert button.params["name"] == "model_evaluation_panel_builtin"


@pytest.fixture
def one_without_mask(dataset):
    """The dataset, one of whose true labels has lost its mask, and that label's class."""
    sample = dataset.match_tags("target").first()
    bare = sample["ground_truth"].detections[0]
    bare.mask = None
    sample.save()
    return dataset, bare.label


def form(plugin, dataset, **params):
    return plugin.form(dataset, "evaluate_segmentation", params={**SCORE, **params})


def test_a_label_without_a_mask_is_left_out_and_does_not_block_the_form(plugin, one_without_mask):
    dataset, _ = one_without_mask
    found = form(plugin, dataset)
    assert found.errors == {} and "will_do" in found.fields
    assert "1 label without a mask" in found.said("left_out")
    assert "left_out" not in form(plugin, dataset, masks=False).fields
    problems = page(plugin.run(dataset, "evaluate_segmentation", SCORE))["problems"]
    assert problems[0].startswith("1 labels in 'ground_truth' are left out")


def test_a_label_without_a_mask_of_another_class_is_no_matter(plugin, one_without_mask):
    dataset, its_class = one_without_mask
    others = [name for name in dataset.distinct(LABEL) if name != its_class]
    assert "left_out" not in form(plugin, dataset, classes=others).fields
    assert "left_out" in form(plugin, dataset, classes=[its_class]).fields


def test_a_field_without_any_mask_is_marked(plugin, dataset):
    found = form(plugin, dataset, gt_field="boxes")
    assert list(found.errors) == ["masks"] and "'boxes'" in found.errors["masks"]
    assert form(plugin, dataset, gt_field="boxes", masks=False).errors == {}


def test_a_class_all_of_whose_labels_lack_masks_is_marked(plugin, dataset):
    name = dataset.distinct("ntt.detections.label")[0]
    for sample in dataset.exists("ntt").iter_samples(autosave=True):
        for label in sample["ntt"].detections:
            label.mask = None if label.label == name else label.mask
    assert list(form(plugin, dataset, classes=[name]).errors) == ["masks"]


def test_labels_of_the_chosen_classes_are_counted(plugin, dataset):
    name = dataset.distinct("ntt.detections.label")[0]
    predicted = dataset.count_values("ntt.detections.label")[name]
    true = dataset.count_values(LABEL).get(name, 0)
    said = form(plugin, dataset, classes=[name]).said("will_do")
    assert f"{predicted} label" in said and f"with {true} true ones" in said
    compare = {"label_field": "ntt", "other_field": "ground_truth", "classes": [name]}
    said = plugin.form(dataset, "compare_segmentations", params=compare).said("will_do")
    assert f"{predicted} label" in said and f"with {true} in" in said


def test_a_class_that_is_predicted_alone_can_be_scored(plugin, dataset):
    sample = dataset.exists("ntt").first()
    sample["ntt"].detections[0].label = "nowhere"
    sample.save()
    assert form(plugin, dataset, classes=["nowhere"]).errors == {}
    plugin.run(dataset, "evaluate_segmentation", {**SCORE, "classes": ["nowhere"]})


def test_images_that_were_never_segmented_are_told_in_the_form_and_at_the_end(plugin, dataset):
    never = dataset.exists("ntt", False)
    assert f"{len(never)} images never segmented" in form(plugin, dataset).said("missing")
    assert "missing" not in form(plugin, dataset, advanced=True, include_missing=True).fields
    shown = page(plugin.run(dataset, "evaluate_segmentation", SCORE))
    [problem] = shown["problems"]
    assert f"{len(never)} samples are left out" in problem and never.first().filepath in problem
    every = {**SCORE, "eval_key": "every", "include_missing": True}
    shown = page(plugin.run(dataset, "evaluate_segmentation", every))
    assert "problems" not in shown
    dataset.reload()
    assert dataset.exists("ntt", False).count("every_fn") == len(never)


def test_a_comparison_tells_of_images_that_one_pass_never_looked_at(plugin, dataset):
    compare = {"label_field": "ntt", "other_field": "ground_truth"}
    never = len(dataset.exists("ntt", False))
    said = plugin.form(dataset, "compare_segmentations", params=compare).said("missing")
    assert f"{never} images never segmented" in said
    shown = page(plugin.run(dataset, "compare_segmentations", compare))
    assert f"{never} samples are left out" in shown["problems"][0]


def test_the_name_of_an_evaluation_of_other_fields_is_marked(plugin, dataset):
    plugin.run(dataset, "evaluate_segmentation", SCORE)
    dataset.clone_sample_field("ground_truth", "other")
    found = form(plugin, dataset, gt_field="other")
    assert "choose another name" in found.errors["eval_key"]
    assert "eval_key" not in form(plugin, dataset).errors


def test_the_form_reads_no_label_to_check_the_name(plugin, dataset, monkeypatch):
    """A change of the form would wait for a search through all labels."""
    asked, find = [], Collection.find_one

    def finding(collection, *args, **kwargs):
        asked.append(str(args))
        return find(collection, *args, **kwargs)

    monkeypatch.setattr(Collection, "find_one", finding)
    assert form(plugin, dataset, eval_key="unheard_of").errors == {}
    assert not any("unheard_of" in question for question in asked)
