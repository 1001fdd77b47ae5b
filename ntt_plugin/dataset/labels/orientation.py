"""Photographs with an EXIF orientation: labels on unturned pixels, and banks of former versions.

A photograph may be stored on its side, with an EXIF orientation by which viewers turn it upright.
A program that ignores the orientation makes its labels on the pixels as they are stored. Where
sizes show that (orientations 5 to 8 of images that are not square), such labels are refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import fiftyone as fo

from ...engine.bank.memory_bank import MemoryBank
from ...engine.images.image_file import ImageSizes, image_sizes, open_image
from ...engine.images.image_file import orientation as orientation_of
from ...engine.images.load import TURNED_ONCE
from ...errors import ImageError
from ..runtime.caching import Remembered
from ..samples.label_lookup import find_sources

_REMEDY = (
    "turn the file upright (PIL.ImageOps.exif_transpose) or draw the labels anew; if the labels "
    "lie right in the App, compute the metadata anew "
    "(dataset.compute_metadata(overwrite=True))"
)
_TURNED_BEFORE = (
    "learnt from a turned photograph ({filepath}, EXIF orientation {turn}) by a former version, "
    "which turned it twice: build the bank again, or remove this reference and add it again"
)
# Headers read for one bank; each is cached until its file changes.
_MOST_HEADERS = 5000
_orientations: Remembered[int] = Remembered(2 * _MOST_HEADERS)


def stored_pixels_problem(sample: Any, labels: Iterable[Any] = ()) -> str:
    """Why labels of a sample seem to be made on its pixels before they are turned upright.

    The masks of ``labels`` may have the size of the unturned pixels.

    Returns:
        A sentence; empty if nothing suggests it.

    Raises:
        ImageError: the image's header cannot be read.
    """
    sizes = image_sizes(sample.filepath)
    if sizes.stored == sizes.shown:
        return ""
    if _contradicts(sample.metadata, sizes):
        found = "its metadata say"
    elif any(_mask_size(label) == sizes.stored for label in labels):
        found = "a label's mask says"
    else:
        return ""
    (height, width), (stored_height, stored_width) = sizes.shown, sizes.stored
    return (
        f"The photograph {sample.filepath} is shown as {width} x {height} (EXIF orientation "
        f"{sizes.orientation}), but {found} {stored_width} x {stored_height}, as its pixels are "
        f"stored, so its labels seem to be made on the unturned pixels; {_REMEDY}."
    )


def turned_references(bank: MemoryBank, dataset: Any = None) -> Mapping[str, str]:
    """A sentence for each reference, by id, whose photo a former version turned twice.

    Reads only the headers of images, and only for references that a former version learnt. Samples
    whose own dataset does not hold them are looked up in ``dataset``.
    """
    old = [stored for *_, stored in bank.entries() if stored.reading < TURNED_ONCE]
    sources = find_sources([stored.provenance for stored in old], dataset) if old else []
    found: dict[str, str] = {}
    seen: set[str] = set()
    for stored, source in zip(old, sources, strict=True):
        if source is None or (len(seen) >= _MOST_HEADERS and source.filepath not in seen):
            continue
        seen.add(source.filepath)
        turn = _turn(source.filepath)
        if turn != 1:
            found[stored.id] = _TURNED_BEFORE.format(filepath=source.filepath, turn=turn)
    return found


def turned_references_note(bank: MemoryBank, dataset: Any = None) -> list[str]:
    """One note on what ``turned_references`` finds; none if it finds nothing."""
    found = turned_references(bank, dataset)
    if not found:
        return []
    first = next(iter(found.values()))
    return [
        f"{len(found)} references of the memory bank cannot be trusted; the first was {first}. "
        "check_references() names them all"
    ]


def _turn(filepath: str) -> int:
    """The orientation by which former versions turned a file twice; 1 for none."""
    try:
        changed = os.stat(filepath).st_mtime_ns
        return _orientations.get((filepath, changed), lambda: _read_turn(Path(filepath)))
    except (ImageError, OSError, ValueError):
        return 1


def _read_turn(path: Path) -> int:
    with open_image(path) as opened:
        # PIL itself turns a TIFF, once.
        return 1 if opened.format == "TIFF" else orientation_of(opened)


def _contradicts(metadata: Any, sizes: ImageSizes) -> bool:
    """Whether metadata give the stored size and FiftyOne did not compute it so itself."""
    size = getattr(metadata, "height", None), getattr(metadata, "width", None)
    if size != sizes.stored:
        return False
    # Importers fill in width and height alone, from the file of labels.
    is_computed = getattr(metadata, "size_bytes", None) is not None
    return not (is_computed and sizes.listed == sizes.stored)


def _mask_size(label: Any) -> tuple[int, int] | None:
    """(H, W) of a label's mask, or of its mask file by its header."""
    if not isinstance(label, fo.Detection):
        return None
    if label.mask is not None:
        shape = getattr(label.mask, "shape", ())
        return tuple(shape[:2]) if len(shape) >= 2 else None
    if not label.mask_path:
        return None
    try:
        with open_image(Path(label.mask_path)) as opened:
            return opened.height, opened.width
    except ImageError:
        # Whoever reads the mask says what is wrong with it.
        return None
