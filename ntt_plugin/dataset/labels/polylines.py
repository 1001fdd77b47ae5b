"""Polylines as masks: the inside of filled or closed shapes, exact to the pixel."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import numpy as np
from pycocotools import mask as mask_utils

from ...engine.references import Box
from ...engine.typing import Array
from ...errors import DatasetError
from .convert import is_far_outside

_DECIMALS = 9

# A shape is a hole if more than this share of its pixels lies in larger shapes. A hole that
# FiftyOne traced near a border may cross it a little; parts of one object overlap a little.
_WITHIN = 0.75


def polyline_mask(polyline: fo.Polyline, image_size: tuple[int, int]) -> Array:
    """Rasterise a polyline at the image's size, bool (H, W).

    A pixel is inside if its centre is, to a fifth of a pixel, by COCO's own rasteriser: polygons
    that came from a COCO file give COCO's masks, and a square of 5 x 6 pixels has 30 of them
    (OpenCV, and with it FiftyOne's ``to_detection``, draws outlines too and gives 42).

    Shapes are joined, as COCO joins the parts of an object. In a filled polyline one that lies in
    another is a hole, as in FiftyOne's conversions from and to masks.

    Raises:
        DatasetError: it is neither filled nor closed, has no shape of three corners, has a corner
            that is no pair of numbers, or covers no pixel of the image.
    """
    height, width = image_size
    outlines = [(shape * (width, height)).ravel().tolist() for shape in _shapes(polyline)]
    # Without repeated shapes, which would be holes in themselves.
    parts = {part["counts"]: part for part in mask_utils.frPyObjects(outlines, height, width)}
    mask = np.zeros(image_size, dtype=bool)
    # The largest first: a hole comes after the shape that it is cut out of.
    for part in sorted(parts.values(), key=mask_utils.area, reverse=True):
        drawn = mask_utils.decode(part).astype(bool)
        shared = np.count_nonzero(mask & drawn)
        is_hole = polyline.filled and shared > _WITHIN * np.count_nonzero(drawn)
        mask = mask ^ drawn if is_hole else mask | drawn
    if not mask.any():
        raise DatasetError("It covers the centre of no pixel of the image.")
    return mask


def polyline_box(polyline: fo.Polyline, image_size: tuple[int, int]) -> Box:
    """The tight box of a polyline's corners in pixels, x1 y1 x2 y2; errors as for its mask."""
    height, width = image_size
    corners = np.concatenate(_shapes(polyline)) * (width, height)
    x1, y1 = (round(float(edge), _DECIMALS) for edge in corners.min(axis=0))
    x2, y2 = (round(float(edge), _DECIMALS) for edge in corners.max(axis=0))
    return x1, y1, x2, y2


def shapes_of(points: Any) -> list[Array]:
    """Shapes of a polyline with at least three corners, each float (n, 2).

    Raises:
        DatasetError: a corner is no pair of finite numbers, or lies far outside the image.
    """
    try:
        shapes = [shape for shape in points or [] if len(shape) >= 3]
    except TypeError as error:
        raise DatasetError(f"Its points are no lists of corners ({error}).") from error
    return [_corners(shape) for shape in shapes]


def _shapes(polyline: fo.Polyline) -> list[Array]:
    if not (polyline.filled or polyline.closed):
        raise DatasetError(
            "It is a line, not an area (filled and closed are False); set filled=True if its "
            "inside is meant."
        )
    shapes = shapes_of(polyline.points)
    if not shapes:
        raise DatasetError("It has no shape of three corners or more.")
    return shapes


def _corners(points: Any) -> Array:
    try:
        corners = np.asarray(points)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"A corner of it is no pair of numbers ({error}).") from error
    is_numbers = corners.dtype.kind in "iuf" and np.isfinite(corners).all()
    if not is_numbers or corners.ndim != 2 or corners.shape[1] != 2:
        raise DatasetError("A corner of it is not a pair of finite numbers.")
    # The rasteriser's time grows with a shape's outline, also outside the image.
    if is_far_outside((corners.min(), corners.max())):
        raise DatasetError(
            "A corner of it lies far outside the image, as one in pixels does; corners are "
            "(x, y) from 0 to 1, so divide by the width and height of the image."
        )
    return corners.astype(np.float64)
