"""Cleaning masks: specks removed, small holes filled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import fiftyone as fo
import numpy as np
from scipy import ndimage  # type: ignore[import-untyped]

from ...engine.references import tight_box
from ...engine.typing import Array
from ...errors import DatasetError
from ..samples.checks import is_number, quoted
from .placed_masks import placed_mask
from .polylines import polyline_mask

PixelBox = tuple[int, int, int, int]


@dataclass(frozen=True)
class Clean:
    """What to clean of a mask; sizes are pixels if 1 or more, else shares of the mask's area.

    Attributes:
        specks: parts of fewer pixels are removed; the largest part always stays.
        holes: holes of fewer pixels are filled.
    """

    specks: float = 0.0
    holes: float = 0.0

    @classmethod
    def of(cls, given: Clean | float | None) -> Clean | None:
        """``given`` itself; a number stands for both sizes; None for no cleaning.

        Raises:
            DatasetError: a size is no number, or negative.
        """
        if given is None:
            return None
        clean = given if isinstance(given, Clean) else cls(given, given)
        for size in (clean.specks, clean.holes):
            if not is_number(size) or not math.isfinite(size) or size < 0:
                raise DatasetError(
                    f"The size to clean is {quoted(size)}; give a number of pixels (1 or more), or "
                    "a share of each mask's area (less than 1)."
                )
        return clean


def clean_mask(mask: Array, clean: Clean) -> Array:
    """A cleaned copy of a mask, bool (h, w), not empty.

    Parts touch at sides or corners, so that a thin diagonal line is one part; holes touch at
    sides only.
    """
    area = int(np.count_nonzero(mask))
    cleaned = mask.astype(bool)
    least = _pixels(clean.specks, area)
    if least > 1:
        parts, _ = ndimage.label(cleaned, structure=np.ones((3, 3)))
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        kept = sizes >= least
        kept[sizes.argmax()] = True
        cleaned = kept[parts]
    least = _pixels(clean.holes, area)
    if least > 1:
        # What touches the border of a padded mask is outside, not a hole.
        empty, _ = ndimage.label(np.pad(~cleaned, 1, constant_values=True))
        sizes = np.bincount(empty.ravel())
        filled = sizes < least
        filled[0] = filled[empty[0, 0]] = False
        cleaned = cleaned | filled[empty][1:-1, 1:-1]
    return cleaned


def _pixels(size: float, area: int) -> float:
    return size if size >= 1 else size * area


def tight_mask(
    label: fo.Detection | fo.Polyline, image_size: tuple[int, int], clean: Clean | None = None
) -> tuple[Array, PixelBox]:
    """A label's pixels, cropped to them: bool (h, w), and their box x1 y1 x2 y2.

    Raises:
        DatasetError: the label covers no pixel, or its box or mask cannot be used.
    """
    if isinstance(label, fo.Polyline):
        mask, left, top = polyline_mask(label, image_size), 0, 0
    else:
        placed = placed_mask(label, image_size)
        mask, left, top = placed.mask, placed.left, placed.top
    if clean is not None:
        mask = clean_mask(mask, clean)
    x1, y1, x2, y2 = (int(edge) for edge in tight_box(mask))
    return mask[y1:y2, x1:x2], (left + x1, top + y1, left + x2, top + y2)
