"""Copies of labels that runs made, in a field that no run replaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np

from ...engine.bank.memory_bank import Refused
from ...engine.images.load import shown_size
from ...engine.typing import Array
from ...errors import DatasetError, ImageError
from ...worker.labels.boxes import relative_box
from ..database.dataset_locks import schema_lock
from ..database.locks import RunLock
from ..database.run_record import catch_up
from ..labels.placed_masks import full_mask, placed_mask
from ..samples.checks import dataset_of
from ..samples.label_selection import LabelKey
from ..samples.views import all_images, load_sample
from .choose import ChosenReferences

KEPT_FIELD = "ntt_references"
"""The field of the copies."""

_SAME_OBJECT = 0.9
_PATIENCE = 30.0


@dataclass
class Kept:
    """The copy of each label, in the labels' order, and the labels that could not be copied."""

    copies: dict[LabelKey, LabelKey] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)


def keep_labels(chosen: ChosenReferences) -> Kept:
    """Copy labels into the field ``ntt_references`` of their samples, mask and all.

    A copy has class, box and mask, and no more. One of the same class that covers the same
    object (IoU >= 0.9) is there once only, whichever run found the object again.

    ``chosen`` are labels of a field of ``Detections``.

    Raises:
        DatasetError: the dataset's field of that name is of another type, or another process is
            writing it; or FiftyOne cannot load one of the samples.
    """
    dataset, kept = dataset_of(chosen.view), Kept()
    _require_detections(dataset)
    with RunLock(dataset, KEPT_FIELD, _PATIENCE) as lock:
        _declare(dataset)
        sample_ids = chosen.view.values("id")
        # A view, whose samples are read anew: another process may have changed them.
        samples = all_images(dataset).select(sample_ids).select_fields(KEPT_FIELD)
        for sample_id in sample_ids:
            try:
                labels = load_sample(chosen.view, sample_id).get_field(chosen.path)
                sample = load_sample(samples, sample_id)
            except KeyError:
                continue  # deleted, or its labels taken away, since the choice
            lock.require()
            _keep(sample, labels, chosen, kept)
    return kept


def copy_of(sample: Any, label: fo.Detection) -> fo.Detection | None:
    """The copy of a label that ``keep_labels`` would use again; None if there is none.

    ``sample`` holds the field ``ntt_references``, or has none.

    Raises:
        DatasetError, ImageError: the label has no usable mask, or the image cannot be read.
    """
    there = sample[KEPT_FIELD] if sample.has_field(KEPT_FIELD) else None
    if there is None or not there.detections:
        return None
    return _same(label, there.detections, shown_size(Path(sample.filepath)))


def _declare(dataset: Any) -> None:
    catch_up(dataset, KEPT_FIELD)
    if dataset.get_field(KEPT_FIELD) is None:
        with schema_lock(dataset):
            dataset.add_sample_field(
                KEPT_FIELD, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections
            )
    _require_detections(dataset)


def _require_detections(dataset: Any) -> None:
    found = dataset.get_field(KEPT_FIELD)
    if found is None or getattr(found, "document_type", None) is fo.Detections:
        return
    kind = getattr(found, "document_type", None) or type(found)
    raise DatasetError(
        f"Copies of predictions that become references are kept in the field {KEPT_FIELD!r}, but "
        f"that of {dataset.name!r} holds {kind.__name__}, not Detections; nothing was changed. "
        f"Rename it with dataset.rename_sample_field({KEPT_FIELD!r}, ...), or delete it."
    )


def _keep(
    sample: Any, labels: Sequence[fo.Detection], chosen: ChosenReferences, kept: Kept
) -> None:
    there = sample[KEPT_FIELD].detections if sample[KEPT_FIELD] else []
    copies = list(there)
    for label in labels:
        key = LabelKey(sample.id, chosen.field, label.id)
        try:
            size = shown_size(Path(sample.filepath))
            copy = _same(label, copies, size)
            if copy is None:
                copy = _copy(label, size)
                copies.append(copy)
        except (DatasetError, ImageError) as error:
            reason = f"{error} ({sample.filepath})"
            kept.refused.append(Refused(label.label, chosen.provenance(key), reason))
        else:
            kept.copies[key] = LabelKey(sample.id, KEPT_FIELD, copy.id)
    if len(copies) > len(there):
        sample[KEPT_FIELD] = fo.Detections(detections=copies)
        sample.save()


def _same(
    label: fo.Detection, copies: Sequence[fo.Detection], size: tuple[int, int]
) -> fo.Detection | None:
    """The copy of the same class that covers most of the same pixels, if it covers enough."""
    mask = full_mask(label, size)
    best, found = _SAME_OBJECT, None
    for copy in copies:
        if copy.label == label.label and (overlap := _iou(mask, copy, size)) >= best:
            best, found = overlap, copy
    return found


def _iou(mask: Array, copy: fo.Detection, size: tuple[int, int]) -> float:
    try:
        other = full_mask(copy, size)
    except DatasetError:  # a person edited it: it covers nothing
        return 0.0
    return float(np.count_nonzero(mask & other) / np.count_nonzero(mask | other))


def _copy(label: fo.Detection, size: tuple[int, int]) -> fo.Detection:
    placed = placed_mask(label, size)
    box = list(label.bounding_box)
    if not placed.as_stored:
        rows, columns = placed.mask.shape
        box = relative_box(
            (placed.left, placed.top, placed.left + columns, placed.top + rows), size
        )
    # Not the mask's file, which the next run replaces.
    return fo.Detection(label=label.label, bounding_box=box, mask=np.ascontiguousarray(placed.mask))
