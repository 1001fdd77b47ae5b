import fiftyone as fo
import numpy as np
import pytest
from pycocotools import mask as mask_utils

from ntt_plugin.dataset.labels.polylines import polyline_box, polyline_mask, shapes_of
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


@pytest.mark.parametrize(("closed", "filled"), [(False, True), (True, False)])
def test_a_filled_or_closed_polyline_is_an_area(closed, filled):
    """FiftyOne's COCO importer gives filled ones that are not closed."""
    area = polyline(SQUARE, closed=closed, filled=filled)
    assert np.array_equal(polyline_mask(area, SIZE), rectangle(2, 3, 7, 9))


def test_fiftyone_draws_a_filled_polyline_as_an_area_closed_or_not():
    drawn = [
        polyline(SQUARE, closed=closed).to_segmentation(frame_size=SIZE[::-1]).mask
        for closed in (False, True)
    ]
    assert np.array_equal(*drawn) and drawn[0][5, 4]


def test_parts_that_overlap_are_joined_as_coco_joins_them():
    other = [(5, 5), (10, 5), (10, 12), (5, 12)]
    mask = polyline_mask(polyline(SQUARE, other), SIZE)
    flat = [np.ravel(shape).astype(float).tolist() for shape in (SQUARE, other)]
    coco = mask_utils.merge(mask_utils.frPyObjects(flat, *SIZE))
    assert np.array_equal(mask, mask_utils.decode(coco))


def test_a_shape_that_is_there_twice_is_no_hole():
    mask = polyline_mask(polyline(SQUARE, SQUARE), SIZE)
    assert np.array_equal(mask, rectangle(2, 3, 7, 9))


def test_a_closed_polyline_that_is_not_filled_has_no_holes():
    """Its shapes are outlines, such as the faces that FiftyOne draws of a cuboid."""
    hole = [(3, 4), (5, 4), (5, 6), (3, 6)]
    mask = polyline_mask(polyline(hole, SQUARE, filled=False), SIZE)
    assert np.array_equal(mask, rectangle(2, 3, 7, 9))


def test_parts_that_lie_apart_are_one_mask():
    mask = polyline_mask(polyline([(0, 0), (2, 0), (2, 2), (0, 2)], SQUARE), SIZE)
    assert np.array_equal(mask, rectangle(0, 0, 2, 2) | rectangle(2, 3, 7, 9))


def test_a_shape_within_a_shape_is_a_hole():
    hole = [(3, 4), (5, 4), (5, 6), (3, 6)]
    mask = polyline_mask(polyline(SQUARE, hole), SIZE)
    assert np.array_equal(mask, rectangle(2, 3, 7, 9) & ~rectangle(3, 4, 5, 6))


def test_an_island_in_a_hole_is_part_of_it_in_any_order():
    hole, island = [(3, 4), (6, 4), (6, 8), (3, 8)], [(4, 5), (5, 5), (5, 7), (4, 7)]
    expected = rectangle(2, 3, 7, 9) & ~rectangle(3, 4, 6, 8) | rectangle(4, 5, 5, 7)
    assert np.array_equal(polyline_mask(polyline(SQUARE, hole, island), SIZE), expected)
    assert np.array_equal(polyline_mask(polyline(island, hole, SQUARE), SIZE), expected)


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


def with_points(points):
    return fo.Polyline(label="a", points=points, closed=True, filled=True)


@pytest.mark.parametrize(
    "points",
    [
        5,
        [5],
        ["abc"],
        [None],
        [[5, 6, 7]],
        [[(0.1,), (0.2,), (0.3,)]],
        [[(0.1, 0.1, 0.1)] * 3],
        [[(0.1, 0.1), (0.2,), (0.3, 0.1)]],
        [[(0.1, 0.1), None, (0.3, 0.1)]],
        [[(10**400, 0.1)] * 3],
    ],
    ids=repr,
)
def test_points_that_are_no_lists_of_pairs_are_told(points):
    with pytest.raises(DatasetError, match="corner"):
        shapes_of(points)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (polyline(SQUARE, closed=False, filled=False), "filled and closed are False"),
        (polyline(), "no shape of three corners"),
        (polyline([(0, 0), (5, 5)]), "no shape of three corners"),
        (polyline([(0, 0), (5, 5), (float("nan"), 2)]), "finite numbers"),
        (polyline([(0, 0), (5, 5), (float("inf"), 2)]), "finite numbers"),
        (polyline([(0, 0), (5, 5), (1e12, 2)]), "far outside"),
        (polyline([(0.1, 0.1), (0.2, 0.1), (0.2, 0.2)]), "centre of no pixel"),
        (polyline([(-9, -9), (-2, -9), (-2, -2)]), "centre of no pixel"),
        (fo.Polyline(label="a", filled=True, closed=True), "no shape of three corners"),
        (with_points([[(None, None)] * 3]), "finite numbers"),
        (with_points([[("0.1", "0.2")] * 3]), "finite numbers"),
    ],
)
def test_what_is_no_area_is_told(bad, said):
    with pytest.raises(DatasetError, match=said):
        polyline_mask(bad, SIZE)
