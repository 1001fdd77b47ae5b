from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest
from pycocotools import mask as mask_utils

from ntt_plugin.dataset.polylines import polyline_box, polyline_mask
from ntt_plugin.errors import DatasetError

SIZE = (12, 10)
SQUARE = [(2, 3), (7, 3), (7, 9), (2, 9)]


def polyline(*shapes, closed=True, filled=True, size=SIZE):
    height, width = size
    points = [[(x / width, y / height) for x, y in shape] for shape in shapes]
    return fo.Polyline(label="a", points=points, closed=closed, filled=filled)


def rectangle(x1, y1, x2, y2, size=SIZE):
    mask = np.zeros(size, dtype=bool)
    mask[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)] = True
    return mask


def test_a_square_has_the_pixels_inside_it_and_no_others():
    assert np.array_equal(polyline_mask(polyline(SQUARE), SIZE), rectangle(2, 3, 7, 9))


def test_a_shape_that_repeats_its_first_corner_is_the_same():
    again = polyline_mask(polyline([*SQUARE, SQUARE[0]]), SIZE)
    assert np.array_equal(again, rectangle(2, 3, 7, 9))


def test_a_slanted_shape_has_the_pixels_whose_centres_are_inside():
    size = (60, 80)
    corners = [(9.3, 5.1), (71.7, 30.2), (20.4, 55.6)]
    rows, columns = np.mgrid[:60, :80] + 0.5
    inside = np.ones(size, dtype=bool)
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
        inside &= (x2 - x1) * (rows - y1) - (y2 - y1) * (columns - x1) > 0
    mask = polyline_mask(polyline(corners, size=size), size)
    # COCO's rasteriser works at five steps a pixel: along the rim it may be off by one.
    assert (mask != inside).sum() <= 0.1 * 150
    assert abs(int(mask.sum()) - int(inside.sum())) < 0.02 * inside.sum()


def test_it_is_the_mask_that_coco_makes_of_the_same_polygon():
    rng = np.random.default_rng(0)
    for _ in range(20):
        size = tuple(rng.integers(80, 200, 2).tolist())
        centre = rng.uniform(0, 1, 2) * size[::-1]
        angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
        corners = centre + rng.uniform(8, 60, (7, 1)) * np.stack(
            [np.cos(angles), np.sin(angles)], 1
        )
        flat = [corners.ravel().tolist()]
        expected = mask_utils.decode(mask_utils.frPyObjects(flat, *size))[..., 0]
        drawn = polyline(corners.tolist(), size=size)
        if expected.any():
            assert np.array_equal(polyline_mask(drawn, size), expected)


def test_parts_that_lie_apart_are_one_mask():
    mask = polyline_mask(polyline([(0, 0), (2, 0), (2, 2), (0, 2)], SQUARE), SIZE)
    assert np.array_equal(mask, rectangle(0, 0, 2, 2) | rectangle(2, 3, 7, 9))


def test_a_shape_within_a_shape_is_a_hole():
    hole = [(3, 4), (5, 4), (5, 6), (3, 6)]
    mask = polyline_mask(polyline(SQUARE, hole), SIZE)
    assert np.array_equal(mask, rectangle(2, 3, 7, 9) & ~rectangle(3, 4, 5, 6))


def test_a_mask_with_a_hole_comes_back_through_fiftyones_polyline_with_its_hole():
    mask = np.zeros((60, 60), dtype=bool)
    mask[10:50, 10:50] = True
    mask[20:40, 20:40] = False
    back = polyline_mask(fo.Polyline.from_mask(mask, label="a", tolerance=0.5), mask.shape)
    assert not back[25:35, 25:35].any()
    assert (back & mask).sum() / (back | mask).sum() > 0.9


def test_what_reaches_over_the_border_is_cut_off():
    over = polyline([(-3, -3), (4, -3), (4, 5), (-3, 5)])
    assert np.array_equal(polyline_mask(over, SIZE), rectangle(0, 0, 4, 5))


def test_the_box_holds_all_corners():
    assert polyline_box(polyline([(1.5, 2), (3, 2), (3, 4)], SQUARE), SIZE) == (1.5, 2, 7, 9)


def test_a_shape_of_two_corners_is_passed_over():
    mask = polyline_mask(polyline([(0, 0), (9, 9)], SQUARE), SIZE)
    assert np.array_equal(mask, rectangle(2, 3, 7, 9))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (polyline(SQUARE, filled=False), "filled is False"),
        (polyline(SQUARE, closed=False), "closed is False"),
        (polyline(), "no shape of three corners"),
        (polyline([(0, 0), (5, 5)]), "no shape of three corners"),
        (polyline([(0, 0), (5, 5), (float("nan"), 2)]), "finite numbers"),
        (polyline([(0, 0), (5, 5), (float("inf"), 2)]), "finite numbers"),
        (polyline([(0, 0), (5, 5), (1e12, 2)]), "far outside"),
        (polyline([(0.1, 0.1), (0.2, 0.1), (0.2, 0.2)]), "centre of no pixel"),
        (polyline([(-9, -9), (-2, -9), (-2, -2)]), "centre of no pixel"),
        (fo.Polyline(label="a", filled=True, closed=True), "no shape of three corners"),
    ],
)
def test_what_is_no_area_is_told(bad, said):
    with pytest.raises(DatasetError, match=said):
        polyline_mask(bad, SIZE)
