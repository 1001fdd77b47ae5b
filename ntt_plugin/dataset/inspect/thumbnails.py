"""Thumbnails of references and of labels: the object in its image, its mask drawn."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import bson
import fiftyone as fo
from PIL import Image

from ...engine.images.load import read_image
from ...engine.references import Box, Provenance, crop_box
from ...errors import ImageError, ReferenceRefusedError
from ..database.label_lookup import Source, find_sources
from ..labels.convert import pixel_box
from ..references.choose import label_geometry
from .crop_picture import draw_crop
from .thumbnail_files import kept_picture

# To be raised by whoever changes how a thumbnail is drawn or its image is read.
_DRAWN = 2
_GEOMETRY = ("_cls", "bounding_box", "mask", "mask_path", "points", "closed", "filled")


def reference_thumbnail(provenance: Provenance, side: int = 96, dataset: Any = None) -> Path | None:
    """The picture of a reference; see ``reference_thumbnails``, which is faster for many."""
    return reference_thumbnails([provenance], side, dataset)[0]


def reference_thumbnails(
    provenances: Sequence[Provenance], side: int = 96, dataset: Any = None
) -> list[Path | None]:
    """Pictures of references, each drawn once and kept in the cache folder.

    A picture is redrawn when the label or the image file changed. If the label was deleted or its
    mask is unusable, the picture shows the box stored with the reference.

    Args:
        provenances: where the references came from.
        side: of a picture, pixels.
        dataset: where to look first for the samples, before the dataset that each names.

    Returns:
        Of each reference a JPEG file (side, side), or None where sample, image or both label and
        box are gone or unreadable.
    """
    images = _Images()
    pictures: dict[Provenance, Path | None] = {}
    sources = zip(provenances, find_sources(provenances, dataset), strict=True)
    # References of one image one after another: it is read once.
    for provenance, source in sorted(sources, key=lambda entry: _filepath(entry[1])):
        if source is not None and provenance not in pictures:
            pictures[provenance] = _picture(
                images, source.filepath, source.label, provenance.box, side
            )
    return [pictures.get(provenance) for provenance in provenances]


def label_thumbnail(sample: Any, label: fo.Label, side: int = 96) -> Path | None:
    """The picture of a label of a sample, kept in the cache folder as a reference's.

    Args:
        sample: the sample, or a view's.
        label: a ``Detection`` or ``Polyline`` of it; without a usable mask its box is drawn.
        side: of the picture, pixels.

    Returns:
        A JPEG file (side, side); None where the image, or the label's place in it, cannot be read.
    """
    return _picture(_Images(), sample.filepath, label.to_dict(), None, side)


class _Images:
    """The image that was read last."""

    def __init__(self) -> None:
        self._filepath = ""
        self._image: Image.Image | None = None

    def read(self, filepath: str) -> Image.Image | None:
        if filepath != self._filepath:
            self._filepath = filepath
            try:
                self._image = read_image(Path(filepath))
            except ImageError:
                self._image = None
        return self._image


def _filepath(source: Source | None) -> str:
    return "" if source is None else source.filepath


def _picture(
    images: _Images, filepath: str, label: Mapping[str, Any] | None, box: Box | None, side: int
) -> Path | None:
    changed = _changed(filepath)
    if changed is None or (label is None and box is None):
        return None
    geometry = None if label is None else {name: label.get(name) for name in _GEOMETRY}
    mask_path = None if label is None else label.get("mask_path")
    shown = {
        "drawn": _DRAWN,
        "side": side,
        "image": [filepath, changed],
        "label": geometry,
        "mask": _changed(mask_path) if mask_path else None,
        "box": box,
    }
    return kept_picture(
        hashlib.sha256(bson.encode(shown)).hexdigest(),
        lambda: _draw(images.read(filepath), label, box, side),
    )


def _changed(path: str) -> int | None:
    """When a file was last changed, nanoseconds since 1970; None if there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except (OSError, ValueError):
        return None


def _draw(
    image: Image.Image | None, label: Mapping[str, Any] | None, box: Box | None, side: int
) -> Image.Image | None:
    if image is None:
        return None
    size = (image.height, image.width)
    if label is not None:
        # A database holds what people put there, so reading it can fail in any way.
        try:
            tight, mask = label_geometry(fo.Label.from_dict(dict(label)), size)
            return draw_crop(image, mask, tight, side)
        except Exception:
            box = box or _box(label, size)
    return draw_crop(image, None, box, side) if _shows_something(box, size) else None


def _box(label: Mapping[str, Any], size: tuple[int, int]) -> Box | None:
    try:
        return pixel_box(fo.Detection(bounding_box=label.get("bounding_box")), size)
    except Exception:
        return None


def _shows_something(box: Box | None, size: tuple[int, int]) -> TypeGuard[Box]:
    """Whether a box has a place in an image of a size (H, W)."""
    if box is None:
        return False
    try:
        crop_box(box, size, 0.0)
    except ReferenceRefusedError:
        return False
    return True
