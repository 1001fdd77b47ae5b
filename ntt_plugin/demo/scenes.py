"""Scenes with exact instance masks: their classes, how they are made, which ones serve what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from .paint import Field, background, family_colour, light, pattern_weight, shape_distance

SHAPES = ("disc", "square", "triangle", "star", "cross", "ring", "crescent", "arrow")
PATTERNS = ("plain", "striped", "dotted", "checked")
COLOURS = ("red", "yellow", "green", "cyan", "blue", "magenta")


@dataclass(frozen=True)
class SceneClass:
    """One combination of attributes.

    Attributes:
        shape: one of ``SHAPES``.
        pattern: one of ``PATTERNS``.
        colour: one of ``COLOURS``.
    """

    shape: str
    pattern: str
    colour: str

    @property
    def name(self) -> str:
        """The class's label, such as ``red striped star``."""
        return f"{self.colour} {self.pattern} {self.shape}"


def _novel() -> tuple[SceneClass, ...]:
    # Two classes a shape; the strides spread patterns and colours evenly over them, so that
    # every attribute is known from base classes and only the combinations are new.
    return tuple(
        SceneClass(
            SHAPES[index // 2],
            PATTERNS[(index // 2 + 2 * (index % 2) + index // 8) % len(PATTERNS)],
            COLOURS[(5 * index + index // 6) % len(COLOURS)],
        )
        for index in range(2 * len(SHAPES))
    )


ALL_CLASSES = tuple(SceneClass(*attributes) for attributes in product(SHAPES, PATTERNS, COLOURS))
"""All 192 classes."""

NOVEL_CLASSES = _novel()
"""The 16 classes that no training scene ever shows."""

BASE_CLASSES = tuple(entry for entry in ALL_CLASSES if entry not in NOVEL_CLASSES)
"""The 176 classes that the bundled networks were trained on."""

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
        owners: which instance each pixel shows, uint8 (256, 256); 0 is background and
            ``i + 1`` the instance ``i``.
        classes: the class of each instance.
    """

    image: NDArray[np.uint8]
    owners: NDArray[np.uint8]
    classes: tuple[SceneClass, ...]

    def mask(self, index: int) -> NDArray[np.bool_]:
        """The visible pixels of an instance, bool (256, 256)."""
        mask: NDArray[np.bool_] = self.owners == index + 1
        return mask


def make_scene(seed: int | Sequence[int], classes: Sequence[SceneClass]) -> Scene:
    """Render one scene of three to eight objects.

    Class, place, pose, size, shade, stacking, background and light are drawn from the seed; the
    same seed and classes give the same scene.

    Args:
        seed: any seed of ``numpy.random.default_rng``.
        classes: the classes to draw from, at least one.
    """
    rng = np.random.default_rng(seed)
    image = background(SCENE_SIZE, rng)
    owners = np.zeros((SCENE_SIZE, SCENE_SIZE), np.uint8)
    whole_areas: list[int] = []
    shown: list[SceneClass] = []
    wanted = int(rng.integers(3, 9))
    for _ in range(4 * wanted):
        if len(shown) == wanted:
            break
        entry = classes[int(rng.integers(len(classes)))]
        window, colour, alpha = _paint(entry, rng)
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
    image = image * light(SCENE_SIZE, rng)
    image += 0.012 * rng.standard_normal(image.shape, np.float32)
    pixels = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    return Scene(pixels, owners, tuple(shown))


# Which scenes serve what: no scene is ever in two of these streams.


def training_scene(index: int) -> Scene:
    """A scene of base classes, for training the tiny networks."""
    return make_scene((1, index), BASE_CLASSES)


def reference_scene(index: int) -> Scene:
    """A scene of novel classes to take references from."""
    return make_scene((2, index), NOVEL_CLASSES)


def scoring_scene(index: int) -> Scene:
    """A held-out scene of novel classes to segment and score."""
    return make_scene((3, index), NOVEL_CLASSES)


def _paint(entry: SceneClass, rng: np.random.Generator) -> tuple[Window, Field, Field]:
    """One object somewhere in the scene: its window (h, w), colour (h, w, 3), coverage (h, w)."""
    radius = np.exp(rng.uniform(np.log(19), np.log(56)))
    cx, cy = rng.uniform(0.6 * radius, SCENE_SIZE - 0.6 * radius, 2)
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
