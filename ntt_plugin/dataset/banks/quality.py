"""How good the references of a saved bank are, which ones to look at, and why.

Their features are compared with each other. ``check_references`` also cuts each out of its own box
again with SAM 2, and keeps what it finds with the dataset.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import torch
from PIL import Image

from ...engine.bank import quality
from ...engine.bank.memory_bank import MemoryBank, StoredReference
from ...engine.bank.quality import find_badly_cut, find_duplicates, find_outliers
from ...engine.images.load import read_image
from ...engine.references import Box, Provenance, crop_box
from ...engine.typing import Array
from ...errors import ImageError, NoFileHandlesError
from ...worker.tasks.networks import SegmenterLike
from ..database import custom_runs
from ..database.errors import database_errors
from ..database.locks import RunLock
from ..labels.orientation import turned_references
from ..networks import get_segmenter
from ..references.choose import label_geometry
from ..runtime.caching import Remembered, in_own_thread
from ..runtime.progress_bar import Progress, progress_bar
from ..samples.label_lookup import Source, find_sources
from . import store

Located = tuple[StoredReference, Source]

_KEY = "ntt_reference_checks"

# Pixels of a mask, or of a box if the mask was not checked: 12 x 12.
_SMALLEST = 144
# Mean width of a mask to the longer side of its box: about a patch of the encoder's grid.
_THINNEST = 1 / 30
# A mask's box and the box that it was made of show the same object from this IoU on.
_SAME_BOX = 0.5
# The panel asks for the same banks repeatedly; reading a large one takes a third of a second.
_MOST_BANKS = 8
# Masks of an image's size, bytes at once; each further batch embeds its image again.
_MASK_BYTES = 2**28
# Some 80 bytes each; the oldest are dropped first.
_MOST_KEPT = 20_000
# Seconds to wait for another process that keeps checks; giving up would lose hours of work.
_PATIENCE = 10.0
_BUSY = (
    "Another process is keeping what it found of references at this moment; check the references "
    "again when it has ended."
)


@dataclass(frozen=True)
class ReferenceCheck:
    """What is known of one reference, or negative, of a bank.

    Attributes:
        id: the reference's id.
        label: its class; of a negative, the class that it is a negative of.
        negative: whether it is a negative.
        own: cosine to the mean of its class's other references; nan if it is the only one. Of a
            negative: to the mean of its class's references.
        nearest_class: the other class whose references are nearest; None with one class.
        nearest: cosine to their mean; nan with one class.
        pixels: area of its mask; None if ``check_references`` did not look at it.
        recut_iou: intersection over union of its mask and what the segmenter cuts out of its own
            box; None if ``check_references`` did not look at it.
        flags: why a person should look at it, a sentence each; empty if it seems fine.
        provenance: where it came from.
    """

    id: str
    label: str
    negative: bool
    own: float
    nearest_class: str | None
    nearest: float
    pixels: int | None
    recut_iou: float | None
    flags: tuple[str, ...]
    provenance: Provenance


_judged: Remembered[list[ReferenceCheck]] = Remembered(_MOST_BANKS)
_compared: Remembered[tuple[list[str], Array]] = Remembered(_MOST_BANKS)


@database_errors("nothing was changed; start again when it is back.")
def reference_quality(dataset: Any, name: str) -> list[ReferenceCheck]:
    """How good a saved bank's references are, from what is kept; loads no network and no pixel.

    Returns:
        Of every class its references, then its negatives, in order of addition.

    Raises:
        DatasetError: there is no such bank.
        BankError: the bank is damaged.

    Example:
        >>> checks = ntt.reference_quality(dataset, "animals")
        >>> least_typical = min(checks, key=lambda check: check.own)
    """
    dataset = store.require_bank(dataset, name)
    return list(
        _judged.get(
            (store.state(dataset, name), checks_state(dataset)),
            lambda: in_own_thread(
                lambda: _checks(store.read(dataset, name), read_checks(dataset), dataset)
            ),
        )
    )


@database_errors("what was found until then may be kept; start again when it is back.")
def check_references(
    dataset: Any,
    name: str,
    device: str | torch.device | None = None,
    progress: Progress = None,
    *,
    segmenter: SegmenterLike | None = None,
) -> list[ReferenceCheck]:
    """Cut each reference of a saved bank again from its own box, and judge them all.

    How large its mask is and how well the two masks agree is kept with the dataset, for
    ``reference_quality``, and stays when the bank is renamed or changed. A reference whose image
    or label is gone is judged by its feature alone. The bank is only read.

    Args:
        dataset: the dataset, or a view of it.
        name: the bank's name in the dataset.
        device: where to run; the best there is if None.
        progress: FiftyOne's: True, False, a callback, or None for the configured default. What a
            callback raises ends the check; what was found until then is kept.
        segmenter: an engine ``Segmenter`` to use in place of the bank's networks and ``device``.

    Returns:
        Of every class its references, then its negatives, in order of addition.

    Raises:
        DatasetError: there is no such bank, or another process keeps such results at this moment.
        BankError: the bank is damaged.
        CheckpointError: a network cannot be found, fetched or read.

    Example:
        >>> checks = ntt.check_references(dataset, "animals")
        >>> to_look_at = [check for check in checks if check.flags]
    """
    dataset = store.require_bank(dataset, name)
    bank = store.read(dataset, name)
    references = [entry.stored for entry in bank.entries() if not entry.negative]
    sources = find_sources([entry.provenance for entry in references], dataset)
    images = _by_image(zip(references, sources, strict=True))
    found: dict[str, KeptCheck] = {}
    if images:
        loaded = segmenter or get_segmenter(bank.recipe, device)
        try:
            with progress_bar(len(images), progress, "images") as bar:
                for of_image in bar(images):
                    found |= _recut(of_image, loaded)
        finally:
            if found:
                keep_checks(dataset, found)
    return _checks(bank, read_checks(dataset), dataset)


@database_errors("nothing was changed; start again when it is back.")
def class_similarity(dataset: Any, name: str) -> tuple[list[str], Array]:
    """How alike a saved bank's classes are.

    Returns:
        The classes, and the cosines of their prototypes, float32 (k, k).

    Raises:
        DatasetError: there is no such bank.
        BankError: the bank is damaged.

    Example:
        >>> classes, similarity = ntt.class_similarity(dataset, "animals")
        >>> classes, similarity.shape
        (['cat', 'dog', 'bird'], (3, 3))
    """
    dataset = store.require_bank(dataset, name)
    classes, similarity = _compared.get(
        store.state(dataset, name),
        lambda: in_own_thread(lambda: _compare(store.read(dataset, name))),
    )
    return list(classes), similarity.copy()


def _compare(bank: MemoryBank) -> tuple[list[str], Array]:
    return bank.classes, quality.class_similarity(bank).numpy()


def _checks(bank: MemoryBank, kept: Mapping[str, KeptCheck], dataset: Any) -> list[ReferenceCheck]:
    references = quality.reference_quality(bank)
    ious = {entry.id: kept[entry.id].recut_iou for entry in references if entry.id in kept}
    reasons: list[Mapping[str, str]] = [
        turned_references(bank, dataset),
        find_outliers(references),
        find_duplicates(bank),
        find_badly_cut(references, ious),
    ]
    qualities = {entry.id: entry for entry in (*references, *quality.negative_quality(bank))}
    checks = []
    for label, negative, stored in bank.entries():
        known, check = qualities[stored.id], kept.get(stored.id)
        flags = [found[stored.id] for found in reasons if stored.id in found]
        if not negative:
            flags += [*_size_flags(check, stored.provenance.box), *_box_flags(check)]
        checks.append(
            ReferenceCheck(
                id=stored.id,
                label=label,
                negative=negative,
                own=known.own,
                nearest_class=known.nearest_class,
                nearest=known.nearest,
                pixels=None if check is None else check.pixels,
                recut_iou=None if check is None else check.recut_iou,
                flags=tuple(flags),
                provenance=stored.provenance,
            )
        )
    return checks


def _size_flags(check: KeptCheck | None, box: Box | None) -> list[str]:
    width, height = (0.0, 0.0) if box is None else (box[2] - box[0], box[3] - box[1])
    pixels = width * height if check is None else check.pixels
    if box is None and check is None:
        return []
    if pixels < _SMALLEST:
        return [f"small, {pixels:.0f} pixels: choose a larger object, or one seen from nearer"]
    longer = max(width, height)
    if longer and pixels < _THINNEST * longer**2:
        return [
            f"thin, {pixels / longer:.0f} pixels wide at a length of {longer:.0f}: most of what "
            "the encoder sees of it is its surroundings"
        ]
    return []


def _box_flags(check: KeptCheck | None) -> list[str]:
    if check is None or check.box_iou is None or check.box_iou >= _SAME_BOX:
        return []
    return [
        f"far from the box that it was made of (IoU {check.box_iou:.2f}): the segmenter may have "
        "cut out another thing, or a part; draw its mask anew, or take it out"
    ]


@dataclass(frozen=True)
class KeptCheck:
    """What ``check_references`` found of one reference; the same of it as in ``ReferenceCheck``.

    Attributes:
        box_iou: of a mask that ``masks_from_boxes`` made, its box against the one it came from.
    """

    pixels: int
    recut_iou: float
    box_iou: float | None = None


def _by_image(references: Iterable[tuple[StoredReference, Source | None]]) -> list[list[Located]]:
    images: dict[str, list[Located]] = {}
    for reference, source in references:
        if source is not None and source.label is not None:
            images.setdefault(source.filepath, []).append((reference, source))
    return list(images.values())


def _recut(references: Sequence[Located], segmenter: SegmenterLike) -> dict[str, KeptCheck]:
    """Cut references of one image again: what was found by id, without unreadable ones.

    Raises:
        OutOfMemoryError: the device lacks the memory for an image, or for one box.
        NoFileHandlesError: no image can be opened, whichever it is.
    """
    try:
        image = read_image(Path(references[0][1].filepath))
    except ImageError:
        return {}
    found = {}
    of_boxes = {entry.id: _box_iou(source) for entry, source in references}
    for some in _batches(list(_geometries(references, image)), image):
        cuts = segmenter.masks_from_boxes(image, [box for _, box, _ in some])
        for (identity, _, mask), cut in zip(some, cuts, strict=True):
            shared = np.count_nonzero(mask & cut)
            iou = shared / np.count_nonzero(mask | cut)
            box_iou = of_boxes.get(identity)
            found[identity] = KeptCheck(int(np.count_nonzero(mask)), float(iou), box_iou)
    return found


def _box_iou(source: Source) -> float | None:
    value = (source.label or {}).get("box_iou")
    return float(value) if isinstance(value, (int, float)) else None


def _geometries(
    references: Sequence[Located], image: Image.Image
) -> Iterator[tuple[str, Box, Array]]:
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


def read_checks(dataset: Any) -> dict[str, KeptCheck]:
    """The checks kept with a dataset, by reference id; none if damaged."""
    try:
        results = custom_runs.read(dataset, _KEY) or {}
        return {
            identity: KeptCheck(int(pixels), float(iou), *of_box)
            for identity, (pixels, iou, *of_box) in results.get("checks", {}).items()
        }
    except (AttributeError, TypeError, ValueError):
        return {}


def checks_state(dataset: Any) -> Hashable:
    """An id that changes whenever a process keeps checks; reads none of them."""
    document = custom_runs.document_of(dataset, _KEY)
    return None if document is None or not document.results else document.results.grid_id


def keep_checks(dataset: Any, found: Mapping[str, KeptCheck]) -> None:
    """Keep checks of some references, beside those of others.

    Raises:
        DatasetError: another process keeps checks for too long, or deleted the dataset.
    """
    with RunLock(dataset, _KEY, _PATIENCE, refusal=lambda by: _BUSY):
        # Those found now go to the end, also if they were kept before.
        others = {key: c for key, c in read_checks(dataset).items() if key not in found}
        newest = list({**others, **found}.items())[-_MOST_KEPT:]
        custom_runs.catch_up(dataset)
        if not dataset.has_run(_KEY):
            config = dataset.init_run()
            config.method = _KEY
            dataset.register_run(_KEY, config)
        checks = {name: [one.pixels, one.recut_iou, one.box_iou] for name, one in newest}
        custom_runs.replace(dataset, _KEY, checks=checks)
