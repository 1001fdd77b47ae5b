"""Thresholds estimated from what is found in the references' images."""

import numpy as np
import pytest

from ntt_plugin.engine.matching.leave_one_out import Annotated, LeaveOneOut
from ntt_plugin.engine.matching.match import Instances

SIZE = (40, 60)


def square(place, size=6):
    mask = np.zeros(SIZE, bool)
    row, column = divmod(place, 8)
    mask[7 * row : 7 * row + size, 7 * column : 7 * column + size] = True
    return mask


def instances(found):
    """Instances of (label, score, mask), by falling score."""
    found = sorted(found, key=lambda one: -one[1])
    boxes, masks = [], []
    for _, _, mask in found:
        rows, columns = np.nonzero(mask)
        x1, y1, x2, y2 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        boxes.append((x1, y1, x2, y2))
        masks.append(mask[y1:y2, x1:x2])
    count = len(found)
    return Instances(
        masks=masks,
        boxes=np.array(boxes).reshape(-1, 4),
        scores=np.array([score for _, score, _ in found], dtype=np.float32),
        labels=[label for label, _, _ in found],
        margins=np.zeros(count, np.float32),
        proposal_ious=np.zeros(count, np.float32),
        references=[""] * count,
        image_size=SIZE,
    )


def test_the_threshold_parts_what_is_right_from_what_is_wrong():
    observed = LeaveOneOut()
    for place, score in enumerate([0.9, 0.8, 0.7]):
        found = [("a", score, square(place)), ("a", 0.3, square(20)), ("a", 0.2, square(30))]
        annotated = [Annotated("a", square(place)), Annotated("b", square(20))]
        observed.add(instances(found), annotated, ["a", "b"])
    assert 0.3 < observed.estimate(["a"])["a"].value < 0.7


def test_unknown_predictions_with_the_scores_of_right_ones_count_as_right():
    """An image holds more objects than were annotated: they must not raise the threshold."""
    observed = LeaveOneOut()
    for score in np.linspace(0.5, 0.9, 9):
        unknown = [("a", s, square(8 + i)) for i, s in enumerate(np.linspace(0.5, 0.9, 9))]
        found = [("a", score, square(0)), *unknown, ("a", 0.1, square(30))]
        observed.add(instances(found), [Annotated("a", square(0))], ["a"])
    assert 0.1 < observed.estimate(["a"])["a"].value < 0.5


def test_unknown_predictions_with_low_scores_count_as_wrong():
    observed = LeaveOneOut()
    for score in np.linspace(0.7, 0.9, 9):
        unknown = [("a", s, square(8 + i)) for i, s in enumerate(np.linspace(0.2, 0.6, 9))]
        annotated = [Annotated("a", square(0))]
        observed.add(instances([("a", score, square(0)), *unknown]), annotated, ["a"])
    assert 0.6 < observed.estimate(["a"])["a"].value < 0.7


def test_a_negative_is_wrong_and_another_class_too():
    observed = LeaveOneOut()
    for place in range(4):
        found = [("a", 0.9, square(place)), ("a", 0.8, square(10)), ("a", 0.7, square(20))]
        annotated = [
            Annotated("a", square(place)),
            Annotated("a", square(10), negative=True),
            Annotated("b", square(20)),
        ]
        observed.add(instances(found), annotated, ["a", "b"])
    assert 0.8 < observed.estimate(["a"])["a"].value < 0.9


def test_recall_is_the_share_of_objects_found_above_the_threshold():
    """Ten of 30 objects are not found again; of a class of its own with 20 or more objects."""
    observed = LeaveOneOut()
    for number in range(30):
        found = [("a", 0.8, square(0))] if number % 3 else [("b", 0.9, square(0))]
        observed.add(instances(found), [Annotated("a", square(0))], ["a", "b"])
    estimate = observed.estimate(["a"])["a"]
    assert (estimate.objects, estimate.pooled) == (30, False)
    assert estimate.recall == pytest.approx(20 / 30)


def test_few_objects_share_the_threshold_of_all():
    observed = LeaveOneOut()
    for label, score in (("a", 0.9), ("b", 0.5)):
        found = [(label, score, square(0)), (label, 0.2, square(9))]
        observed.add(instances(found), [Annotated(label, square(0))], ["a", "b"])
    estimates = observed.estimate(["a", "b", "c"])
    assert len({estimate.value for estimate in estimates.values()}) == 1
    assert all(estimate.pooled for estimate in estimates.values())
    assert estimates["c"].objects == 0


def test_an_object_counts_once_and_a_second_prediction_on_it_is_wrong():
    observed = LeaveOneOut()
    found = [("a", 0.9, square(0)), ("a", 0.6, square(0))]
    for _ in range(3):
        observed.add(instances(found), [Annotated("a", square(0))], ["a"])
    estimate = observed.estimate(["a"])["a"]
    assert 0.6 < estimate.value < 0.9
    assert estimate.objects == 3


def test_objects_of_a_class_that_the_bank_has_lost_are_not_missed():
    observed = LeaveOneOut()
    observed.add(instances([("a", 0.9, square(0))]), [Annotated("a", square(0))], ["a"])
    observed.add(instances([("a", 0.3, square(0))]), [Annotated("b", square(0))], ["a"])
    assert observed.estimate(["b"])["b"].objects == 0


def test_nothing_found_again_is_no_threshold():
    observed = LeaveOneOut()
    observed.add(instances([("a", 0.9, square(9))]), [Annotated("a", square(0))], ["a"])
    assert observed.estimate(["a"]) == {}
