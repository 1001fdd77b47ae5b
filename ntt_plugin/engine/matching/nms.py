"""Non-maximum suppression within each label (recipe, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..masks.packed import shared_areas
from ..typing import Array

# Rows of the IoU matrix computed at once, which bounds its memory.
_BLOCK = 128


def suppress(boxes: Array, ious: Array, labels: Array, threshold: float) -> Array:
    """Non-maximum suppression per label, ordered by predicted IoU.

    The area of a box is ``(x2 - x1) * (y2 - y1)``: a box one pixel wide, given by inclusive
    indices, has no area and is never suppressed.

    Args:
        boxes: x1 y1 x2 y2, float (n, 4).
        ious: predicted IoUs, float (n,); of equal ones the lower index comes first.
        labels: int (n,).
        threshold: box IoU above which the box of lower predicted IoU is suppressed.

    Returns:
        Indices of the boxes kept, by descending predicted IoU, int (k,).
    """
    # Sort by label, then by predicted IoU; the result is sorted by predicted IoU alone.
    order = np.lexsort((-ious, labels))
    kept = order[_keep(boxes[order].astype(np.float64), labels[order], threshold)]
    return np.asarray(kept[np.lexsort((kept, -ious[kept]))])


def box_iou(first: Sequence[float], second: Sequence[float]) -> float:
    """IoU of two boxes x1 y1 x2 y2, x2 and y2 exclusive; 0 if they are disjoint."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared) if shared else 0.0


def _keep(boxes: Array, labels: Array, threshold: float) -> Array:
    """Whether each box is kept, bool (n,); boxes (n, 4) are sorted by label, then best first."""
    keep = np.ones(len(boxes), dtype=bool)
    for start in range(0, len(boxes), _BLOCK):
        # Boxes that an earlier block suppressed need no row.
        rows = start + np.flatnonzero(keep[start : start + _BLOCK])
        if len(rows) == 0:
            continue
        # Compare the block's remaining boxes with the later ones of their labels.
        first, end = int(rows[0]), int(np.searchsorted(labels, labels[rows[-1]], side="right"))
        others = slice(first, end)
        hides = _ious(boxes[rows], boxes[others]) > threshold
        hides &= labels[rows, None] == labels[others]
        hides &= rows[:, None] < np.arange(first, end)
        stays, kept = ~hides, keep[others]
        # Greedy: only a box that is kept itself suppresses others.
        places = np.flatnonzero(hides.any(axis=1))
        for place, row in zip(places.tolist(), (rows[places] - first).tolist(), strict=True):
            if kept[row]:
                kept &= stays[place]
    return keep


def _ious(boxes: Array, others: Array) -> Array:
    """IoU of each pair of boxes (n, 4) and others (k, 4), 0 where both have no area: (n, k)."""
    # |a and b| / (|a| + |b| - |a and b|), without dividing 0 by 0.
    shared = shared_areas(boxes, others)
    union = _areas(boxes)[:, None] + _areas(others) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def _areas(boxes: Array) -> Array:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
