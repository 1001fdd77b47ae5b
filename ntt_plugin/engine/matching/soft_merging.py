"""Soft merging: how much of a mask better masks cover already (recipe, sections 4.4 and 6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from ..masks.packed import PackedMask, shared_areas
from ..typing import Array

# Rows of the matrix of bounds computed at once, which bounds its memory.
_BLOCK = 128


def redundancy(masks: Sequence[PackedMask], features: Array, labels: Array) -> Array:
    """The ``d_i`` of the recipe, section 4.4: the part of a mask that a better one covers.

    Args:
        masks: full-size masks; within a label by descending predicted IoU.
        features: unit-length, float (n, C).
        labels: int (n,); only masks of the same label are compared.

    Returns:
        For each mask i the maximum of ``|i and j| / |i| * max(0, cosine(i, j))`` over the masks
        j before it of the same label, 0 if there are none; float64 (n,), in [0, 1].
    """
    found = np.zeros(len(masks))
    if len(masks) < 2:
        return found
    # max(0, cosine(i, j)) for all pairs.
    cosines = (features @ features.T).clip(min=0).astype(np.float64)
    # Each access may inflate a mask.
    extents = np.array([(*mask.box, mask.area) for mask in masks], dtype=np.int64)
    boxes, areas = extents[:, :4], extents[:, 4]
    for i, others, bounds in _bounds(boxes, areas, cosines, labels):
        mask, most = masks[i], 0.0
        # By descending upper bound: stop once no remaining j can exceed the maximum so far.
        for j, bound in zip(others, bounds, strict=True):
            if bound <= most:
                break
            # IoS_ij = |i and j| / |i|, weighted by the cosine.
            most = max(most, mask.intersection(masks[j]) / mask.area * float(cosines[i, j]))
        found[i] = most
    return found


def _bounds(
    boxes: Array, areas: Array, cosines: Array, labels: Array
) -> Iterator[tuple[int, list[int], list[float]]]:
    """Upper bounds of ``IoS_ij * cosine_ij`` from boxes and areas, without counting pixels.

    Yields:
        Index i, each j < i with a bound above 0, and these bounds, in descending order.
    """
    for start in range(0, len(boxes), _BLOCK):
        rows = slice(start, start + _BLOCK)
        # |i and j| is at most either area and the area shared by the boxes.
        most = np.minimum(areas[rows, None], areas)
        np.minimum(most, shared_areas(boxes[rows], boxes), out=most)
        bounds = most / areas[rows, None] * cosines[rows]
        # Keep pairs of the same label with j before i.
        bounds *= labels[rows, None] == labels
        bounds = np.tril(bounds, start - 1)
        i, j = np.nonzero(bounds)
        values = bounds[i, j]
        order = np.lexsort((-values, i))
        i, j, values = i[order], j[order], values[order]
        ends = [*(np.flatnonzero(i[1:] != i[:-1]) + 1).tolist(), len(i)]
        for begin, end in pairwise([0, *ends]):
            if begin < end:
                yield start + int(i[begin]), j[begin:end].tolist(), values[begin:end].tolist()


# FSOD-VFM's number of steps and its ``a`` (recipe, section 6).
_STEPS = 30
_DAMPING = 0.3


def diffused_redundancy(masks: Sequence[PackedMask], labels: Array) -> Array:
    """The ``pi`` of the recipe, section 6: coverage by better masks, diffused over their graph.

    A mask that is covered itself counts for less. The rows of the transition matrix sum to 1, as
    in the paper (FSOD-VFM); the authors' code does not scale them.

    Args:
        masks: full-size masks; within a label by descending predicted IoU.
        labels: int (n,); only masks of the same label are compared.

    Returns:
        Float64 (n,), in [0, 1].
    """
    if len(masks) == 0:
        return np.zeros(0)
    # W: IoS_ij for j before i of the same label, else 0.
    alike = labels[:, None] == labels
    covered = cover_matrix(masks, alike)
    # P: W with each row scaled to sum to 1; rows of zeros stay.
    sums = covered.sum(axis=1, keepdims=True)
    transition = np.divide(covered, sums, out=np.zeros_like(covered), where=sums > 0)
    # q: the row maxima; pi starts uniform within each label.
    strongest = covered.max(axis=1)
    state = 1 / alike.sum(axis=1)
    # pi <- a * P * pi + (1 - a) * q.
    for _ in range(_STEPS):
        state = _DAMPING * (transition @ state) + (1 - _DAMPING) * strongest
    return np.asarray(state)


def cover_matrix(masks: Sequence[PackedMask], alike: Array) -> Array:
    """``IoS_ij = |i and j| / |i|`` for j < i where ``alike[i, j]``, else 0; float64 (n, n)."""
    # Pairs j before i whose boxes meet; pixels are counted for these alone.
    boxes = np.array([mask.box for mask in masks], dtype=np.int64)
    meet = np.tril(alike & (shared_areas(boxes, boxes) > 0), -1)
    covered = np.zeros(meet.shape)
    for i, mask in enumerate(masks):
        for j in np.flatnonzero(meet[i]).tolist():
            covered[i, j] = mask.intersection(masks[j]) / mask.area
    return covered
