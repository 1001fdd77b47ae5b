"""Soft merging: how much of an instance better ones show already (recipe, sections 4.4 and 6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..masks.boxes import shared_areas
from ..masks.packed import PackedMask

Array = np.ndarray[Any, Any]

# Masks that are compared with all at once; what stays bounded is the table of their boxes.
_BLOCK = 128


def redundancy(masks: Sequence[PackedMask], features: Array, labels: Array) -> Array:
    """The ``d`` of the recipe, section 4.4: the part of a mask that a better one covers.

    Args:
        masks: at the image's size; those of one label by falling predicted IoU.
        features: unit-length, float (n, C).
        labels: int (n,); masks of two labels have nothing to do with one another.

    Returns:
        For each mask i the largest ``|i and j| / |i| * max(0, cosine(i, j))`` over the masks j
        of its label before it, 0 if there is none; float64 (n,).
    """
    found = np.zeros(len(masks))
    if len(masks) < 2:
        return found
    cosines = (features @ features.T).clip(min=0).astype(np.float64)
    boxes = np.array([mask.box for mask in masks], dtype=np.int64)
    areas = np.array([mask.area for mask in masks], dtype=np.int64)
    for i, bounds in _bounds(boxes, areas, cosines, labels):
        # From the largest possible value down: most intersections need not be counted.
        for j in np.argsort(-bounds, kind="stable").tolist():
            if bounds[j] <= found[i]:
                break
            overlap = masks[i].intersection(masks[j]) / areas[i]
            found[i] = max(found[i], overlap * cosines[i, j])
    return found


def _bounds(
    boxes: Array, areas: Array, cosines: Array, labels: Array
) -> Iterator[tuple[int, Array]]:
    """What ``redundancy`` of a mask by each one before it is at most, by their boxes and areas.

    Yields:
        A mask's place i and float64 (i,), where not all of that is 0.
    """
    for start in range(0, len(boxes), _BLOCK):
        rows = slice(start, start + _BLOCK)
        most = np.minimum(areas[rows, None], areas)
        np.minimum(most, shared_areas(boxes[rows], boxes), out=most)
        bounds = most / areas[rows, None] * cosines[rows]
        bounds *= labels[rows, None] == labels
        bounds = np.tril(bounds, start - 1)
        for row in np.flatnonzero(bounds.any(axis=1)).tolist():
            yield start + row, bounds[row, : start + row]


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
