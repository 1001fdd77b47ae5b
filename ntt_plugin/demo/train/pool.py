"""The pool of base-class scenes that both networks are trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..classes import BASE_CLASSES
from ..scenes import SCENE_SIZE
from ..streams import training_scene


class ScenePool:
    """Rendered scenes of base classes, kept on disk and read through memory maps.

    Attributes:
        images: uint8 (n, 256, 256, 3).
        owners: uint8 (n, 256, 256): 0 is background, ``i + 1`` the instance ``i``.
        classes: for each scene, the index into ``BASE_CLASSES`` of each instance.
    """

    def __init__(self, folder: Path, count: int) -> None:
        """Open the pool in ``folder``; render it first if it is not there whole."""
        marker = folder / f"pool-{count}.json"
        if not marker.exists():
            _render(folder, count, marker)
        self.images: NDArray[np.uint8] = np.load(folder / f"images-{count}.npy", mmap_mode="r")
        self.owners: NDArray[np.uint8] = np.load(folder / f"owners-{count}.npy", mmap_mode="r")
        self.classes: list[list[int]] = json.loads(marker.read_text())

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self.images)

    def draw(
        self, rng: np.random.Generator, count: int
    ) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8], list[int]]]:
        """Draw random scenes, each turned by quarters and mirrored at random."""
        drawn = []
        for index in rng.integers(len(self), size=count):
            image, owners = self.images[index], self.owners[index]
            quarter = int(rng.integers(4))
            image, owners = np.rot90(image, quarter), np.rot90(owners, quarter)
            if rng.integers(2):
                image, owners = image[:, ::-1], owners[:, ::-1]
            drawn.append((image, owners, self.classes[index]))
        return drawn


def _render(folder: Path, count: int, marker: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shape = (count, SCENE_SIZE, SCENE_SIZE)
    images = np.lib.format.open_memmap(folder / f"images-{count}.npy", "w+", np.uint8, (*shape, 3))
    owners = np.lib.format.open_memmap(folder / f"owners-{count}.npy", "w+", np.uint8, shape)
    number = {entry: index for index, entry in enumerate(BASE_CLASSES)}
    classes = []
    for index in range(count):
        scene = training_scene(index)
        images[index], owners[index] = scene.image, scene.owners
        classes.append([number[entry] for entry in scene.classes])
        if index % 500 == 499:
            print(f"rendered {index + 1} of {count} scenes", flush=True)
    images.flush()
    owners.flush()
    marker.write_text(json.dumps(classes))
