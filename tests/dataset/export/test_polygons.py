"""Masks as one polygon each, drawn again by rasterisers that do not know each other."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as mask_utils
from scipy import ndimage

from ntt_plugin.dataset.export.polygons import mask_polygon


def drawn_by_coco(polygon, size):
    encoded = mask_utils.frPyObjects([polygon.ravel().tolist()], *size)
    return mask_utils.decode(mask_utils.merge(encoded)).astype(bool)


def drawn_by_pil(polygon, size):
    """With the outline, and fractions cut off, as OpenCV and YOLO's trainers do."""
    image = Image.new("1", size[::-1])
    ImageDraw.Draw(image).polygon([tuple(map(int, corner)) for corner in polygon], 1, 1)
    return np.asarray(image)


DRAWN = [drawn_by_coco, drawn_by_pil]


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def blob(seed, size=(90, 120)):
    """One smooth part without holes."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=size), 6)
    parts, _ = ndimage.label(field > 0.01)
    largest = np.bincount(parts.ravel())[1:].argmax() + 1
    return ndimage.binary_fill_holes(parts == largest)


def ragged(seed, size=(40, 50)):
    """Many parts and holes, of single pixels too, some touching at corners only."""
    mask = np.random.default_rng(seed).random(size) < 0.6
    mask[0, 0] = True
    return mask


@pytest.mark.parametrize("draw", DRAWN)
@pytest.mark.parametrize("seed", range(8))
def test_a_part_without_holes_comes_back_to_the_pixel(seed, draw):
    mask = blob(seed)
    assert (draw(mask_polygon(mask), mask.shape) == mask).all()


@pytest.mark.parametrize("seed", range(8))
def test_holes_and_parts_come_back_to_the_pixel_by_cocos_rasteriser(seed):
    mask = ragged(seed)
    assert (drawn_by_coco(mask_polygon(mask), mask.shape) == mask).all()


@pytest.mark.parametrize("draw", DRAWN)
def test_a_hole_comes_back_to_the_pixel(draw):
    mask = np.zeros((30, 40), bool)
    mask[4:26, 3:35] = True
    mask[9:15, 8:20] = mask[18, 30] = False
    assert (draw(mask_polygon(mask), mask.shape) == mask).all()


def test_a_bridge_is_the_shortest_line_between_two_parts():
    mask = np.zeros((30, 60), bool)
    mask[2:28, 3:20] = mask[12:16, 24:50] = True
    drawn = drawn_by_pil(mask_polygon(mask), mask.shape)
    assert (drawn & ~mask).sum() == 4
    assert (drawn | mask == drawn).all()


@pytest.mark.parametrize("draw", DRAWN)
def test_a_single_pixel_and_a_thin_line(draw):
    for mask in (np.ones((1, 1), bool), np.ones((1, 9), bool), np.eye(7, dtype=bool)):
        framed = np.pad(mask, 3)
        assert (draw(mask_polygon(framed), framed.shape) == framed).all()


def test_hundreds_of_specks_need_no_recursion():
    mask = np.zeros((80, 80), bool)
    mask[::2, ::2] = True
    assert (drawn_by_coco(mask_polygon(mask), mask.shape) == mask).all()
