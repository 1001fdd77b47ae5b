"""References cut again by SAM 2 from their boxes, and what was found, kept with the dataset."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image

from ...engine.bank.memory_bank import StoredReference
from ...engine.images.load import read_image
from ...engine.references import Box, crop_box
from ...engine.typing import Array
from ...errors import ImageError, NoFileHandlesError
from ..database import custom_runs
from ..database.label_lookup import Source
from ..database.locks import RunLock
from ..references.choose import label_geometry
from ..segmenters import SegmenterLike

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


METHOD = "ntt_reference_checks"
_KEY = "ntt_reference_checks"
# Some 80 bytes each; those of references that are long gone go first.
_MOST_KEPT = 20_000
# Keeping takes a moment; hours of cutting that led to it would be lost.
_PATIENCE = 10.0
_BUSY = (
    "Another process is keeping what it found of references at this moment; check the references "
    "again when it has ended."
)


@dataclass(frozen=True)
class KeptCheck:
    """What was found of one reference.

    Attributes:
        pixels: of its mask.
        recut_iou: intersection over union of its mask and what the segmenter cuts out of its box.
    """

    pixels: int
    recut_iou: float


def read_checks(dataset: Any) -> dict[str, KeptCheck]:
    """What is kept with a dataset, by reference id, whichever process found it; none if damaged."""
    try:
        results = custom_runs.read(dataset, _KEY) or {}
        return {
            identity: KeptCheck(int(pixels), float(iou))
            for identity, (pixels, iou) in results.get("checks", {}).items()
        }
    except (AttributeError, TypeError, ValueError):
        # To be found again by another check.
        return {}


def checks_state(dataset: Any) -> Hashable:
    """An id that changes whenever checks are kept, by whichever process; reads none of them."""
    document = custom_runs.document_of(dataset, _KEY)
    return None if document is None or not document.results else document.results.grid_id


def keep_checks(dataset: Any, found: Mapping[str, KeptCheck]) -> None:
    """Keep what was found of some references, beside what is kept of others.

    Raises:
        DatasetError: another process keeps such results for too long, or deleted the dataset.
    """
    with RunLock(dataset, _KEY, _PATIENCE, refusal=lambda by: _BUSY):
        kept = {
            identity: c for identity, c in read_checks(dataset).items() if identity not in found
        }
        newest = list((kept | dict(found)).items())[-_MOST_KEPT:]
        custom_runs.catch_up(dataset)
        if not dataset.has_run(_KEY):
            config = dataset.init_run()
            config.method = METHOD
            dataset.register_run(_KEY, config)
        custom_runs.replace(
            dataset, _KEY, checks={name: [check.pixels, check.recut_iou] for name, check in newest}
        )
