"""The order of a review's labels, their pages, and how many are done."""

import math

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

from ntt_plugin.dataset.banks.thresholds import save_thresholds
from ntt_plugin.dataset.review.queue import ReviewCounts, review_queue
from ntt_plugin.dataset.review.steps import review_labels
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.errors import DatasetError

FIELD = "ground_truth"
# Confidence and margin of the first labels; the others have neither.
SCORES = [(0.9, 0.3), (0.5, 0.3), (0.52, 0.01), (0.8, None), (None, 0.2), (0.4, 0.5)]


@pytest.fixture
def scored(dataset):
    values = iter(SCORES)
    for sample in dataset.iter_samples(autosave=True):
        for label in sample[FIELD].detections:
            label.confidence, label["margin"] = next(values, (None, None))
    return dataset


def test_the_most_doubtful_come_first(scored):
    """By the nearer of the class's threshold and the next class, of what is known."""
    limits = dict.fromkeys(["red", "green", "blue"], 0.5)
    items = review_queue(scored, FIELD, thresholds=limits).items
    doubts = [
        min(abs(c - 0.5) if c is not None else math.inf, math.inf if m is None else m)
        for c, m in SCORES
    ]
    keys = scored.values(f"{FIELD}.detections.id", unwind=True)
    expected = [keys[place] for place in sorted(range(6), key=lambda place: doubts[place])]
    assert [item.label_id for item in items[:6]] == expected
    assert {item.doubt for item in items[6:]} == {math.inf}
    assert len(items) == len(keys)


def test_without_thresholds_the_margin_decides(scored):
    items = review_queue(scored, FIELD).items
    assert [item.margin for item in items[:3]] == [0.01, 0.2, 0.3]


def test_thresholds_are_those_of_the_fields_bank(dataset, bank, segmenter):
    segment(dataset, "blocks", "ntt", segmenter=segmenter)
    given = dict.fromkeys(bank.classes, 0.25)
    expected = [item.doubt for item in review_queue(dataset, "ntt", thresholds=given).items]
    assert [item.doubt for item in review_queue(dataset, "ntt", thresholds={}).items] != expected
    save_thresholds(dataset, "blocks", thresholds=given)
    assert [item.doubt for item in review_queue(dataset, "ntt").items] == expected


def test_only_what_is_above_its_threshold(scored):
    limits = dict.fromkeys(["red", "green", "blue"], 0.52)
    items = review_queue(scored, FIELD, thresholds=limits, only_above=True).items
    left_out = {0.5, 0.4}
    assert {item.confidence for item in items} == {score for score, _ in SCORES} - left_out


def test_counts_cover_all_whatever_is_asked_for(dataset):
    first, second, *_ = dataset.values(f"{FIELD}.detections.id", unwind=True)
    review_labels(dataset, FIELD, [first], [second])
    queue = review_queue(dataset, FIELD, ["red"])
    assert queue.counts == ReviewCounts(16, 1, 1)
    assert sum(counts.total for counts in queue.by_class.values()) == queue.counts.total == 18
    assert {item.label for item in queue.items} == {"red"}
    for state, expected in (("approved", [first]), ("rejected", [second])):
        asked = review_queue(dataset, FIELD, state=state)
        assert [item.label_id for item in asked.items] == expected


def test_pages_hold_each_label_once(dataset):
    queue = review_queue(dataset, FIELD)
    pages = [queue.page(number, 7) for number in range(4)]
    assert [len(page) for page in pages] == [7, 7, 4, 0]
    assert [item for page in pages for item in page] == list(queue.items)


def test_the_patches_of_a_page_are_its_labels_in_order(scored):
    queue = review_queue(scored, FIELD)
    patches = queue.patches(1, 5)
    assert patches.values("id") == [item.label_id for item in queue.page(1, 5)]


def test_a_view_that_filters_labels_reviews_those_it_shows(dataset):
    view = dataset.filter_labels(FIELD, F("label") == "blue")
    assert {item.label for item in review_queue(view, FIELD).items} == {"blue"}


def test_an_unknown_state_is_refused(dataset):
    with pytest.raises(DatasetError, match="no state 'done'"):
        review_queue(dataset, FIELD, state="done")


def test_a_label_that_was_edited_or_drawn_in_the_app_is_approved(dataset, bank, segmenter):
    segment(dataset, "blocks", "ntt", segmenter=segmenter)
    assert review_queue(dataset, "ntt").counts == ReviewCounts(18, 0, 0)
    first, second, *_ = list(dataset)
    first["ntt"].detections[0].label = "violet"
    own = fo.Detection(label="mine", bounding_box=[0.1, 0.1, 0.2, 0.2])
    second["ntt"].detections.append(own)
    first.save()
    second.save()
    queue = review_queue(dataset, "ntt", state="approved")
    assert {item.label_id for item in queue.items} == {first["ntt"].detections[0].id, own.id}
    assert queue.counts == ReviewCounts(17, 2, 0)
    review_labels(dataset, "ntt", reject=[own.id], again=True)
    assert review_queue(dataset, "ntt").counts == ReviewCounts(17, 1, 1)


@pytest.mark.parametrize("limits", [True, "red", {"red": "0.5"}, {"red": math.nan}, {"red": 2}])
def test_thresholds_that_are_none_are_refused(scored, limits):
    with pytest.raises(DatasetError, match="threshold"):
        review_queue(scored, FIELD, thresholds=limits)


@pytest.mark.parametrize("label", [5, ["red"], {"a": 1}])
def test_a_class_that_is_no_text_stands_for_none(scored, label):
    one = scored._sample_collection.find_one({})
    scored._sample_collection.update_one(
        {"_id": one["_id"]}, {"$set": {f"{FIELD}.detections.0.label": label}}
    )
    found = review_queue(scored, FIELD)
    assert found.counts.todo == 18
    assert found.by_class[""].todo == 1
    assert len(review_queue(scored, FIELD, ["red"]).items) in (5, 6)
