"""The picture of one object: cut out of its image with some context, its mask made visible."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from ...engine.references import Box
from ...engine.typing import Array

# Of the box's longer side; what is around an object tells what it is.
_CONTEXT = 1.4
# Pixels of the image: a tiny object is shown in its surroundings, not as four squares of colour.
_SMALLEST_WINDOW = 32
_BESIDE_THE_IMAGE = (38, 38, 38)
_OUTLINE = (255, 196, 0)
_BRIGHTNESS_OUTSIDE = 0.4
_FIRST_WIDER_OUTLINE = 128


def draw_crop(image: Image.Image, mask: Array | None, box: Box, side: int) -> Image.Image:
    """An object in its image, cut to a square: outlined, its surroundings dimmed.

    Args:
        image: the whole image, RGB.
        mask: the object's pixels, bool (H, W); None draws the box alone and dims nothing.
        box: x1 y1 x2 y2 in pixels, x2 and y2 exclusive; it overlaps the image.
        side: of the picture, pixels.

    Returns:
        RGB (side, side); where the window is larger than the image, the rest is dark grey.
    """
    window = _window(box, image.size)
    picture = np.asarray(_cut(image, window, side, _BESIDE_THE_IMAGE), dtype=np.float32)
    width = max(1, side // _FIRST_WIDER_OUTLINE + 1)
    if mask is None:
        outline = _frame(box, window, side, width)
    else:
        cover = np.asarray(_cut(Image.fromarray(mask.astype(np.uint8) * 255), window, side, 0))
        inside = cover >= 128
        shown = np.where(inside, 1.0, _BRIGHTNESS_OUTSIDE)[..., None]
        picture = picture * shown
        outline = _grown(inside, width) & ~inside
    drawn = np.where(outline[..., None], _OUTLINE, picture)
    return Image.fromarray(drawn.round().astype(np.uint8))


def _window(box: Box, size: tuple[int, int]) -> Box:
    """The square around a box, moved into the image (width, height) as far as it fits."""
    x1, y1, x2, y2 = box
    wanted = max(_CONTEXT * max(x2 - x1, y2 - y1), _SMALLEST_WINDOW)
    left, top = (
        _inside((low + high - wanted) / 2, wanted, length)
        for low, high, length in ((x1, x2, size[0]), (y1, y2, size[1]))
    )
    return left, top, left + wanted, top + wanted


def _inside(start: float, wanted: float, length: int) -> float:
    if wanted >= length:
        return (length - wanted) / 2
    return min(max(0.0, start), length - wanted)


def _cut(image: Image.Image, window: Box, side: int, beside: Any) -> Image.Image:
    """A window of an image, which it may exceed, at a size."""
    left, top, right, _ = window
    scale = side / (right - left)
    part = (
        max(0.0, left),
        max(0.0, top),
        min(float(image.width), right),
        min(float(image.height), window[3]),
    )
    x1, x2 = (round((edge - left) * scale) for edge in part[::2])
    y1, y2 = (round((edge - top) * scale) for edge in part[1::2])
    small = image.resize(
        (max(1, x2 - x1), max(1, y2 - y1)), Image.Resampling.BILINEAR, part, reducing_gap=2.0
    )
    if small.size == (side, side):
        return small
    picture = Image.new(image.mode, (side, side), beside)
    picture.paste(small, (x1, y1))
    return picture


def _frame(box: Box, window: Box, side: int, width: int) -> Array:
    """The outline of a box in a picture of a window, bool (side, side)."""
    scale = side / (window[2] - window[0])
    x1, x2 = (round((edge - window[0]) * scale) for edge in box[::2])
    y1, y2 = (round((edge - window[1]) * scale) for edge in box[1::2])
    inside = np.zeros((side, side), dtype=bool)
    inside[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)] = True
    return _grown(inside, width) & ~inside


def _grown(mask: Array, steps: int) -> Array:
    """A mask with a rim of so many pixels around it."""
    for _ in range(steps):
        wider = mask.copy()
        wider[1:] |= mask[:-1]
        wider[:-1] |= mask[1:]
        wider[:, 1:] |= mask[:, :-1]
        wider[:, :-1] |= mask[:, 1:]
        mask = wider
    return mask
