"""Labels below their class's threshold: tagged, untagged, hidden, counted; never deleted."""

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F

import ntt_plugin as ntt
from ntt_plugin.dataset.banks.thresholds import ClassCounts, Threshold
from ntt_plugin.errors import DatasetError

LABELS = "found.detections"
CLASSES = ["red", "$red", "a.b", "$a.b$", "none"]
LIMITS = {"red": 0.5, "$red": 0.25, "a.b": 1, "$a.b$": 0}


@pytest.fixture
def scored(dataset):
    """Labels of all classes with random scores in ``found``; the last sample has no field."""
    rng = np.random.default_rng(0)
    for sample in dataset.limit(5).iter_samples(autosave=True):
        sample["found"] = fo.Detections(
            detections=[
                fo.Detection(
                    label=str(rng.choice(CLASSES)),
                    bounding_box=[0, 0, 0.5, 0.5],
                    confidence=round(float(rng.random()), 2),
                    tags=["mine"],
                )
                for _ in range(30)
            ]
        )
    return dataset


def below_by_hand(dataset, limits=LIMITS):
    """Ids of the labels below their class's threshold."""
    return {
        label.id
        for sample in dataset
        for label in (sample["found"].detections if sample["found"] else [])
        if label.label in limits
        and label.confidence is not None
        and 0 <= label.confidence < limits[label.label]
    }


def tagged(dataset, tag="below_threshold"):
    view = dataset.filter_labels("found", F("tags").contains(tag))
    return set(view.values(f"{LABELS}.id", unwind=True))


def test_what_is_below_is_tagged_whatever_classes_are_called(scored):
    expected = below_by_hand(scored)
    done = ntt.apply_thresholds(scored, "found", thresholds=LIMITS)
    assert tagged(scored) == expected
    assert set(done.view.values(f"{LABELS}.id", unwind=True)) == expected
    assert (done.below, len(expected)) == (len(expected), done.below)
    assert set(scored.distinct(f"{LABELS}.tags")) == {"mine", "below_threshold"}


def test_counts_are_by_class_and_classes_without_a_threshold_are_named(scored):
    expected, counts = below_by_hand(scored), scored.count_values(f"{LABELS}.label")
    done = ntt.apply_thresholds(scored, "found", thresholds={**LIMITS, "unseen": 0.5})
    low = {name: 0 for name in LIMITS}
    for label in scored.values(LABELS, unwind=True):
        low[label.label] = low.get(label.label, 0) + (label.id in expected)
    assert done.by_class == {
        name: ClassCounts(LIMITS[name], low[name], counts[name] - low[name]) for name in LIMITS
    }
    assert done.without == {"none": counts["none"]}
    assert done.below + done.above + counts["none"] == sum(counts.values())


def test_what_is_no_longer_below_is_untagged(scored):
    ntt.apply_thresholds(scored, "found", thresholds=LIMITS)
    other = {"red": 0.1, "a.b": 0.7}
    ntt.apply_thresholds(scored, "found", thresholds=other)
    assert tagged(scored) == below_by_hand(scored, other)


def test_a_label_on_the_threshold_is_not_below(scored):
    sample = scored.first()
    sample["found"].detections[0].label = "red"
    sample["found"].detections[0].confidence = 0.5
    sample.save()
    ntt.apply_thresholds(scored, "found", thresholds=LIMITS)
    assert sample["found"].detections[0].id not in tagged(scored)


@pytest.mark.parametrize("confidence", [None, float("nan"), -1.0])
def test_a_label_without_a_confidence_is_never_below(scored, confidence):
    sample = scored.first()
    label = sample["found"].detections[0]
    label.label, label.confidence = "a.b", confidence
    sample.save()
    ntt.apply_thresholds(scored, "found", thresholds=LIMITS)
    assert label.id not in tagged(scored)
    hidden = ntt.apply_thresholds(scored, "found", thresholds=LIMITS, action="hide").view
    assert label.id in hidden.values(f"{LABELS}.id", unwind=True)


