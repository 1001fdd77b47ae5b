import numpy as np
import pytest

from ntt_plugin.engine.matching.nms import box_iou, suppress


def one_by_one(boxes, ious, labels, threshold):
    """The definition, with plain numbers."""

    def overlap(a, b):
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        shared = max(width, 0) * max(height, 0)
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
        return shared / union if union else 0

    kept = []
    for index in sorted(range(len(boxes)), key=lambda i: (-ious[i], i)):
        rivals = [other for other in kept if labels[other] == labels[index]]
        if all(overlap(boxes[index], boxes[other]) <= threshold for other in rivals):
            kept.append(index)
    return kept


@pytest.mark.parametrize("classes", [1, 3, 1203])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_it_keeps_what_the_definition_keeps(classes, threshold):
    generator = np.random.default_rng(classes)
    corners = generator.integers(0, 30, (150, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)
    # Few values, so that ties are common.
    ious = generator.integers(0, 20, 150).astype(np.float32) / 20
    labels = generator.integers(0, classes, 150)
    ours = suppress(boxes, ious, labels, threshold).tolist()
    assert ours == one_by_one(boxes.tolist(), ious.tolist(), labels.tolist(), threshold)


def test_an_overlap_of_exactly_the_threshold_stays():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
    assert suppress(boxes, np.array([0.9, 0.8]), np.zeros(2, int), 0.5).tolist() == [0, 1]
    assert suppress(boxes, np.array([0.9, 0.8]), np.zeros(2, int), 0.49).tolist() == [0]


def test_the_higher_predicted_iou_wins_and_comes_first():
    boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 9], [50, 50, 60, 60]], np.float32)
    assert suppress(boxes, np.array([0.5, 0.7, 0.9]), np.zeros(3, int), 0.5).tolist() == [2, 1]


def test_labels_do_not_touch_each_other():
    boxes = np.array([[0, 0, 9, 9]] * 2, np.float32)
    assert suppress(boxes, np.array([0.5, 0.7]), np.array([0, 1]), 0.5).tolist() == [1, 0]


def test_one_pixel_boxes_stay():
    boxes = np.array([[4, 4, 4, 4]] * 2, np.float32)
    assert suppress(boxes, np.array([0.5, 0.7]), np.zeros(2, int), 0.5).tolist() == [1, 0]


def test_nothing_stays_nothing():
    none = np.zeros(0)
    assert suppress(np.zeros((0, 4)), none, none.astype(int), 0.5).tolist() == []


@pytest.mark.parametrize("seed", range(5))
def test_the_iou_of_two_boxes_is_that_of_their_pixels(seed):
    corners = np.random.default_rng(seed).integers(0, 12, (2, 4))
    boxes = [(x, y, x + width + 1, y + height + 1) for x, y, width, height in corners.tolist()]
    drawn = np.zeros((2, 24, 24), bool)
    for mask, (x1, y1, x2, y2) in zip(drawn, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    assert box_iou(*boxes) == pytest.approx((drawn[0] & drawn[1]).sum() / drawn.any(axis=0).sum())
