"""Matching the labels of two fields that show the same object, by the IoU of their masks."""

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
"""Two labels are the same object if their masks have at least this IoU."""


@dataclass(frozen=True, eq=False)
class Outline:
    """A label's pixels.

    Attributes:
        score: its confidence; 1 if it has none.
        mask: its pixels within a window of the image, bool (h, w).
        window: x1 y1 x2 y2 in pixels.
        area: number of its pixels.
    """

    id: str
    label: str
    score: float
    mask: Array
    window: tuple[int, int, int, int]
    area: int


def outline(detection: fo.Detection, image_size: tuple[int, int]) -> Outline:
    """The pixels of a label: its mask, or its whole box if it has none.

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
    window = left, top, left + mask.shape[1], top + mask.shape[0]
    area = int(np.count_nonzero(mask))
    return Outline(detection.id, detection.label, score, mask, window, area)


def same_objects(first: Sequence[Outline], second: Sequence[Outline]) -> list[tuple[int, int]]:
    """Match labels that show the same object one to one: pairs of positions in the two lists.

    By falling score, each of ``first`` takes the one of its class in ``second`` that overlaps it
    most, at an IoU of 0.5 or more. The rest is then matched in the same way across classes.
    """
    ious = overlaps(first, second)
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


def overlaps(first: Sequence[Outline], second: Sequence[Outline]) -> list[dict[int, float]]:
    """For each of the first, the IoUs of at least ``SAME_IOU`` by position in the second."""
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
    """Where windows and areas allow such an IoU, bool (n, m): an upper bound of the overlap."""
    windows = [np.array([entry.window for entry in side]) for side in (first, second)]
    starts = np.maximum(windows[0][:, None, :2], windows[1][None, :, :2])
    ends = np.minimum(windows[0][:, None, 2:], windows[1][None, :, 2:])
    areas = [np.array([entry.area for entry in side], dtype=float) for side in (first, second)]
    most = np.minimum(areas[0][:, None], areas[1])
    most = np.minimum(most, (ends - starts).clip(0).prod(axis=-1))
    allowed: Array = most / (areas[0][:, None] + areas[1] - most) >= SAME_IOU
    return allowed


def _shared(a: Outline, b: Outline) -> int:
    left, top = max(a.window[0], b.window[0]), max(a.window[1], b.window[1])
    right, bottom = min(a.window[2], b.window[2]), min(a.window[3], b.window[3])
    cut_a, cut_b = (
        entry.mask[
            top - entry.window[1] : bottom - entry.window[1],
            left - entry.window[0] : right - entry.window[0],
        ]
        for entry in (a, b)
    )
    return int(np.count_nonzero(cut_a & cut_b))


def _whole_box(detection: fo.Detection, image_size: tuple[int, int]) -> tuple[Array, int, int]:
    height, width = image_size
    x1, y1, x2, y2 = (round(edge) for edge in pixel_box(detection, image_size))
    left, top = max(0, x1), max(0, y1)
    rows, columns = min(height, y2) - top, min(width, x2) - left
    if rows < 1 or columns < 1:
        raise DatasetError(f"Its box {detection.bounding_box} covers no pixel of the image.")
    return np.ones((rows, columns), dtype=bool), left, top
