"""Signed distances of the demo's shapes, in units of the shape's radius."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]


def shape_distance(shape: str, x: Field, y: Field) -> Field:
    """Distance of each point to a shape's outline, negative inside.

    Args:
        shape: one of ``classes.SHAPES``.
        x: horizontal coordinates in shape space, where the shape fits the unit circle.
        y: vertical coordinates, of the same form.

    Returns:
        Distances in radii, of the form of ``x``.
    """
    radius = np.hypot(x, y)
    if shape == "disc":
        return radius - 0.88
    if shape == "ring":
        return np.abs(radius - 0.71) - 0.25
    if shape == "crescent":
        return np.maximum(radius - 0.95, 0.72 - np.hypot(x - 0.48, y))
    return _polygon_distance(_POLYGONS[shape], x, y)


def _polygon_distance(vertices: Field, x: Field, y: Field) -> Field:
    nearest = np.full(x.shape, np.inf, np.float32)
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(vertices, np.roll(vertices, -1, axis=0), strict=True):
        dx, dy = bx - ax, by - ay
        along = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - ax - along * dx, y - ay - along * dy))
        crosses = (ay > y) != (by > y)
        if crosses.any():
            inside ^= crosses & (x < dx * (y - ay) / (dy if dy else 1) + ax)
    return np.where(inside, -nearest, nearest)


def _regular(count: int, radii: tuple[float, ...]) -> Field:
    steps = np.arange(count)
    angle = 2 * np.pi * steps / count
    size = np.array([radii[step % len(radii)] for step in steps])
    return np.stack([size * np.sin(angle), -size * np.cos(angle)], axis=1).astype(np.float32)


def _cross(arm: float, reach: float) -> Field:
    corner = [(-arm, -reach), (arm, -reach), (arm, -arm)]
    turns = [corner]
    for _ in range(3):
        turns.append([(-y, x) for x, y in turns[-1]])
    return np.array([point for turn in turns for point in turn], np.float32)


_POLYGONS: dict[str, Field] = {
    "square": _regular(4, (1.0,)),
    "triangle": _regular(3, (1.0,)),
    "star": _regular(10, (1.0, 0.45)),
    "cross": _cross(0.33, 0.92),
    "arrow": np.array(
        [(0, -1), (0.8, 0), (0.32, 0), (0.32, 0.95), (-0.32, 0.95), (-0.32, 0), (-0.8, 0)],
        np.float32,
    ),
}
