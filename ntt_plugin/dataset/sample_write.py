"""One sample's labels into the database: in one step, and only where no labels are.

The files of its masks come first. So a sample has all its labels or none, whenever a run ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import fiftyone as fo
from bson import ObjectId
from pymongo.errors import ConnectionFailure, DocumentTooLarge, OperationFailure

from .label_field import RunIds, run_of
from .mask_files import MaskFiles, are_too_large
from .new_label import NewLabel
from .run_lock import RunLock
from .run_record import is_stored

_TOO_LARGE_CODES = (10334, 17419, 17420)


class FilledError(Exception):
    """The sample got labels from elsewhere meanwhile, which are not to be replaced."""

    def __init__(self) -> None:
        super().__init__("it got labels from elsewhere meanwhile, which are left as they are")


@dataclass(frozen=True)
class Target:
    """Where labels are written.

    Attributes:
        dataset: the dataset.
        dataset_id: its id; one that was deleted does not tell it any more.
        field: the field.
        run: the run's id, kept with each sample's labels.
        masks: where files of masks go.
        all_in_files: write every mask to a file, not only what is too large for the database.
        lock: the field's lock, held.
    """

    dataset: Any
    dataset_id: Any
    field: str
    run: RunIds
    masks: MaskFiles
    all_in_files: bool
    lock: RunLock

    def is_there(self) -> bool:
        """Whether the database has the dataset and the field, at this moment."""
        return is_stored(self.dataset_id, self.field)


def write_labels(target: Target, sample: Any, labels: list[NewLabel]) -> list[str]:
    """Write a sample's labels; masks that go to files are taken out of them.

    Args:
        target: where to.
        sample: the sample. What holds it in memory does not see its labels yet.
        labels: the labels, with masks.

    Returns:
        What is to be noted of it, a sentence each.

    Raises:
        FilledError: the sample got labels from elsewhere.
        LookupError: the sample or the field is there no more.
        LockLostError: another run took over.
        MaskFolderError: its masks cannot be written to files.
    """
    try:
        return _write_with_files(target, sample, labels)
    except (FilledError, LookupError):
        if any(label.mask_path is not None for label in labels):
            target.masks.drop_leftovers(sample.id, [])
        raise


def drop_strays(target: Target) -> None:
    """Take away labels that were written while somebody deleted their field.

    FiftyOne takes the values out of the samples first and the field off the dataset after. What
    is written in between is the value of no field, and FiftyOne cannot load a sample with one.

    Args:
        target: where labels were written; nothing writes there any more.
    """
    if target.is_there() or target.dataset.deleted:
        return
    target.dataset._sample_collection.update_many(
        {f"{target.field}.run": {"$exists": True}}, {"$unset": {target.field: ""}}
    )


def _write_with_files(target: Target, sample: Any, labels: list[NewLabel]) -> list[str]:
    notes = []
    if target.all_in_files:
        _store(target, sample.id, labels)
    elif are_too_large([label.mask for label in labels if label.mask is not None]):
        _store(target, sample.id, labels)
        notes.append(_in_files(target))
    try:
        _write(target, sample.id, labels)
    except (DocumentTooLarge, OperationFailure) as error:
        if not _is_too_large(error) or all(label.mask is None for label in labels):
            raise
        _store(target, sample.id, labels)
        notes.append(_in_files(target))
        _write(target, sample.id, labels)
    target.masks.drop_leftovers(sample.id, labels)
    return notes


def _store(target: Target, sample_id: str, labels: list[NewLabel]) -> None:
    _require_free(target, sample_id)
    target.masks.store(sample_id, labels)


def _write(target: Target, sample_id: str, labels: list[NewLabel]) -> None:
    target.lock.require()
    run = run_of(target.run, sample_id)
    document = {
        **fo.Detections(run=run).to_dict(),
        "detections": [label.document() for label in labels],
    }
    try:
        _update(target, sample_id, document)
    except ConnectionFailure:
        # A database that is being restarted is waited for, once.
        target.lock.require()
        _update(target, sample_id, document)


def _require_free(target: Target, sample_id: str) -> None:
    """Make sure that nobody took over or labelled the sample while its image was worked on."""
    target.lock.require()
    held = {"_id": ObjectId(sample_id), target.field: {"$ne": None}}
    if target.dataset._sample_collection.find_one(held, {"_id": 1}) is not None:
        raise FilledError


def _update(target: Target, sample_id: str, document: Mapping[str, Any]) -> None:
    """Write labels as FiftyOne keeps them, if the sample has no others: in one step.

    ``sample.save()`` cannot say of which state it takes the sample to be.
    """
    # A field that was deleted meanwhile must not come back.
    if not target.is_there():
        raise LookupError(f"There is no field {target.field!r} any more.")
    found = target.dataset._sample_collection.update_one(
        {"_id": ObjectId(sample_id), "$or": [{target.field: None}, _holds(target.field, document)]},
        {"$set": {target.field: document, "last_modified_at": datetime.now(timezone.utc)}},
    )
    if not found.matched_count:
        _require_free(target, sample_id)
        raise LookupError("The sample was deleted.")


def _holds(field: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """That a field holds these very labels: a connection may be lost after they were written."""
    ids = [label["_id"] for label in document["detections"]]
    same_run = {"$eq": [f"${field}.run", {"$literal": document["run"]}]}
    return {"$expr": {"$and": [same_run, {"$eq": [f"${field}.detections._id", ids]}]}}


def _is_too_large(error: Exception) -> bool:
    return isinstance(error, DocumentTooLarge) or getattr(error, "code", 0) in _TOO_LARGE_CODES


def _in_files(target: Target) -> str:
    return f"its masks are too large for the database; they are files below {target.masks.root}"
