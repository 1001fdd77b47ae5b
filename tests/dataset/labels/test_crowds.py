"""The values of ``iscrowd`` that people and tools write, and what an evaluation makes of them."""

import fiftyone as fo
import numpy as np
import pytest

from ntt_plugin.dataset.banks.thresholds import best_thresholds
from ntt_plugin.dataset.evaluation.evaluate import coco_figures, evaluate
from ntt_plugin.dataset.evaluation.exclusions import LeftOut
from ntt_plugin.dataset.labels.crowds import is_crowd, is_crowd_label
from ntt_plugin.dataset.references.coco_few_shot import is_valid_reference
from ntt_plugin.dataset.references.sampling import sample_references
from ntt_plugin.errors import DatasetError

YES = [True, 1, 1.0, np.True_, np.int64(1), np.float32(1), np.array(1), "1", "1.0", "true"]
YES += ["True", "YES", " y ", "on", "T", b"1", b"true"]
NO = [False, 0, 0.0, np.False_, np.uint8(0), np.float64(0), "0", "0.0", "false", "False", "no"]
NO += ["N", "off", "", "  ", None, "None", "null", float("nan"), np.nan, "NaN", b"0", b"False"]
UNREADABLE = ["maybe", "2", 2, -1, 0.5, float("inf"), [1], {}, b"\xff", np.array([0, 1]), "$x"]


@pytest.mark.parametrize("value", YES, ids=repr)
def test_yes(value):
    assert is_crowd(value) is True


@pytest.mark.parametrize("value", NO, ids=repr)
def test_no(value):
    assert is_crowd(value) is False


@pytest.mark.parametrize("value", UNREADABLE, ids=repr)
def test_what_is_neither_is_told_by_name(value):
    with pytest.raises(DatasetError, match=r"iscrowd is .*neither yes nor no; set it to 0 or 1"):
        is_crowd(value)


def test_a_label_keeps_it_in_either_of_two_places():
    assert is_crowd_label(fo.Detection(iscrowd="1"))
    assert not is_crowd_label(fo.Detection(iscrowd="0"))
    assert is_crowd_label(fo.Detection(attributes={"iscrowd": fo.Attribute(value="yes")}))
    assert not is_crowd_label(fo.Polyline(attributes={"iscrowd": fo.Attribute(value="no")}))
    assert not is_crowd_label(fo.Detection())


def test_few_shot_reads_the_text_of_a_coco_file():
    image = {"width": 200, "height": 200}
    for value, valid in (("0", True), ("1", False), (None, True)):
        assert is_valid_reference(image, {"bbox": [50, 50, 60, 60], "iscrowd": value}) == valid


TEXTS = {0: ["0", "False", "no", None, 0.0, "", float("nan")], 1: ["1", "True", "yes", 1.0, True]}


def as_text(dataset, nested=False):
    """Write each ``iscrowd`` of the truth in many forms; what was written."""
    count = 0
    for sample in dataset:
        for label in sample["truth"].detections:
            value = TEXTS[label["iscrowd"]][count % len(TEXTS[label["iscrowd"]])]
            count += 1
            if nested:
                label["iscrowd"] = None
                label.attributes = {"iscrowd": fo.Attribute(value=value)}
            else:
                label["iscrowd"] = value
        sample.save()


def written(dataset):
    return [
        repr(
            (
                getattr(label, "iscrowd", None),
                {name: held.value for name, held in label.attributes.items()},
            )
        )
        for sample in dataset
        for label in sample["truth"].detections
    ]


@pytest.fixture
def crowded(make):
    """Scenes with crowds, whose schema does not fix the type of ``iscrowd``."""
    _, dataset = make(count=16, seed=3, crowds=True)
    if dataset.get_field("truth.detections.iscrowd") is not None:
        dataset.remove_dynamic_sample_field("truth.detections.iscrowd")
    assert any(crowd for crowd in dataset.values("truth.detections.iscrowd", unwind=True))
    return dataset


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_crowds_as_text_score_as_crowds_as_numbers(crowded, masks, nested):
    expected = evaluate(crowded, "found", "truth", "numbers", masks=masks)
    figures = coco_figures(crowded, "numbers")
    marks = crowded.values("truth.detections.numbers")
    thresholds = best_thresholds(crowded, "numbers")
    assert thresholds

    as_text(crowded, nested)
    before = written(crowded)
    results = evaluate(crowded, "found", "truth", "texts", masks=masks)

    assert coco_figures(crowded, "texts") == figures
    assert results.mAP() == expected.mAP()
    assert crowded.values("truth.detections.texts") == marks
    assert crowded.values("texts_tp") == crowded.values("numbers_tp")
    assert best_thresholds(crowded, "texts") == thresholds
    crowded.reload()
    assert written(crowded) == before
    assert results.config.left_out["label_count"] == 0


def test_such_an_evaluation_is_loaded_as_fiftyones_own(crowded):
    as_text(crowded)
    results = evaluate(crowded, "found", "truth", "check")
    loaded = crowded.load_evaluation_results("check", cache=False)
    assert type(loaded).__module__ == "fiftyone.utils.eval.coco"
    assert type(loaded.config).__module__ == "fiftyone.utils.eval.coco"
    assert loaded.mAP() == results.mAP()
    assert crowded.get_evaluation_info("check").config.iscrowd == "iscrowd"
    assert len(crowded.to_evaluation_patches("check")) > 0
    crowded.delete_evaluation("check")


def test_one_that_cannot_be_read_is_left_out_of_both_scores_and_named(crowded):
    sample = crowded.first()
    odd = sample["truth"].detections[0]
    odd["iscrowd"] = "maybe"
    sample.save()
    results = evaluate(crowded, "found", "truth", "check", masks=False)
    (entry,) = LeftOut.from_dict(results.config.left_out).labels
    assert entry.label == odd.id and "'maybe'" in entry.reason
    assert crowded.first()["truth"].detections[0].get_attribute_value("check", None) is None


def test_sampling_passes_over_what_cannot_be_read_and_says_so(crowded):
    sample = crowded.first()
    for label in sample["truth"].detections:
        label["iscrowd"] = "maybe"
    sample.save()
    as_text(crowded.skip(1))
    chosen = sample_references(crowded, "truth", shots=np.int64(500), seed=np.int32(5))
    odd = {label.id for label in sample["truth"].detections}
    assert odd and not odd & set(chosen.label_ids)
    assert any("'maybe'" in reason for reason in chosen.passed_over)
    crowds = {
        label.id
        for sample in crowded.skip(1)
        for label in sample["truth"].detections
        if is_crowd_label(label)
    }
    assert chosen.passed_over["marked as a crowd"] == len(crowds)
    assert not crowds & set(chosen.label_ids)
