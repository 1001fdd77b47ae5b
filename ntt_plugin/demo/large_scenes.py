"""Large scenes with small objects, and the same objects at the size of the demo's scenes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .classes import SceneClass
from .scenes import SCENE_SIZE, Placing, Scene, add_objects, background, finished

# Objects of 24 to 64 pixels, once the scene is shrunk; each wholly in its cell.
_SMALL = Placing(radii=(21, 56), inside=1.2)
_MOST_OBJECTS = 2


class LargeScene(NamedTuple):
    """A large scene and its cells.

    Attributes:
        scene: the shrunk scene, of small objects; its owners are uint16.
        cells: the same objects, before shrinking, as scenes of the demo's size.
    """

    scene: Scene
    cells: list[Scene]


def make_large_scene(
    seed: int | Sequence[int], classes: Sequence[SceneClass], cells: int
) -> LargeScene:
    """Render ``cells`` x ``cells`` of the demo's scenes over one backdrop, and shrink it.

    Each cell has up to two objects. The scene has 1,024 pixels a side for seven cells a side.
    """
    rng = np.random.default_rng(seed)
    full = cells * SCENE_SIZE
    image = background(full, rng)
    owners = np.zeros((full, full), np.uint16)
    shown: list[SceneClass] = []
    parts = []
    for row in range(cells):
        for column in range(cells):
            window = tuple(slice(at * SCENE_SIZE, (at + 1) * SCENE_SIZE) for at in (row, column))
            own = np.zeros((SCENE_SIZE, SCENE_SIZE), np.uint8)
            wanted = int(rng.integers(_MOST_OBJECTS + 1))
            added = add_objects(image[window], own, classes, wanted, rng, _SMALL)
            owners[window] = np.where(own > 0, own + np.uint16(len(shown)), 0)
            shown += added
            parts.append((window, own, added))
    pixels = finished(image, rng)
    return LargeScene(
        _shrunk(Scene(pixels, owners, tuple(shown)), cells * 1024 // 7),
        [Scene(np.ascontiguousarray(pixels[window]), own, added) for window, own, added in parts],
    )


def _shrunk(scene: Scene, side: int) -> Scene:
    """A square scene with fewer pixels; a pixel shows the instance at its centre."""
    image = Image.fromarray(scene.image).resize((side, side), Image.Resampling.LANCZOS)
    centres = ((np.arange(side) + 0.5) * len(scene.owners) / side).astype(int)
    owners: NDArray[np.uint16] = scene.owners[np.ix_(centres, centres)]
    return Scene(np.asarray(image), owners, scene.classes)
