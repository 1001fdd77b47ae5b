"""The boxes that candidates_ap.py proposes, and how good masks are."""

import numpy as np
import pytest

from benchmarks.candidate_boxes import best_ious, false_boxes, jittered, tight_boxes
from ntt_plugin.engine.masks.packed import pack_mask

SIZE = (60, 100)
BOXES = np.array([[0, 0, 20, 10], [70, 30, 100, 60], [40, 20, 50, 50]], float)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def block(box):
    x1, y1, x2, y2 = (int(edge) for edge in box)
    mask = np.zeros(SIZE, bool)
    mask[y1:y2, x1:x2] = True
    return mask


def iou(first, second):
    """IoU of two boxes on a fine raster, 10 cells a pixel."""
    raster = np.zeros((2, SIZE[0] * 10, SIZE[1] * 10), bool)
    for one, box in zip(raster, (first, second), strict=True):
        x1, y1, x2, y2 = np.round(np.array(box) * 10).astype(int)
        one[y1:y2, x1:x2] = True
    return (raster[0] & raster[1]).sum() / (raster[0] | raster[1]).sum()


def test_tight_boxes_exclude_their_right_and_lower_edge():
    assert np.array_equal(tight_boxes(block(box) for box in BOXES), BOXES)


def test_no_edge_moves_by_more_than_its_part_of_the_side_or_leaves_the_image(rng):
    most = 0.1 * np.array([[20, 10] * 2, [30, 30] * 2, [10, 30] * 2])
    drawn = np.stack([jittered(BOXES, SIZE, 0.1, rng) for _ in range(200)])
    moved = np.abs(drawn - BOXES)
    assert (moved <= most).all()
    inner = (BOXES > 0) & (BOXES < [100, 60, 100, 60])
    assert (moved.max(axis=0) > 0.9 * most)[inner].all()
    assert drawn.min() == 0 and (drawn <= [100, 60, 100, 60]).all()


def test_false_boxes_have_the_sizes_and_overlap_no_true_one(rng):
    false = false_boxes(BOXES, SIZE, 0.2, rng)
    sizes = false[:, 2:] - false[:, :2]
    assert np.allclose(sizes, BOXES[:, 2:] - BOXES[:, :2])
    assert (false >= 0).all() and (false <= [100, 60, 100, 60]).all()
    assert max(iou(one, box) for one in false for box in BOXES) <= 0.21


def test_a_box_that_fits_nowhere_has_no_false_one(rng):
    whole = np.array([[0, 0, 100, 60]], float)
    assert false_boxes(whole, SIZE, 0.3, rng).shape == (0, 4)


def test_the_best_iou_of_an_object_is_that_of_plain_masks(rng):
    objects = [block(box) for box in BOXES[:2]]
    masks = [rng.random(SIZE) < 0.5, objects[0] & (rng.random(SIZE) < 0.8)]
    expected = [max((o & m).sum() / (o | m).sum() for m in masks) for o in objects]
    found = best_ious(objects, [None, *map(pack_mask, masks)])
    assert found == pytest.approx(expected) and found[0] > 0.7
    assert best_ious(objects, []) == [0, 0]
