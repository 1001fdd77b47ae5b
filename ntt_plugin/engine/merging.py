"""Semantic-aware soft merging: how far each mask lies inside a better one of its label (4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .full_masks import PackedMask

Array = np.ndarray[Any, Any]


def redundancy(masks: Sequence[PackedMask], features: Array) -> Array:
    """The ``d`` of the recipe, section 4.4: the part of a mask that a better one covers.

    Args:
        masks: of one label, at the image's size, by falling predicted IoU.
        features: unit-length, float (n, C).

    Returns:
        For each mask i the largest ``|i and j| / |i| * max(0, cosine(i, j))`` over the masks j
        before it, 0 if there is none; float64 (n,).
    """
    found = np.zeros(len(masks))
    if len(masks) < 2:
        return found
    cosines = (features @ features.T).clip(min=0).astype(np.float64)
    boxes = np.array([mask.box for mask in masks], dtype=np.int64)
    areas = np.array([mask.area for mask in masks], dtype=np.int64)
    for i in range(1, len(masks)):
        shared = np.minimum(boxes[i, 2:], boxes[:i, 2:]) - np.maximum(boxes[i, :2], boxes[:i, :2])
        at_most = np.minimum(np.maximum(shared, 0).prod(axis=1), np.minimum(areas[:i], areas[i]))
        bounds = at_most / areas[i] * cosines[i, :i]
        # From the largest possible value down: most intersections need not be counted.
        for j in np.argsort(-bounds, kind="stable").tolist():
            if bounds[j] <= found[i]:
                break
            overlap = masks[i].intersection(masks[j]) / areas[i]
            found[i] = max(found[i], overlap * cosines[i, j])
    return found
