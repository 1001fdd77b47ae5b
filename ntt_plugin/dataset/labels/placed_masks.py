"""Where a label's mask lies in its image: placed as it is, stretched to its box, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import fiftyone as fo
import numpy as np
from scipy import ndimage  # type: ignore[import-untyped]

from ...engine.references import Box, tight_box
from ...engine.typing import Array
from ...errors import DatasetError
from ..samples.checks import quoted
from .convert import pixel_box
from .stored_masks import stored_mask

# A mask's file may have this many pixels, or this many times its image's.
_MOST_PIXELS, _MOST_TIMES = 2**24, 4
# Pixels by which a mask of the whole image may miss the image's size, if the image is large.
_ALMOST, _LARGE = 2, 32
# Shorter sides are rounded too much to tell an image's aspect.
_SMALLEST = 12
# Pixels on each side that programs leave when they crop masks.
_WIDEST_MARGIN = 10
# Two boxes are of the same object if no edge differs by more than this share of a side, or pixels.
_NEAR, _NEAR_PIXELS = 0.1, 3.0
_SAME_ASPECT = 1.05
# A hole is a rectangle from this share of its tight box on: the opening of a frame or a table.
_RECTANGLE = 0.9


INVERTED = (
    "the mask of the {} covers the corners of its box and not its middle, as a mask whose object "
    "is 0 does; if so, save its inverse, `mask == 0`"
)
"""The note on a mask that ``seems_inverted``."""


@dataclass(frozen=True, eq=False)
class PlacedMask:
    """The pixels of a label within a window of its image.

    Attributes:
        mask: bool (h, w); some of it is true.
        left: the window's first column in the image.
        top: its first row.
        as_stored: whether this is the label's whole mask, cropped to its box, and FiftyOne reads
            it so too.
    """

    mask: Array
    left: int
    top: int
    as_stored: bool

    def full(self, image_size: tuple[int, int]) -> Array:
        """The mask at the image's size, bool (H, W)."""
        full = np.zeros(image_size, dtype=bool)
        rows, columns = self.mask.shape
        full[self.top : self.top + rows, self.left : self.left + columns] = self.mask
        return full


def full_mask(detection: fo.Detection, image_size: tuple[int, int]) -> Array:
    """A label's mask at the image's size, bool (H, W); errors as for ``placed_mask``."""
    return placed_mask(detection, image_size).full(image_size)


def placed_mask(detection: fo.Detection, image_size: tuple[int, int]) -> PlacedMask:
    """A label's mask with its place in the image.

    FiftyOne's masks are cropped to their box. A mask is pasted at the rounded corner of its box;
    one of another resolution than the box is stretched to it, as the App shows it. A mask of the
    whole image is recognised by its size, and placed as it is if its object lies in the box.

    Raises:
        DatasetError: box or mask is missing or unusable, nothing of it is in the image, or the
            size of the mask fits neither its box nor the image.
    """
    height, width = image_size
    box = x1, y1, x2, y2 = pixel_box(detection, image_size)
    if x1 == x2 or y1 == y2:
        raise DatasetError(f"Its box {quoted(detection.bounding_box)} has no area; correct it.")
    mask, is_plain = stored_mask(detection, max(_MOST_PIXELS, _MOST_TIMES * height * width))
    if not mask.any():
        raise DatasetError("Its mask is empty; correct it or delete the label.")
    left, top = round(x1), round(y1)
    box_size = max(1, round(y2 - y1)), max(1, round(x2 - x1))
    cropped = _distance(mask.shape, box_size) <= 1
    as_stored = is_plain and mask.shape == box_size and box == (left, top, round(x2), round(y2))
    if cropped and mask.shape == image_size and _distance(box, (0, 0, width, height)) <= 1:
        left = top = 0
    elif not cropped and _is_of_whole_image(mask, detection, box, image_size):
        left = top = 0
        mask = _stretch(mask, image_size, range(height), range(width))
    elif not cropped:
        mask = _without_margin(mask, box_size)
        rows = range(max(0, -top), min(box_size[0], height - top))
        columns = range(max(0, -left), min(box_size[1], width - left))
        mask = _stretch(mask, box_size, rows, columns)
        left, top = max(0, left), max(0, top)

    cut_top, cut_left = max(0, -top), max(0, -left)
    inside = mask[cut_top : max(0, height - top), cut_left : max(0, width - left)]
    if not inside.any():
        raise DatasetError("Its mask lies outside the image; correct it or delete the label.")
    return PlacedMask(
        inside, left + cut_left, top + cut_top, as_stored and inside.shape == box_size
    )


