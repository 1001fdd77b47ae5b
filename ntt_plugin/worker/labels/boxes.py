"""Boxes between pixels and FiftyOne's relative coordinates, exact to the pixel."""

from __future__ import annotations

from collections.abc import Sequence

from ...engine.references import Box
from ...engine.typing import Array

# Relative boxes carry float noise of about 1e-13 pixels, ours 1e-10 more: rounded here, pixels
# come back exactly.
_DECIMALS = 9

# In pixels. FiftyOne's ``to_segmentation`` cuts fractions off, so an edge that comes back as
# 11.999999999999998 would be drawn one pixel off.
_HAIR = 1e-10


def relative_box(box: Array | Box, image_size: tuple[int, int]) -> list[float]:
    """A pixel box x1 y1 x2 y2 (x2, y2 exclusive) as FiftyOne's x y w h in [0, 1].

    Corner and side are 1e-10 pixels more than they are, so that readers which cut fractions off
    (FiftyOne's ``to_segmentation``) and readers which round find the same pixels. A box inside
    the image stays inside [0, 1].
    """
    height, width = image_size
    x1, y1, x2, y2 = (float(edge) for edge in box)
    x, w = _relative(x1, x2, width)
    y, h = _relative(y1, y2, height)
    return [x, y, w, h]


def pixel_corners(bounding_box: Sequence[float], image_size: tuple[int, int]) -> Box:
    """FiftyOne's x y w h, four finite numbers, as pixels x1 y1 x2 y2 without float noise."""
    height, width = image_size
    left, top, wide, high = (float(value) for value in bounding_box)
    x, w = round(left * width, _DECIMALS), round(wide * width, _DECIMALS)
    y, h = round(top * height, _DECIMALS), round(high * height, _DECIMALS)
    return x, y, round(x + w, _DECIMALS), round(y + h, _DECIMALS)


def _relative(start: float, end: float, length: int) -> tuple[float, float]:
    corner = (start + _HAIR) / length
    if end == length:
        # In floats, corner + (1 - corner) is 1 exactly.
        return corner, 1.0 - corner
    return corner, (end - start + _HAIR) / length
