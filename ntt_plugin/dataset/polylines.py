"""Polylines as masks: the inside of closed, filled shapes, exact to the pixel."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import numpy as np
from pycocotools import mask as mask_utils

from ..engine.references import Box
from ..errors import DatasetError
from .labels import is_far_outside

Array = np.ndarray[Any, Any]

_DECIMALS = 9


def polyline_mask(polyline: fo.Polyline, image_size: tuple[int, int]) -> Array:
    """The pixels inside a polyline at the image's size, bool (H, W).

    A pixel is inside if its centre is, to a fifth of a pixel, by COCO's own rasteriser: polygons
    that came from a COCO file give COCO's masks, and a square of 5 x 6 pixels has 30 of them
    (OpenCV, and with it FiftyOne's ``to_detection``, draws outlines too and gives 42). Where
    shapes of one polyline lie in one another the inner one is a hole, as in FiftyOne's
    conversions from and to masks.

    Raises:
        DatasetError: it is open or not filled, has no shape of three corners or a corner that
            is none, or covers no pixel of the image.
    """
    height, width = image_size
    mask = np.zeros(image_size, dtype=bool)
    for shape in _shapes(polyline):
        outline = (shape * (width, height)).ravel().tolist()
        (encoded,) = mask_utils.frPyObjects([outline], height, width)
        mask ^= mask_utils.decode(encoded).astype(bool)
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


def _shapes(polyline: fo.Polyline) -> list[Array]:
    """The shapes with three corners or more, each float (n, 2) in [0, 1]."""
    if not polyline.filled:
        raise DatasetError(
            "It is a line, not an area (filled is False); set filled=True if its inside is meant."
        )
    if not polyline.closed:
        raise DatasetError("It is an open line (closed is False); close it.")
    shapes = []
    for points in polyline.points or []:
        try:
            shape = np.asarray(points, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DatasetError(f"A corner of it is no pair of numbers ({error}).") from error
        if len(shape) < 3:
            continue
        if shape.ndim != 2 or shape.shape[1] != 2 or not np.isfinite(shape).all():
            raise DatasetError("A corner of it is not a pair of finite numbers.")
        # The rasteriser's work grows with a shape's outline, wherever it lies.
        if is_far_outside((shape.min(), shape.max())):
            raise DatasetError(
                "A corner of it lies far outside the image, as one in pixels does; corners are "
                "(x, y) from 0 to 1, so divide by the width and height of the image."
            )
        shapes.append(shape)
    if not shapes:
        raise DatasetError("It has no shape of three corners or more.")
    return shapes
