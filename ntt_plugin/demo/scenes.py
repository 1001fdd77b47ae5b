"""Rendered scenes with exact instance masks, and the colours, patterns and shapes in them."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .classes import SceneClass

Field = NDArray[np.floating[Any]]

# Hue centre and half width, in degrees: the families never touch.
_HUES = {
    "red": (0, 9),
    "yellow": (50, 8),
    "green": (118, 20),
    "cyan": (184, 8),
    "blue": (228, 12),
    "magenta": (306, 14),
}


def family_colour(family: str, rng: np.random.Generator) -> Field:
    """A random shade of a colour family, RGB in [0, 1], float (3,)."""
    centre, width = _HUES[family]
    hue = (centre + rng.uniform(-width, width)) % 360 / 360
    return np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.6, 1), rng.uniform(0.55, 1)), np.float32)


def pattern_weight(pattern: str, x: Field, y: Field, rng: np.random.Generator) -> Field:
    """How much of the second colour each point takes, in [0, 1].

    Args:
        pattern: one of ``classes.PATTERNS``.
        x: horizontal coordinates in shape space (the pattern turns with the shape).
        y: vertical coordinates, of the same form.
        rng: source of the pattern's own turn, phase and scale.
    """
    if pattern == "plain":
        return np.zeros_like(x)
    turn, scale = rng.uniform(0, np.pi), rng.uniform(0.42, 0.58)
    u = (np.cos(turn) * x + np.sin(turn) * y) / scale + rng.uniform()
    v = (np.cos(turn) * y - np.sin(turn) * x) / scale + rng.uniform()
    if pattern == "striped":
        wave = np.sin(2 * np.pi * u)
    elif pattern == "dotted":
        wave = 4 * (0.31 - np.hypot(u % 1 - 0.5, v % 1 - 0.5))
    else:
        wave = 2 * np.sin(np.pi * u) * np.sin(np.pi * v)
    return np.clip(0.5 + 2.5 * wave, 0, 1)


def smooth_noise(size: int, cells: int, rng: np.random.Generator) -> Field:
    """Noise in [-1, 1] that varies over ``size / cells`` pixels, float (size, size)."""
    knots = rng.uniform(-1, 1, (cells + 1, cells + 1)).astype(np.float32)
    place = np.linspace(0, cells, size, endpoint=False, dtype=np.float32)
    low = place.astype(int)
    part = place - low
    part = part * part * (3 - 2 * part)
    rows = knots[low] * (1 - part)[:, None] + knots[low + 1] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def background(size: int, rng: np.random.Generator) -> Field:
    """A muted, textured backdrop without objects, RGB in [0, 1], float (size, size, 3)."""
    palette = np.stack([_muted(rng) for _ in range(3)])
    yy, xx = np.mgrid[:size, :size].astype(np.float32) / size
    kind = rng.integers(4)
    if kind == 0:  # a slope from one colour to another
        turn = rng.uniform(0, 2 * np.pi)
        weight = 0.5 + 0.7 * (np.cos(turn) * (xx - 0.5) + np.sin(turn) * (yy - 0.5))
    elif kind == 1:  # clouds
        weight = 0.5 + 0.6 * smooth_noise(size, int(rng.integers(2, 7)), rng)
    elif kind == 2:  # planks
        turn = rng.uniform(0, np.pi)
        across = (np.cos(turn) * xx + np.sin(turn) * yy) * rng.uniform(4, 12)
        weight = np.abs(across % 1 - 0.5) * 2
        weight = np.clip(weight * 6 - 1, 0, 1) * 0.6 + 0.2 * (np.floor(across) % 2)
    else:  # patches of ground
        seeds = rng.uniform(0, 1, (int(rng.integers(4, 14)), 2))
        gaps = [np.hypot(xx - sx, yy - sy) for sx, sy in seeds]
        weight = (np.argmin(np.stack(gaps), axis=0) % 3) / 2
    weight = np.clip(weight, 0, 1)[..., None]
    image = palette[0] * (1 - weight) + palette[1] * weight
    grain = smooth_noise(size, int(rng.integers(16, 90)), rng)[..., None]
    image = image + grain * rng.uniform(0.02, 0.12) * palette[2]
    return np.clip(image, 0, 1).astype(np.float32)


def light(size: int, rng: np.random.Generator) -> Field:
    """The scene's lighting as a factor a pixel and channel, float (size, size, 3)."""
    level = rng.uniform(0.85, 1.1) + rng.uniform(0.03, 0.2) * smooth_noise(size, 2, rng)
    tint = rng.uniform(0.95, 1.05, 3)
    return (level[..., None] * tint).astype(np.float32)


def _muted(rng: np.random.Generator) -> Field:
    return np.array(
        colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.02, 0.38), rng.uniform(0.2, 0.9)),
        np.float32,
    )


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


SCENE_SIZE = 256
"""Side of every scene, in pixels."""

Window = tuple[slice, slice]
_SMALLEST_VISIBLE_PART = 0.45
_SMALLEST_AREA = 220


@dataclass(frozen=True, eq=False)
class Scene:
    """A rendered scene.

    Attributes:
        image: RGB, uint8 (256, 256, 3).
        owners: which instance each pixel shows, unsigned (256, 256); 0 is background and
            ``i + 1`` the instance ``i``.
    """

    image: NDArray[np.uint8]
    owners: NDArray[np.unsignedinteger[Any]]
    classes: tuple[SceneClass, ...]

    def mask(self, index: int) -> NDArray[np.bool_]:
        """The visible pixels of an instance, bool (256, 256)."""
        mask: NDArray[np.bool_] = self.owners == index + 1
        return mask