def seems_inverted(mask: Array) -> bool:
    """Whether a mask seems to be 1 on the background and 0 on the object.

    True where it covers all four corners of its tight box, and more than half of the box is one
    hole that is no rectangle, and that is open to all four sides or to none. So rings, frames,
    tables, goals and what surrounds a smaller object are no inverted masks.

    ``mask`` is bool (h, w), not empty.
    """
    left, top, right, bottom = map(int, tight_box(mask))
    cropped = mask[top:bottom, left:right]
    rows, columns = cropped.shape
    half = cropped.size / 2
    if min(rows, columns) < _SMALLEST or not cropped[:: rows - 1, :: columns - 1].all():
        return False
    if np.count_nonzero(cropped) >= half:
        return False
    numbered = ndimage.label(~cropped)[0]
    areas = np.bincount(numbered.ravel())[1:]
    if areas.max() <= half:
        return False
    hole = tight_box(numbered == areas.argmax() + 1)
    if areas.max() >= _RECTANGLE * (hole[2] - hole[0]) * (hole[3] - hole[1]):
        return False
    # A box may be a pixel wider than its object.
    if _distance(hole, (0, 0, columns, rows)) <= 1:
        return True
    border = cropped[0], cropped[-1], cropped[:, 0], cropped[:, -1]
    return all(side.all() for side in border)


def _is_of_whole_image(
    mask: Array, detection: fo.Detection, box: Box, image_size: tuple[int, int]
) -> bool:
    """Whether a mask of another size than its box is one of the whole image, not of the box.

    Raises:
        DatasetError: the sizes do not tell, or the mask is of the image's size and its object
            does not lie where the box is.
    """
    (height, width), (rows, columns) = image_size, mask.shape
    almost = _ALMOST if min(image_size) >= _LARGE else 0
    is_images_size = _distance(mask.shape, image_size) <= almost
    has_images_aspect = is_images_size or (
        min(mask.shape) >= _SMALLEST and _is_scaled(mask.shape, image_size)
    )
    # Where the object lies if the mask is laid over the whole image.
    step = width / columns, height / rows
    tight = tight_box(mask)
    laid = _scaled(tight, step)
    if has_images_aspect and _is_near(laid, box, image_size, max(*step, _NEAR_PIXELS)):
        return True
    if is_images_size and _is_near((0, 0, width, height), box, image_size, _NEAR_PIXELS):
        return True
    _require_no_corners(detection, mask, laid if is_images_size else None, image_size)
    pixels = max(1, round(box[3] - box[1])), max(1, round(box[2] - box[0]))
    if not is_images_size and mask.shape == pixels[::-1]:
        raise DatasetError(
            f"Its mask is {columns} x {rows} pixels and its box {rows} x {columns}, so the mask is "
            "transposed; store mask.T, whose shape is (height, width)."
        )
    if not is_images_size and _without_margin(mask, pixels) is not mask:
        return False
    # A detector's masks have one size whatever the box: their objects reach to all four sides.
    is_turned = height != width and _distance(mask.shape, image_size[::-1]) <= almost
    fills = _is_near(tight, (0, 0, columns, rows), mask.shape, 1.0)
    box_size = box[3] - box[1], box[2] - box[0]
    aspect = columns / rows * box_size[0] / box_size[1]
    has_boxs_aspect = 1 / _SAME_ASPECT <= aspect <= _SAME_ASPECT or _is_scaled(mask.shape, box_size)
    is_of_box = fills or (has_boxs_aspect and not has_images_aspect)
    if is_of_box and not is_images_size and not is_turned:
        return False
    text = _both_readings(mask.shape, laid, box, image_size, is_turned)
    hole = (0.0, 0.0, 0.0, 0.0) if mask.all() else _scaled(tight_box(~mask), step)
    if _is_near(hole, box, image_size, max(*step, _NEAR_PIXELS)):
        text += " Its zeros lie in the box: if they are the object, save `mask == 0`."
    raise DatasetError(text)


