"""Intersections of many boxes."""

from __future__ import annotations

import numpy as np

from ..typing import Array


def shared_areas(boxes: Array, others: Array) -> Array:
    """Intersection area of each pair of boxes.

    Args:
        boxes: x1 y1 x2 y2, (n, 4).
        others: the same, of the same dtype, (k, 4).

    Returns:
        Areas (n, k), 0 for disjoint boxes.
    """
    # x and y are handled separately: numpy is slow if the last axis is short.
    x1, y1, x2, y2 = (boxes[:, side, None] for side in range(4))
    u1, v1, u2, v2 = np.ascontiguousarray(others.T)
    width, height = np.minimum(x2, u2), np.minimum(y2, v2)
    width -= np.maximum(x1, u1)
    height -= np.maximum(y1, v1)
    np.maximum(width, 0, out=width)
    np.maximum(height, 0, out=height)
    width *= height
    return np.asarray(width)
