"""Non-maximum suppression within each label (recipe, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def suppress(boxes: Array, ious: Array, labels: Array, threshold: float) -> Array:
    """Keep, of boxes of one label that overlap, the one with the highest predicted IoU.

    Areas are those of the box coordinates as they are: a box of one column of pixels, given by
    inclusive indices, has none, overlaps nothing and stays.

    Args:
        boxes: x1 y1 x2 y2, float (n, 4).
        ious: predicted IoUs, float (n,); among equals the lower index goes first.
        labels: int (n,).
        threshold: a box whose IoU with a kept one is above it goes.

    Returns:
        Indices of the boxes kept, by falling predicted IoU, int (k,).
    """
    order = np.argsort(-ious, kind="stable")
    kept = np.zeros(len(order), dtype=bool)
    for label in np.unique(labels):
        positions = np.flatnonzero(labels[order] == label)
        kept[positions] = _keep(boxes[order[positions]].astype(np.float64), threshold)
    return order[kept]


def box_iou(first: Sequence[float], second: Sequence[float]) -> float:
    """IoU of two boxes x1 y1 x2 y2, x2 and y2 exclusive; 0 if they do not meet."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared) if shared else 0.0


def _keep(boxes: Array, threshold: float) -> Array:
    """Which of boxes (n, 4), best first, stay: bool (n,)."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    keep = np.ones(len(boxes), dtype=bool)
    for best in range(len(boxes)):
        if not keep[best]:
            continue
        rest = np.flatnonzero(keep[best + 1 :]) + best + 1
        if len(rest) == 0:
            break
        top_left = np.maximum(boxes[best, :2], boxes[rest, :2])
        bottom_right = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.maximum(bottom_right - top_left, 0).prod(axis=1)
        union = areas[best] + areas[rest] - shared
        overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        keep[rest[overlap > threshold]] = False
    return keep
