"""How good the references of a saved bank are, which ones to look at, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...engine.bank import quality
from ...engine.bank.memory_bank import MemoryBank, StoredReference
from ...engine.bank.quality import ReferenceQuality, find_badly_cut, find_duplicates, find_outliers
from ...engine.references import Box, Provenance
from ..database.errors import database_errors
from ..database.label_lookup import find_sources
from ..labels.orientation import turned_references
from ..runtime.caching import Remembered, in_own_thread
from ..runtime.progress_bar import Progress, progress_bar
from ..segmenters import SegmenterLike, get_segmenter
from . import store
from .mask_check import KeptCheck, by_image, checks_state, keep_checks, read_checks, recut

# Pixels of a mask, or of a box where the mask was not looked at: 12 x 12.
_SMALLEST = 144
# Mean width of a mask to the longer side of its box: about a patch of the encoder's grid.
_THINNEST = 1 / 30


# A panel asks for the same ones over and over; reading a large bank takes a third of a second.
_MOST_BANKS = 8


@dataclass(frozen=True)
class ReferenceCheck:
    """What is known of one reference, or negative, of a bank.

    Attributes:
        id: the reference's id.
        label: its class; of a negative, the class that it is a negative of.
        negative: whether it is one.
        own: cosine to the mean of its class's other references; nan if it is the only one. Of a
            negative: to the mean of its class's references.
        nearest_class: the other class whose references are nearest; None with one class.
        nearest: cosine to their mean; nan with one class.
        pixels: of its mask; None if ``check_references`` did not look at it.
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
_compared: Remembered[tuple[list[str], np.ndarray[Any, Any]]] = Remembered(_MOST_BANKS)


@database_errors("nothing was changed; start again when it is back.")
def reference_quality(dataset: Any, name: str) -> list[ReferenceCheck]:
    """How good a saved bank's references are, from what is kept; loads no network and no pixel.

    Args:
        dataset: the dataset, or a view of it.
        name: the bank's name in the dataset.

    Returns:
        Of every class its references, then its negatives, in order of addition.

    Raises:
        DatasetError: there is no such bank.
        BankError: the bank is damaged.
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
    """
    dataset = store.require_bank(dataset, name)
    bank = store.read(dataset, name)
    references = [entry for label in bank.classes for entry in bank.references(label)]
    sources = find_sources([entry.provenance for entry in references], dataset)
    images = by_image(zip(references, sources, strict=True))
    found: dict[str, KeptCheck] = {}
    if images:
        loaded = segmenter or get_segmenter(bank.recipe, device)
        try:
            with progress_bar(len(images), progress, "images") as bar:
                for of_image in bar(images):
                    found |= recut(of_image, loaded)
        finally:
            if found:
                keep_checks(dataset, found)
    return _checks(bank, read_checks(dataset), dataset)


@database_errors("nothing was changed; start again when it is back.")
def class_similarity(dataset: Any, name: str) -> tuple[list[str], np.ndarray[Any, Any]]:
    """How alike a saved bank's classes are.

    Args:
        dataset: the dataset, or a view of it.
        name: the bank's name in the dataset.

    Returns:
        The classes, and the cosines of their prototypes, float32 (k, k).

    Raises:
        DatasetError: there is no such bank.
        BankError: the bank is damaged.
    """
    dataset = store.require_bank(dataset, name)
    classes, similarity = _compared.get(
        store.state(dataset, name),
        lambda: in_own_thread(lambda: _compare(store.read(dataset, name))),
    )
    return list(classes), similarity.copy()


def _compare(bank: MemoryBank) -> tuple[list[str], np.ndarray[Any, Any]]:
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
    for _, negative, stored in bank.entries():
        flags = [found[stored.id] for found in reasons if stored.id in found]
        check = kept.get(stored.id)
        if not negative:
            flags += _size_flags(check, stored.provenance.box)
        checks.append(_check(qualities[stored.id], stored, negative, check, flags))
    return checks


def _check(
    entry: ReferenceQuality,
    stored: StoredReference,
    negative: bool,
    check: KeptCheck | None,
    flags: list[str],
) -> ReferenceCheck:
    return ReferenceCheck(
        id=entry.id,
        label=entry.label,
        negative=negative,
        own=entry.own,
        nearest_class=entry.nearest_class,
        nearest=entry.nearest,
        pixels=None if check is None else check.pixels,
        recut_iou=None if check is None else check.recut_iou,
        flags=tuple(flags),
        provenance=stored.provenance,
    )


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
