"""Thumbnails of references and of labels: the object in its image, its mask drawn.

They are kept as files in the cache folder, under a digest of all that they show.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard

import bson
import fiftyone as fo
import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation  # type: ignore[import-untyped]

from ...engine.files import write_whole
from ...engine.images.load import read_image
from ...engine.references import Box, Provenance, crop_box
from ...engine.typing import Array
from ...errors import ImageError, ReferenceRefusedError, StoreError
from ..labels.convert import pixel_box
from ..references.choose import label_geometry
from ..runtime.caching import cache_home
from ..samples.label_lookup import find_sources

# Increase it when the drawing of thumbnails or the reading of images changes.
_DRAWN = 2
_GEOMETRY = ("_cls", "bounding_box", "mask", "mask_path", "points", "closed", "filled")

# With 256 subfolders of pictures of some 5 KB this is about 100 MB.
_MOST_IN_A_FOLDER = 80
_QUALITY = 88

# Side of the window by the box's longer side: surroundings tell what an object is.
_CONTEXT = 1.4
# Pixels of the image: a tiny object is shown in its surroundings, not as four squares of colour.
_SMALLEST_WINDOW = 32
_BESIDE_THE_IMAGE = (38, 38, 38)
_OUTLINE = (255, 196, 0)
_BRIGHTNESS_OUTSIDE = 0.4
_FIRST_WIDER_OUTLINE = 128


def reference_thumbnail(provenance: Provenance, side: int = 96, dataset: Any = None) -> Path | None:
    """The picture of a reference; ``reference_thumbnails`` is faster for many."""
    return reference_thumbnails([provenance], side, dataset)[0]


def reference_thumbnails(
    provenances: Sequence[Provenance], side: int = 96, dataset: Any = None
) -> list[Path | None]:
    """Pictures of references, each drawn once and kept in the cache folder.

    A picture is redrawn when the label or the image file changed. If the label was deleted or its
    mask is unusable, the picture shows the box stored with the reference.

    ``side`` is in pixels. ``dataset`` is where to look first for the samples, before the
    dataset that each names.

    Returns:
        Of each reference a JPEG file (side, side), or None where sample, image or both label and
        box are gone or unreadable.
    """
    # References of one image one after another: it is read once.
    read = lru_cache(maxsize=1)(_read)
    found = zip(provenances, find_sources(provenances, dataset), strict=True)
    known = [(provenance, source) for provenance, source in found if source is not None]
    pictures: dict[Provenance, Path | None] = {}
    for provenance, source in sorted(known, key=lambda entry: entry[1].filepath):
        if provenance not in pictures:
            pictures[provenance] = _picture(
                read, source.filepath, source.label, provenance.box, side
            )
    return [pictures.get(provenance) for provenance in provenances]


def label_thumbnail(sample: Any, label: fo.Label, side: int = 96) -> Path | None:
    """A label's picture (side, side) in the cache folder; None if it or its image is unreadable.

    ``label`` is a ``Detection`` or ``Polyline``; without a usable mask its box is drawn.
    ``side`` is in pixels.
    """
    return _picture(_read, sample.filepath, label.to_dict(), None, side)


def _read(filepath: str) -> Image.Image | None:
    try:
        return read_image(Path(filepath))
    except ImageError:
        return None


def _picture(
    read: Callable[[str], Image.Image | None],
    filepath: str,
    label: Mapping[str, Any] | None,
    box: Box | None,
    side: int,
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
        lambda: _draw(read(filepath), label, box, side),
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
    if box is None:
        return False
    try:
        crop_box(box, size, 0.0)
    except ReferenceRefusedError:
        return False
    return True


def kept_picture(key: str, draw: Callable[[], Image.Image | None]) -> Path | None:
    """The JPEG file of a picture, drawn if it is not cached; None if that is not possible.

    ``key`` is a hexadecimal digest of all that decides what the picture shows. ``draw`` draws it,
    or gives None.
    """
    try:
        path = cache_home() / "thumbnails" / key[:2] / f"{key}.jpg"
    except StoreError:
        return None
    with suppress(OSError):
        # The App serves this path: a link could lead to any file, and reading a pipe would block.
        if stat.S_ISREG(path.lstat().st_mode):
            # Mark it as used: the least recently used pictures are removed first.
            os.utime(path)
            return path
    picture = draw()
    if picture is None:
        return None
    try:
        _write(path, picture)
        _tidy(path.parent)
    except OSError:
        return None
    return path


def _write(path: Path, picture: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=_QUALITY, subsampling=0)
    write_whole(path, data.getvalue(), path.with_name(f"{path.stem}.{uuid.uuid4().hex}.tmp"))


def _tidy(folder: Path) -> None:
    with os.scandir(folder) as entries:
        found = list(entries)
    if len(found) <= _MOST_IN_A_FOLDER:
        return
    aged = []
    for entry in found:
        # Another process may have removed it.
        with suppress(FileNotFoundError):
            aged.append((entry.stat().st_mtime_ns, entry.path))
    for _, path in sorted(aged)[: len(found) - _MOST_IN_A_FOLDER]:
        Path(path).unlink(missing_ok=True)


def draw_crop(image: Image.Image, mask: Array | None, box: Box, side: int) -> Image.Image:
    """An object in its image, cut to a square: outlined, its surroundings dimmed.

    Args:
        image: the whole image, RGB.
        mask: the object's pixels, bool (H, W); None draws the box alone and dims nothing.
        box: x1 y1 x2 y2 in pixels, x2 and y2 exclusive; it overlaps the image.
        side: of the picture, pixels.

    Returns:
        RGB (side, side); where the window is larger than the image, the rest is dark grey.
    """
    window = _window(box, image.size)
    picture = np.asarray(_cut(image, window, side, _BESIDE_THE_IMAGE), dtype=np.float32)
    width = max(1, side // _FIRST_WIDER_OUTLINE + 1)
    if mask is None:
        outline = _frame(box, window, side, width)
    else:
        cover = np.asarray(_cut(Image.fromarray(mask.astype(np.uint8) * 255), window, side, 0))
        inside = cover >= 128
        shown = np.where(inside, 1.0, _BRIGHTNESS_OUTSIDE)[..., None]
        picture = picture * shown
        outline = _rim(inside, width)
    drawn = np.where(outline[..., None], _OUTLINE, picture)
    return Image.fromarray(drawn.round().astype(np.uint8))


def _window(box: Box, size: tuple[int, int]) -> Box:
    """The square around a box, moved into the image (width, height) as far as it fits."""
    x1, y1, x2, y2 = box
    wanted = max(_CONTEXT * max(x2 - x1, y2 - y1), _SMALLEST_WINDOW)
    left, top = (
        _inside((low + high - wanted) / 2, wanted, length)
        for low, high, length in ((x1, x2, size[0]), (y1, y2, size[1]))
    )
    return left, top, left + wanted, top + wanted


def _inside(start: float, wanted: float, length: int) -> float:
    if wanted >= length:
        return (length - wanted) / 2
    return min(max(0.0, start), length - wanted)


def _cut(image: Image.Image, window: Box, side: int, beside: Any) -> Image.Image:
    left, top, right, bottom = window
    part = (
        max(0.0, left),
        max(0.0, top),
        min(float(image.width), right),
        min(float(image.height), bottom),
    )
    x1, y1, x2, y2 = _in_picture(part, window, side)
    small = image.resize(
        (max(1, x2 - x1), max(1, y2 - y1)), Image.Resampling.BILINEAR, part, reducing_gap=2.0
    )
    if small.size == (side, side):
        return small
    picture = Image.new(image.mode, (side, side), beside)
    picture.paste(small, (x1, y1))
    return picture


def _in_picture(box: Box, window: Box, side: int) -> tuple[int, int, int, int]:
    """A box of an image in whole pixels of the picture of a window."""
    scale = side / (window[2] - window[0])
    x1, x2 = (round((edge - window[0]) * scale) for edge in box[::2])
    y1, y2 = (round((edge - window[1]) * scale) for edge in box[1::2])
    return x1, y1, x2, y2


def _frame(box: Box, window: Box, side: int, width: int) -> Array:
    """The outline of a box in a picture of a window, bool (side, side)."""
    x1, y1, x2, y2 = _in_picture(box, window, side)
    inside = np.zeros((side, side), dtype=bool)
    inside[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)] = True
    return _rim(inside, width)


def _rim(mask: Array, width: int) -> Array:
    return np.asarray(binary_dilation(mask, iterations=width)) & ~mask