def test_hiding_changes_nothing_and_shows_the_others(scored):
    before = [sample.to_dict() for sample in scored]
    done = ntt.apply_thresholds(scored, "found", thresholds=LIMITS, action="hide")
    assert [sample.to_dict() for sample in scored] == before
    every = set(scored.values(f"{LABELS}.id", unwind=True))
    assert set(done.view.values(f"{LABELS}.id", unwind=True)) == every - below_by_hand(scored)
    assert len(done.view) == len(scored)


def test_labels_and_samples_that_a_view_leaves_out_are_left_alone(scored):
    view = scored.limit(2).filter_labels("found", F("label") == "red")
    expected = below_by_hand(view)
    done = ntt.apply_thresholds(view, "found", thresholds=LIMITS)
    assert tagged(scored) == expected
    assert set(done.by_class) == {"red"}


def test_a_sample_in_memory_shows_the_tags(scored):
    sample = scored.first()
    ntt.apply_thresholds(scored, "found", thresholds=LIMITS)
    sample.reload()
    found = {label.id for label in sample["found"].detections if "below_threshold" in label.tags}
    assert found == below_by_hand(scored) & {label.id for label in sample["found"].detections}


def test_labels_without_a_list_of_tags_are_tagged(scored):
    first = scored.first()
    scored._sample_collection.update_one({"_id": first._id}, {"$set": {f"{LABELS}.$[].tags": None}})
    scored.reload()
    ntt.apply_thresholds(scored, "found", thresholds=LIMITS)
    assert tagged(scored) == below_by_hand(scored)


@pytest.fixture
def segmented(dataset, segmenter):
    """Segmented with a bank ``blocks`` that keeps thresholds."""
    ntt.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)
    ntt.segment(dataset, "blocks", "found", segmenter=segmenter)
    ntt.save_thresholds(dataset, "blocks", thresholds={"red": 1, "green": 0})
    return dataset


def test_the_bank_of_the_fields_run_is_asked_first(segmented):
    done = ntt.apply_thresholds(segmented, "found")
    expected = {
        label.id
        for label in segmented.values(LABELS, unwind=True)
        if label.label == "red" and label.confidence < 1
    }
    assert tagged(segmented) == expected
    assert list(done.by_class) == ["green", "red"] and list(done.without) == ["blue"]


@pytest.mark.parametrize("given", ["name", "bank", "file"])
def test_a_bank_is_given_by_name_itself_or_as_a_file(segmented, given, tmp_path):
    bank = ntt.load_memory_bank(segmented, "blocks")
    bank.save(tmp_path / "a.safetensors")
    given = {"name": "blocks", "bank": bank, "file": tmp_path / "a.safetensors"}[given]
    expected = ntt.apply_thresholds(segmented, "found")
    assert ntt.apply_thresholds(segmented, "found", given).by_class == expected.by_class


def test_thresholds_of_an_evaluation_are_taken_as_they_come(scored):
    limits = {"red": Threshold(0.5, 1, 1, 1, 1)}
    assert ntt.apply_thresholds(scored, "found", thresholds=limits).by_class["red"].threshold == 0.5


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "not segmented with a memory bank"),
        ({"bank": "none"}, "no memory bank 'none'"),
        ({"bank": "blocks"}, "keeps no thresholds"),
        ({"bank": "blocks", "thresholds": {"red": 0.5}}, "one of the two"),
        ({"thresholds": {}}, "No threshold was given"),
        ({"thresholds": {"red": float("nan")}}, "'red' is nan"),
        ({"thresholds": {"red": "0.5"}}, "from 0 to 1"),
        ({"thresholds": LIMITS, "action": "delete"}, "no action 'delete'"),
        ({"thresholds": LIMITS, "tag": " "}, "tag"),
        ({"thresholds": LIMITS, "tag": "$x"}, "dollar"),
        ({"thresholds": LIMITS, "label_field": "nope"}, "no field 'nope'"),
    ],
)
def test_what_cannot_be_applied_is_refused(scored, segmenter, given, words):
    ntt.build_memory_bank(scored, "ground_truth", "blocks", segmenter=segmenter)
    with pytest.raises(DatasetError, match=words):
        ntt.apply_thresholds(scored, **{"label_field": "found", **given})
    assert tagged(scored) == set()
