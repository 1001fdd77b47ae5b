"""References cut out again: what the segmenter gives for a reference's own box, and its mask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image

from ...engine.bank.memory_bank import StoredReference
from ...engine.images.load import read_image
from ...engine.references import Box, crop_box
from ...errors import ImageError, NoFileHandlesError
from ..database.label_lookup import Source
from ..references.choose import label_geometry
from ..segmenters import SegmenterLike
from .kept_checks import KeptCheck

Array = np.ndarray[Any, Any]
Located = tuple[StoredReference, Source]

# Masks of an image's size, bytes at once; each further batch embeds its image again.
_MASK_BYTES = 2**28


def by_image(references: Iterable[tuple[StoredReference, Source | None]]) -> list[list[Located]]:
    """References whose label is there, those of an image together."""
    images: dict[str, list[Located]] = {}
    for reference, source in references:
        if source is not None and source.label is not None:
            images.setdefault(source.filepath, []).append((reference, source))
    return list(images.values())


def recut(references: Sequence[Located], segmenter: SegmenterLike) -> dict[str, KeptCheck]:
    """Cut references of one image again, each from its own box.

    Args:
        references: of one image, with their labels.
        segmenter: cuts them.

    Returns:
        What was found, by reference id; without those whose label or image cannot be read.

    Raises:
        OutOfMemoryError: the device has not the memory for an image, or for one box.
        NoFileHandlesError: no image can be opened, whichever it is.
    """
    try:
        image = read_image(Path(references[0][1].filepath))
    except ImageError:
        return {}
    found = {}
    for some in _batches(list(_geometries(references, image)), image):
        cuts = segmenter.masks_from_boxes(image, [box for _, box, _ in some])
        for (identity, _, mask), cut in zip(some, cuts, strict=True):
            shared = np.count_nonzero(mask & cut)
            iou = shared / np.count_nonzero(mask | cut)
            found[identity] = KeptCheck(int(np.count_nonzero(mask)), float(iou))
    return found


def _geometries(
    references: Sequence[Located], image: Image.Image
) -> Iterator[tuple[str, Box, Array]]:
    """Of each reference its id, its box inside the image, and its mask."""
    height, width = image.height, image.width
    for reference, source in references:
        # A database holds what people put there, so reading it can fail in any way.
        try:
            label = fo.Label.from_dict(dict(source.label or {}))
            box, mask = label_geometry(label, (height, width))
            crop_box(box, (height, width), 0.0)
        except NoFileHandlesError:
            raise
        except Exception:
            continue
        x1, y1, x2, y2 = box
        inside = max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2)
        yield reference.id, inside, mask


def _batches(
    geometries: list[tuple[str, Box, Array]], image: Image.Image
) -> Iterator[list[tuple[str, Box, Array]]]:
    at_once = max(1, _MASK_BYTES // (image.height * image.width))
    for start in range(0, len(geometries), at_once):
        yield geometries[start : start + at_once]
