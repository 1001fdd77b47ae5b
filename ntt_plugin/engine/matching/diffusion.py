"""Redundancy of masks by diffusion over the graph of what covers what (recipe, section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..masks.boxes import shared_areas
from ..masks.packed import PackedMask

Array = np.ndarray[Any, Any]

_STEPS = 30
_DAMPING = 0.3


def diffused_redundancy(masks: Sequence[PackedMask], labels: Array) -> Array:
    """How far masks are covered by better ones, which count for less the more they are themselves.

    Rows of the graph's matrix are scaled to sum to 1, as the method's paper has it.

    Args:
        masks: at the image's size; those of one label by falling predicted IoU.
        labels: int (n,); masks of two labels have nothing to do with one another.

    Returns:
        Float64 (n,), in [0, 1].
    """
    if len(masks) == 0:
        return np.zeros(0)
    alike = labels[:, None] == labels
    covered = cover_matrix(masks, alike)
    sums = covered.sum(axis=1, keepdims=True)
    transition = np.divide(covered, sums, out=np.zeros_like(covered), where=sums > 0)
    strongest = covered.max(axis=1)
    state = 1 / alike.sum(axis=1)
    for _ in range(_STEPS):
        state = _DAMPING * (transition @ state) + (1 - _DAMPING) * strongest
    return np.asarray(state)


def cover_matrix(masks: Sequence[PackedMask], alike: Array) -> Array:
    """The part of each mask i that each better mask j < i of its label covers, float64 (n, n)."""
    boxes = np.array([mask.box for mask in masks], dtype=np.int64)
    meet = np.tril(alike & (shared_areas(boxes, boxes) > 0), -1)
    covered = np.zeros(meet.shape)
    for i, mask in enumerate(masks):
        for j in np.flatnonzero(meet[i]).tolist():
            covered[i, j] = mask.intersection(masks[j]) / mask.area
    return covered
