"""The name of an evaluation is refused before anything is computed or written."""

import fiftyone as fo
import pytest

from ntt_plugin.dataset.database.dataset_locks import evaluation_lock
from ntt_plugin.dataset.database.locks import LockLostError, RunLock
from ntt_plugin.dataset.evaluation import evaluate as evaluation
from ntt_plugin.dataset.evaluation.evaluate import evaluate
from ntt_plugin.errors import DatasetError


@pytest.fixture
def scored(make, monkeypatch):
    """Small scenes, of which nothing may be read."""
    _, dataset = make(count=3)
    dataset.clone_sample_field("truth", "other")
    evaluate(dataset, "found", "truth", "check")

    def read(*_):
        raise AssertionError("labels were read")

    monkeypatch.setattr(evaluation, "export_coco", read)
    return dataset


def refused(dataset, key, match, label_field="found", gt_field="truth"):
    before = dataset.get_field_schema(flat=True), dataset.list_evaluations()
    with pytest.raises(DatasetError, match=match):
        evaluate(dataset, label_field, gt_field, key)
    assert (dataset.get_field_schema(flat=True), dataset.list_evaluations()) == before


def test_an_evaluation_of_another_field_is_not_replaced(scored):
    refused(scored, "check", "of 'found' against 'truth'; choose another name", gt_field="other")
    assert scored.get_evaluation_info("check").config.gt_field == "truth"


def test_an_evaluation_of_another_kind_is_not_replaced(scored):
    scored.evaluate_detections("found", gt_field="truth", eval_key="open", method="open-images")
    refused(scored, "open", "of another kind .*open-images")
    for field in ("one", "two"):
        scored.set_values(field, [fo.Classification(label="cat") for _ in scored])
    scored.evaluate_classifications("one", gt_field="two", eval_key="classes")
    refused(scored, "classes", "of another kind .*classification")


@pytest.mark.parametrize("key", ["label", "confidence", "bounding_box", "mask", "tags", "id"])
def test_an_attribute_of_every_label_is_no_name(scored, key):
    refused(scored, key, f"write over the attribute '{key}'")


@pytest.mark.parametrize("key", ["iscrowd", "reference", "bank", "reason", "source", "preset"])
def test_an_attribute_that_the_plugin_reads_or_writes_is_no_name(scored, key):
    """Whether any label has it yet or not."""
    refused(scored, key, f"write over the attribute '{key}' of the labels, which has a meaning")


def test_marks_may_not_go_into_an_attribute_either(scored):
    refused(scored, "proposal", "write over the attribute 'proposal_iou'")


IN_ISCROWD = r"choose another name\..*delete_evaluation\('iscrowd'\).*rename_evaluation\('iscrowd'"


@pytest.mark.parametrize("remedy", ["delete", "rename"])
def test_an_evaluation_whose_marks_are_in_iscrowd_is_refused_with_the_remedy(make, remedy):
    """FiftyOne itself lets an evaluation have this name."""
    _, dataset = make(count=3)
    for sample in dataset.iter_samples(autosave=True):
        for label in sample.truth.detections:
            label["iscrowd"] = "0"
    dataset.evaluate_detections("found", gt_field="truth", eval_key="iscrowd", progress=False)
    refused(dataset, "iscrowd", IN_ISCROWD)
    refused(dataset, "check", r"iscrowd is '(tp|fn)'.*delete_evaluation\('iscrowd'\)")
    if remedy == "delete":
        dataset.delete_evaluation("iscrowd")
    else:
        dataset.rename_evaluation("iscrowd", "mine")
    evaluate(dataset, "found", "truth", "check")
    refused(dataset, "iscrowd", "choose another name.$")


def test_an_evaluation_that_broke_the_numbers_in_iscrowd_is_refused_with_the_remedy(make):
    """FiftyOne declares them as texts, and can load no sample until it is deleted."""
    _, dataset = make(count=3)
    with pytest.raises(ValueError):
        dataset.evaluate_detections("found", gt_field="truth", eval_key="iscrowd", progress=False)
    refused(dataset, "iscrowd", IN_ISCROWD)
    dataset.delete_evaluation("iscrowd")
    evaluate(dataset, "found", "truth", "check")


def test_two_evaluations_under_one_name_at_once_are_refused_before_any_label_is_read(scored):
    with evaluation_lock(scored, "check"):
        refused(scored, "check", "Another evaluation 'check' of .* is running .*Wait for its end")


def test_an_evaluation_that_lost_its_name_to_another_one_writes_nothing(make, monkeypatch):
    _, dataset = make(count=3)

    def lose(*_):
        raise LockLostError("Another run has taken over")

    monkeypatch.setattr(RunLock, "require", lose)
    refused(dataset, "check", "Another run has taken over")


@pytest.mark.parametrize("gone", ["Failed to update document with ID '1'", "no evaluation run key"])
def test_an_evaluation_that_another_one_replaced_says_so(make, monkeypatch, gone):
    _, dataset = make(count=3)

    def replaced(*_, **__):
        raise ValueError(gone)

    monkeypatch.setattr(fo.DatasetView, "evaluate_detections", replaced)
    monkeypatch.setattr(fo.Dataset, "evaluate_detections", replaced)
    with pytest.raises(DatasetError, match=r"another one may be running under that name, .*Wait"):
        evaluate(dataset, "found", "truth", "check")


def test_a_name_that_cannot_be_is_told_in_good_english(scored):
    refused(scored, "two words", "cannot be the name of an evaluation")


@pytest.mark.parametrize("declared", [True, False])
def test_a_persons_attribute_is_not_written_over(scored, declared):
    for sample in scored.iter_samples(autosave=True):
        for label in sample.truth.detections:
            label["colour"] = "red"
    if declared:
        scored.add_sample_field("truth.detections.colour", fo.StringField)
    refused(scored, "colour", "write over the attribute 'colour' of the labels in 'truth'")


def test_an_attribute_of_another_type_is_not_written_over(scored):
    scored.add_sample_field("found.detections.size_id", fo.IntField)
    refused(scored, "size", "write over the attribute 'size_id' of the labels in 'found'")


def test_a_sample_field_of_another_type_is_not_written_over(scored):
    scored.add_sample_field("mine_tp", fo.StringField)
    refused(scored, "mine", "write over the field 'mine_tp'")


def test_marks_that_a_cloned_field_has_from_an_evaluation_may_be_replaced(make):
    _, dataset = make(count=3)
    evaluate(dataset, "found", "truth", "check")
    dataset.clone_sample_field("found", "again")
    dataset.delete_evaluation("check")
    evaluate(dataset, "again", "truth", "check")
    evaluate(dataset, "again", "truth", "check")
    assert dataset.get_evaluation_info("check").config.pred_field == "again"
