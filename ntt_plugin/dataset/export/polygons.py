"""A mask as one polygon: its outline to the pixel, with holes and parts joined by bridges.

The outline follows the edges of the pixels, moved into the object by a twentieth of a pixel. So
whoever draws it gets the mask back: a rasteriser that rounds (COCO's) rounds to the pixels' edges,
and one that cuts fractions off and draws the outline too (OpenCV's, PIL's) meets the outermost
pixels of the object.

A polygon that holds several outlines walks from one to the next and back on the same line, which
has no area. Rasterisers that draw outlines draw that line, one pixel wide: it is as short as it
can be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree  # type: ignore[import-untyped]

from ...engine.typing import Array

_INWARD = 0.05

_Edge = tuple[int, int, int, int]
"""An edge of a pixel: the corner x y that it begins at, and its direction."""


class _Outline(NamedTuple):
    """A closed outline, the object on its right.

    Attributes:
        points: every corner of a pixel that it meets, float (n, 2) as x y, moved inward.
        turns: whether it turns there, bool (n,).
    """

    points: Array
    turns: Array


class _Bridge(NamedTuple):
    """Where to go to from a point: another outline, and the point there."""

    outline: int
    point: int


def mask_polygon(mask: Array) -> Array:
    """The corners of one polygon that covers a mask, float (n, 2) as x y in pixels.

    ``mask`` is bool (h, w), not empty. The outer corner of its first pixel is 0, 0.
    """
    outlines = _outlines(mask)
    bridges = _bridges([outline.points for outline in outlines])
    corners: list[Array] = []
    # Depth first, without recursion: there may be hundreds of specks.
    walks = [(outlines[0], _walk(outlines[0], 0, bridges[0], closed=False))]
    while walks:
        outline, walk = walks[-1]
        place = next(walk, None)
        if place is None:
            walks.pop()
        elif isinstance(place, _Bridge):
            other = outlines[place.outline]
            walks.append((other, _walk(other, place.point, bridges[place.outline], closed=True)))
        else:
            corners.append(outline.points[place])
    return np.array(corners)


def _walk(
    outline: _Outline, start: int, bridges: Mapping[int, Sequence[_Bridge]], closed: bool
) -> Iterator[int | _Bridge]:
    """The points of an outline to write, and the bridges to take; ``closed``: back to its start."""
    count = len(outline.points)
    for step in range(count):
        point = (start + step) % count
        taken = bridges.get(point, ())
        if outline.turns[point] or taken or (closed and step == 0):
            yield point
        for bridge in taken:
            yield bridge
            yield point
    if closed:
        yield start


def _outlines(mask: Array) -> list[_Outline]:
    """All outlines of a mask, of parts and holes, the longest first."""
    padded = np.pad(mask.astype(bool), 1)
    rows, columns = np.nonzero(mask)
    edges: dict[_Edge, None] = {}
    # The top of a pixel goes to the right, its right side down, and so on: the pixel lies on the
    # right. An edge is there where the next pixel on its other side is empty.
    for dx, dy in ((1, 0), (0, 1), (-1, 0), (0, -1)):
        free = ~padded[rows + 1 - dx, columns + 1 + dy]
        x = columns[free] + (dx < 0 or dy > 0)
        y = rows[free] + (dx < 0 or dy < 0)
        edges |= dict.fromkeys(
            (column, row, dx, dy) for column, row in zip(x.tolist(), y.tolist(), strict=True)
        )
    outlines, done = [], set[_Edge]()
    for edge in edges:
        if edge not in done:
            followed = _follow(edge, edges)
            done.update(followed)
            outlines.append(_outline(followed))
    outlines.sort(key=lambda outline: -len(outline.points))
    return outlines


def _follow(first: _Edge, edges: Mapping[_Edge, None]) -> list[_Edge]:
    """The edges of the outline that one of them belongs to, in order."""
    followed, edge = [first], first
    while True:
        x, y, dx, dy = edge
        x, y = x + dx, y + dy
        # To the right first: parts that meet at a corner keep to their own pixels.
        turns = ((-dy, dx), (dx, dy), (dy, -dx))
        edge = next((x, y, *turn) for turn in turns if (x, y, *turn) in edges)
        if edge == first:
            return followed
        followed.append(edge)


def _outline(edges: Sequence[_Edge]) -> _Outline:
    array = np.array(edges)
    points, steps = array[:, :2], array[:, 2:]
    before = np.roll(steps, 1, axis=0)
    turns = (steps != before).any(axis=1)
    # To the right of an edge lies the object.
    inward = np.stack([-steps[:, 1], steps[:, 0]], axis=1)
    former = np.stack([-before[:, 1], before[:, 0]], axis=1)
    moved = points + _INWARD * np.where(turns[:, None], inward + former, inward)
    return _Outline(moved, turns)


def _bridges(points: Sequence[Array]) -> list[dict[int, list[_Bridge]]]:
    """The shortest bridges that join all outlines, from the first one outwards (Prim's tree)."""
    found: list[dict[int, list[_Bridge]]] = [defaultdict(list) for _ in points]
    # Of each point whose outline is not joined yet: the nearest point of those that are.
    sizes = [len(each) for each in points]
    place = np.concatenate(points)
    outline = np.repeat(np.arange(len(points)), sizes)
    own = np.concatenate([np.arange(size) for size in sizes])
    distance = np.full(len(place), np.inf)
    parent, there = np.zeros_like(own), np.zeros_like(own)
    joined = 0
    for _ in points[1:]:
        left = outline != joined
        place, outline, own = place[left], outline[left], own[left]
        distance, parent, there = distance[left], parent[left], there[left]
        distances, nearest = cKDTree(points[joined]).query(place)
        nearer = distances < distance
        distance[nearer], there[nearer] = distances[nearer], nearest[nearer]
        parent[nearer] = joined
        best = int(distance.argmin())
        joined = int(outline[best])
        bridge = _Bridge(joined, int(own[best]))
        found[int(parent[best])][int(there[best])].append(bridge)
    return found
