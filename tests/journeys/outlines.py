"""Outlines of masks along the borders of their pixels, as polygons that give the mask back."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Point = tuple[int, int]


def rings(mask: Array) -> list[list[Point]]:
    """The closed outlines of a mask, x y of their corners; those of holes too."""
    steps = _steps(mask)
    found = []
    while steps:
        start = next(iter(steps))
        ring, point, came = [], start, (0, 0)
        while True:
            # Where two outlines touch at a corner, turn right: each stays by itself.
            ends = steps[point]
            right = (point[0] - came[1], point[1] + came[0])
            end = right if right in ends else next(iter(ends))
            ends.remove(end)
            if not ends:
                del steps[point]
            way = (end[0] - point[0], end[1] - point[1])
            if way != came:
                ring.append(point)
            point, came = end, way
            if point == start:
                break
        found.append(ring)
    return found


def one_ring(mask: Array) -> list[Point]:
    """One closed outline of a whole mask: parts and holes are joined by lines without width."""
    first, *others = rings(mask)
    joined = list(first)
    for ring in others:
        joined += [first[0], *ring, ring[0]]
    return [*joined, first[0]] if others else joined


def _steps(mask: Array) -> dict[Point, set[Point]]:
    """From each corner the ends of the pixel borders that leave it, the mask to their right."""
    padded = np.pad(mask, 1).astype(bool)
    inside, steps = padded[1:-1, 1:-1], dict[Point, set[Point]]()
    borders = [
        (padded[:-2, 1:-1], (0, 0), (1, 0)),  # above: to the right
        (padded[1:-1, 2:], (1, 0), (1, 1)),  # right: down
        (padded[2:, 1:-1], (1, 1), (0, 1)),  # below: to the left
        (padded[1:-1, :-2], (0, 1), (0, 0)),  # left: up
    ]
    for neighbour, (x1, y1), (x2, y2) in borders:
        for y, x in zip(*np.nonzero(inside & ~neighbour), strict=True):
            start, end = (int(x) + x1, int(y) + y1), (int(x) + x2, int(y) + y2)
            steps.setdefault(start, set()).add(end)
    return steps
