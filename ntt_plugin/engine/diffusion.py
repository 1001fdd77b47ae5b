"""Redundancy of masks by diffusion over the graph of what covers what (recipe, section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .full_masks import PackedMask

Array = np.ndarray[Any, Any]

_STEPS = 30
_DAMPING = 0.3


def diffused_redundancy(masks: Sequence[PackedMask]) -> Array:
    """How far masks are covered by better ones, which count for less the more they are themselves.

    Rows of the graph's matrix are scaled to sum to 1, as the method's paper has it.

    Args:
        masks: of one label, at the image's size, by falling predicted IoU.

    Returns:
        Float64 (n,), in [0, 1].
    """
    if len(masks) == 0:
        return np.zeros(0)
    covered = cover_matrix(masks)
    sums = covered.sum(axis=1, keepdims=True)
    transition = np.divide(covered, sums, out=np.zeros_like(covered), where=sums > 0)
    strongest = covered.max(axis=1)
    state = np.full(len(masks), 1 / len(masks))
    for _ in range(_STEPS):
        state = _DAMPING * (transition @ state) + (1 - _DAMPING) * strongest
    return np.asarray(state)


def cover_matrix(masks: Sequence[PackedMask]) -> Array:
    """The part of each mask i that each better mask j < i covers, float64 (n, n)."""
    boxes = np.array([mask.box for mask in masks], dtype=np.int64)
    covered = np.zeros((len(masks), len(masks)))
    for i in range(1, len(masks)):
        sides = np.minimum(boxes[i, 2:], boxes[:i, 2:]) - np.maximum(boxes[i, :2], boxes[:i, :2])
        mask = masks[i]
        for j in np.flatnonzero((sides > 0).all(axis=1)).tolist():
            covered[i, j] = mask.intersection(masks[j]) / mask.area
    return covered