def make_scene(seed: int | Sequence[int], classes: Sequence[SceneClass]) -> Scene:
    """Render one scene of three to eight objects.

    Class, place, pose, size, shade, stacking, background and light are drawn from the seed; the
    same seed and classes give the same scene.

    ``seed`` is any of ``numpy.random.default_rng``; ``classes`` are those to draw from, at least
    one.
    """
    rng = np.random.default_rng(seed)
    image = background(SCENE_SIZE, rng)
    owners = np.zeros((SCENE_SIZE, SCENE_SIZE), np.uint8)
    shown = add_objects(image, owners, classes, int(rng.integers(3, 9)), rng)
    return Scene(finished(image, rng), owners, shown)


@dataclass(frozen=True)
class Placing:
    """How large objects are and how near to the edge they lie.

    Attributes:
        radii: the smallest and the largest radius, pixels.
        inside: distance of a centre from the edge, in radii, at least.
    """

    radii: tuple[float, float] = (19, 56)
    inside: float = 0.6


def add_objects(
    image: Field,
    owners: NDArray[np.uint8],
    classes: Sequence[SceneClass],
    wanted: int,
    rng: np.random.Generator,
    placing: Placing = Placing(),
) -> tuple[SceneClass, ...]:
    """Paint objects into a backdrop, one over the other, each still to be recognised.

    Args:
        image: RGB in [0, 1], float (256, 256, 3); changed.
        owners: as a ``Scene`` has them, without any object; changed.
        classes: those to draw from.
        wanted: how many objects; there may be fewer.
        rng: source of all that is drawn.
        placing: sizes and places.

    Returns:
        The classes of the objects, in the order of their numbers.
    """
    whole_areas: list[int] = []
    shown: list[SceneClass] = []
    for _ in range(4 * wanted):
        if len(shown) == wanted:
            break
        entry = classes[int(rng.integers(len(classes)))]
        window, colour, alpha = _paint(entry, rng, placing)
        mask = np.zeros(owners.shape, bool)
        mask[window] = alpha >= 0.5
        if not _fits(owners, mask, whole_areas):
            continue
        _cast_shadow(image, window, alpha, rng)
        cover = alpha[..., None]
        image[window] = image[window] * (1 - cover) + colour * cover
        shown.append(entry)
        whole_areas.append(int(mask.sum()))
        owners[mask] = len(shown)
    return tuple(shown)


def finished(image: Field, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A painted scene, float (size, size, 3), under its light and with a camera's noise."""
    image = image * light(len(image), rng)
    image += 0.012 * rng.standard_normal(image.shape, np.float32)
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8)


def _paint(
    entry: SceneClass, rng: np.random.Generator, placing: Placing
) -> tuple[Window, Field, Field]:
    """One object somewhere in the scene: its window (h, w), colour (h, w, 3), coverage (h, w)."""
    radius = np.exp(rng.uniform(*np.log(placing.radii)))
    margin = placing.inside * radius
    cx, cy = rng.uniform(margin, SCENE_SIZE - margin, 2)
    turn = rng.uniform(0, 2 * np.pi)
    stretch = np.exp(rng.uniform(-0.16, 0.16))
    reach = 1.2 * radius
    window = (_span(cy - reach, cy + reach), _span(cx - reach, cx + reach))
    yy, xx = np.mgrid[window].astype(np.float32)
    dx, dy = (xx - np.float32(cx)) / np.float32(radius), (yy - np.float32(cy)) / np.float32(radius)
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    x = (cos * dx + sin * dy) * np.float32(stretch)
    y = (cos * dy - sin * dx) / np.float32(stretch)
    alpha = np.clip(0.5 - shape_distance(entry.shape, x, y) * np.float32(radius), 0, 1)
    first = family_colour(entry.colour, rng)
    second = first * rng.uniform(0.1, 0.35) if rng.uniform() < 0.5 else 1 - 0.25 * (1 - first)
    weight = pattern_weight(entry.pattern, x, y, rng)[..., None]
    colour = first * (1 - weight) + second * weight
    shading = 1 + rng.uniform(0, 0.22) * (cos * dx - sin * dy)
    return window, (colour * shading[..., None]).astype(np.float32), alpha.astype(np.float32)


def _span(low: float, high: float) -> slice:
    return slice(max(0, int(low)), min(SCENE_SIZE, int(high) + 1))


def _fits(owners: NDArray[np.uint8], mask: NDArray[np.bool_], whole_areas: list[int]) -> bool:
    if mask.sum() < _SMALLEST_AREA:
        return False
    for index, whole in enumerate(whole_areas):
        visible = int(((owners == index + 1) & ~mask).sum())
        if visible < max(_SMALLEST_VISIBLE_PART * whole, _SMALLEST_AREA):
            return False
    return True


def _cast_shadow(image: Field, window: Window, alpha: Field, rng: np.random.Generator) -> None:
    depth = rng.uniform(0, 0.4)
    down, right = (int(step) for step in rng.integers(-4, 5, 2))
    rows, columns = window
    cast = np.pad(np.zeros((SCENE_SIZE, SCENE_SIZE), np.float32), 4)
    cast[
        rows.start + 4 + down : rows.stop + 4 + down,
        columns.start + 4 + right : columns.stop + 4 + right,
    ] = alpha
    image *= 1 - np.float32(depth) * cast[4:-4, 4:-4, None]
