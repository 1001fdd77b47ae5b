"""Two scenes as image files: sizes, orientations, and where the files lie."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ntt_plugin.demo.streams import reference_scene, scoring_scene
from tests.journeys.formats import PICTURES, FileKind

Array = np.ndarray[Any, Any]

SCENES = {"pool": reference_scene(12), "target": scoring_scene(22)}
"""The scene to learn from and the scene to segment; all classes of the second are in the first."""

SIZES = {"square": (256, 256), "wide": (193, 256), "portrait": (256, 192), "odd": (255, 241)}
"""Rows and columns of the picture as it is shown."""

PLACES = ("plain", "non-ASCII", "symlink", "upper case", "wrong suffix", "relative")
"""How the file's path looks."""

_SMALLEST_AREA = 100


@dataclass(frozen=True, eq=False)
class Photo:
    """An image file and what a person sees in it.

    Attributes:
        path: the file, as it is given to FiftyOne.
        role: ``pool`` or ``target``.
        shown: the picture as it is shown, RGB, uint8 (H, W, 3).
        objects: class and mask, bool (H, W), of each object in the picture as it is shown.
        orientation: how the file's pixels lie.
    """

    path: Path
    role: str
    shown: Array
    objects: list[tuple[str, Array]]
    orientation: int = 1

    def as_stored(self) -> Photo:
        """The photo for a tool that knows no orientation: its objects lie on the stored pixels."""
        objects = [(name, stored_for(mask, self.orientation)) for name, mask in self.objects]
        return replace(self, objects=objects)


def upright(stored: Array, orientation: int) -> Array:
    """The picture that a viewer shows for stored pixels, by the definition in EXIF."""
    turned = {
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.swapaxes(0, 1),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(stored, 1),
    }
    return np.ascontiguousarray(turned.get(orientation, stored))


def stored_for(shown: Array, orientation: int) -> Array:
    """The pixels to store so that a viewer shows a picture: the inverse of ``upright``."""
    # Quarter turns are each other's inverse, all others their own.
    return upright(shown, {6: 8, 8: 6}.get(orientation, orientation))


def write_photos(
    kind: FileKind, orientation: int, size: str, place: str, folder: Path
) -> list[Photo]:
    """Write both scenes as files of a kind; shows the same picture whatever the orientation."""
    height, width = SIZES[size]
    photos = []
    for role, scene in SCENES.items():
        shown = PICTURES[kind.picture](scene.image[:height, :width])
        path = _place(folder, place, role, kind.suffix)
        target = path
        if place == "symlink":
            target = folder / "store" / f"{role}-5f2a"
            target.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(os.path.relpath(target, path.parent))
        # Pillow chooses the format by the suffix, which the file need not have in the end.
        draft = folder / f"draft{kind.suffix}"
        kind.save(stored_for(shown, orientation), draft, orientation)
        draft.replace(target)
        if place == "relative":
            path = Path(os.path.relpath(path))
        masks = [
            (entry.name, scene.mask(index)[:height, :width])
            for index, entry in enumerate(scene.classes)
        ]
        objects = [entry for entry in masks if entry[1].sum() >= _SMALLEST_AREA]
        photos.append(Photo(path, role, shown, objects, orientation))
    return photos


def _place(folder: Path, place: str, role: str, suffix: str) -> Path:
    name = f"{role}{suffix}"
    if place == "non-ASCII":
        folder, name = folder / "Fotos été 写真 #1 %20", f"{role} ñandú 図 v1.2{suffix}"
    elif place == "upper case":
        name = f"{role}{suffix.upper()}"
    elif place == "wrong suffix":
        name = f"{role}{'.png' if suffix == '.jpg' else '.jpg'}"
    path = folder / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