def _without_margin(mask: Array, box_size: tuple[int, int]) -> Array:
    """A mask that was cropped with an empty margin, without it; any other mask as it is.

    Certain where the object has the box's size to the pixel: stretched, it would be smaller.
    """
    left, top, right, bottom = (round(edge) for edge in tight_box(mask))
    margins = mask.shape[0] - box_size[0], mask.shape[1] - box_size[1]
    has_margin = min(margins) >= 0 and 2 <= max(margins) <= 2 * _WIDEST_MARGIN
    if has_margin and min(box_size) >= _SMALLEST and (bottom - top, right - left) == box_size:
        return mask[top:bottom, left:right]
    return mask


def _both_readings(
    shape: Sequence[int], laid: Box, box: Box, image_size: tuple[int, int], is_turned: bool
) -> str:
    """Why a mask is neither one of the whole image nor one of its box, and what to do."""
    text = (
        f"Its mask is {shape[1]} x {shape[0]} pixels, its box {box[2] - box[0]:.4g} x "
        f"{box[3] - box[1]:.4g} and its image {image_size[1]} x {image_size[0]}. Read as a mask "
        f"of the whole image, its object lies at x1 y1 x2 y2 = {_whole(laid)}, but its box at "
        f"{_whole(box)}; read as one of the box, it would be stretched out of shape. Crop the mask "
        "to its box, or correct the box."
    )
    if is_turned:
        text += (
            " The image turned by 90 degrees has the mask's size: it may have been drawn without "
            "regard to the EXIF orientation."
        )
    return text


def _scaled(box: Box, step: tuple[float, float]) -> Box:
    return box[0] * step[0], box[1] * step[1], box[2] * step[0], box[3] * step[1]


def _is_scaled(shape: Sequence[int], size: Sequence[float]) -> bool:
    """Whether a mask's shape is a size (h, w) times some factor, but for rounding."""
    (rows, columns), (height, width) = shape, size
    return abs(columns * height / width - rows) <= 1 or abs(rows * width / height - columns) <= 1


def _require_no_corners(
    detection: fo.Detection, mask: Array, laid: Box | None, image_size: tuple[int, int]
) -> None:
    """Make sure that a box is not x1 y1 x2 y2: its mask would fit it then."""
    height, width = image_size
    left, top, right, bottom = (float(value) for value in detection.bounding_box)
    corners = left * width, top * height, right * width, bottom * height
    size = corners[3] - corners[1], corners[2] - corners[0]
    if min(*size, *mask.shape) <= _NEAR_PIXELS:
        return
    fits = _distance(mask.shape, size) <= 1
    if fits or (laid is not None and _is_near(laid, corners, image_size, _NEAR_PIXELS)):
        raise DatasetError(
            f"Its mask fits its box {quoted(detection.bounding_box)} only if that is x1 y1 x2 y2; "
            "a box is [x, y, width, height]. Store x2 - x1 and y2 - y1 as its width and height."
        )


def _stretch(mask: Array, size: tuple[int, int], rows: range, columns: range) -> Array:
    """Some rows and columns of a mask that is stretched to a size (h, w)."""
    row, column = (
        ((np.array(wanted) + 0.5) * old / new).astype(int)
        for wanted, old, new in zip((rows, columns), mask.shape, size, strict=True)
    )
    return mask[np.ix_(row, column)]


def _is_near(found: Box, box: Box, size: tuple[int, ...], pixels: float) -> bool:
    x1, x2 = max(0.0, box[0]), min(float(size[1]), box[2])
    y1, y2 = max(0.0, box[1]), min(float(size[0]), box[3])
    across, down = max(pixels, _NEAR * (x2 - x1)), max(pixels, _NEAR * (y2 - y1))
    return (
        max(abs(found[0] - x1), abs(found[2] - x2)) <= across
        and max(abs(found[1] - y1), abs(found[3] - y2)) <= down
    )


def _distance(first: Sequence[float], second: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(first, second, strict=True))


def _whole(box: Box) -> str:
    return ", ".join(f"{edge:.0f}" for edge in box)
