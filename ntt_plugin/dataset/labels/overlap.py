"""Which labels of two sets are the same object: one to one, by how much their masks overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import fiftyone as fo
import numpy as np

from ...engine.typing import Array
from ...errors import DatasetError
from .convert import pixel_box
from .placed_masks import placed_mask

SAME_IOU = 0.5
"""Two labels are the same object from this IoU of their masks on."""


@dataclass(frozen=True, eq=False)
class Outline:
    """A label's pixels.

    Attributes:
        id: the label's id.
        label: its class.
        score: its confidence; 1 if it has none.
        mask: its pixels within a window of the image, bool (h, w).
        left: the window's first column in the image.
        top: its first row.
        area: number of its pixels.
    """

    id: str
    label: str
    score: float
    mask: Array
    left: int
    top: int
    area: int


def outline(detection: fo.Detection, image_size: tuple[int, int]) -> Outline:
    """Mask of a label; its whole box if it has no mask.

    Raises:
        DatasetError: it has no class, its box or mask is unusable, or lies outside the image.
    """
    if not detection.label or not detection.label.strip():
        raise DatasetError("It has no name.")
    if detection.has_mask:
        placed = placed_mask(detection, image_size)
        mask, left, top = placed.mask, placed.left, placed.top
    else:
        mask, left, top = _whole_box(detection, image_size)
    score = 1.0 if detection.confidence is None else float(detection.confidence)
    area = int(np.count_nonzero(mask))
    return Outline(detection.id, detection.label, score, mask, left, top, area)


def same_objects(first: Sequence[Outline], second: Sequence[Outline]) -> list[tuple[int, int]]:
    """Match labels that show the same object, one to one.

    By falling score of the first, each takes the one of its own class that overlaps it most, at an
    IoU of 0.5 or more. What is left over then pairs likewise across classes.

    Args:
        first: labels of one image.
        second: other labels of it.

    Returns:
        Positions in both.
    """
    ious = _overlaps(first, second)
    order = sorted(range(len(first)), key=lambda index: -first[index].score)
    pairs: dict[int, int] = {}

    def take(allowed: Callable[[int, int], bool]) -> None:
        taken = set(pairs.values())
        for a in order:
            free = [b for b in ious[a] if b not in taken and allowed(a, b)]
            if a not in pairs and free:
                pairs[a] = max(free, key=lambda b: ious[a][b])
                taken.add(pairs[a])

    take(lambda a, b: first[a].label == second[b].label)
    take(lambda a, b: True)
    return sorted(pairs.items())


def _overlaps(first: Sequence[Outline], second: Sequence[Outline]) -> list[dict[int, float]]:
    """Of each of the first, the IoU with those of the second that it overlaps enough."""
    found: list[dict[int, float]] = [{} for _ in first]
    if not first or not second:
        return found
    for a, b in np.argwhere(_could_be_same(first, second)).tolist():
        shared = _shared(first[a], second[b])
        iou = shared / (first[a].area + second[b].area - shared)
        if iou >= SAME_IOU:
            found[a][b] = iou
    return found


def _could_be_same(first: Sequence[Outline], second: Sequence[Outline]) -> Array:
    """Where windows and areas allow the IoU, bool (n, m): masks share no more than these do."""
    left, top, right, bottom = (
        (np.array(a)[:, None], np.array(b)[None])
        for a, b in zip(_windows(first), _windows(second), strict=True)
    )
    wide = np.minimum(*right) - np.maximum(*left)
    high = np.minimum(*bottom) - np.maximum(*top)
    areas = [np.array([entry.area for entry in side], dtype=float) for side in (first, second)]
    most = np.minimum(areas[0][:, None], areas[1][None])
    most = np.minimum(most, wide.clip(0) * high.clip(0))
    allowed: Array = most / (areas[0][:, None] + areas[1][None] - most) >= SAME_IOU
    return allowed


def _windows(outlines: Sequence[Outline]) -> tuple[list[int], ...]:
    """Left, top, right and bottom of each."""
    edges = [
        (entry.left, entry.top, entry.left + entry.mask.shape[1], entry.top + entry.mask.shape[0])
        for entry in outlines
    ]
    return tuple(map(list, zip(*edges, strict=True)))


def _shared(a: Outline, b: Outline) -> int:
    left, top = max(a.left, b.left), max(a.top, b.top)
    right = min(a.left + a.mask.shape[1], b.left + b.mask.shape[1])
    bottom = min(a.top + a.mask.shape[0], b.top + b.mask.shape[0])
    in_a = a.mask[top - a.top : bottom - a.top, left - a.left : right - a.left]
    in_b = b.mask[top - b.top : bottom - b.top, left - b.left : right - b.left]
    return int(np.count_nonzero(in_a & in_b))


def _whole_box(detection: fo.Detection, image_size: tuple[int, int]) -> tuple[Array, int, int]:
    height, width = image_size
    x1, y1, x2, y2 = (round(edge) for edge in pixel_box(detection, image_size))
    left, top = max(0, x1), max(0, y1)
    rows, columns = min(height, y2) - top, min(width, x2) - left
    if rows < 1 or columns < 1:
        raise DatasetError(f"Its box {detection.bounding_box} covers no pixel of the image.")
    return np.ones((rows, columns), dtype=bool), left, top
