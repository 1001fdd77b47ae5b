"""One sample's labels into the database: in one step, and only where no labels are.

The files of its masks come first. So a sample has all its labels or none, whenever a run ends.

A process that was paused may write after another run has taken its lock, for the database can
compare with the sample's own document only. So labels carry the token of the lock. A writer looks
after each write whether it still held the lock, and takes its labels away if it did not; and the
run that took over replaces labels with the token of an overtaken one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import fiftyone as fo
from bson import ObjectId
from pymongo.errors import DocumentTooLarge, OperationFailure

from ..database.errors import with_patience
from ..database.locks import LockLostError, RunLock
from ..database.run_record import is_stored
from ..labels.convert import NewLabel
from ..labels.label_field import WRITER, RunIds, run_of
from ..labels.mask_files import MaskFiles, are_too_large
from .changed_images import IMAGE

_TOO_LARGE_CODES = (10334, 17419, 17420)
_TRIES = 5
_LOOKED_UP_AT_ONCE = 1000


class FilledError(Exception):
    """The sample received labels from elsewhere during the run; they are not replaced."""

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


def write_labels(
    target: Target, sample: Any, labels: list[NewLabel], image: str | None = None
) -> list[str]:
    """Write a sample's labels; masks that go to files are taken out of them.

    Args:
        target: where to.
        sample: the sample. What holds it in memory does not see its labels yet.
        labels: the labels, with masks.
        image: the state of its image's file, kept with the labels.

    Returns:
        What is to be noted of it, a sentence each.

    Raises:
        FilledError: the sample got labels from elsewhere.
        LookupError: the sample or the field is there no more.
        LockLostError: another run took over.
        MaskFolderError: its masks cannot be written to files.
    """
    try:
        return _write_with_files(target, sample, labels, image)
    except (FilledError, LookupError, LockLostError):
        if any(label.mask_path is not None for label in labels):
            # The run that took over may have kept what was written.
            target.masks.drop_leftovers(sample.id, _used_files(target, sample.id))
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
        {f"{target.field}.{WRITER}": target.lock.token}, {"$unset": {target.field: ""}}
    )


def unsettled(target: Target, sample_ids: Sequence[str], overtaken: Sequence[str]) -> list[str]:
    """Which samples, counted as done, do not hold labels of this run; one pass over them.

    Labels that an overtaken run made under the same id become this run's own, so that it cannot
    take them back any more.

    Args:
        target: where labels were written.
        sample_ids: the samples.
        overtaken: tokens of overtaken runs whose processes may live.

    Returns:
        Their ids, in order; without those that were deleted.
    """
    samples, writer = target.dataset._sample_collection, f"{target.field}.{WRITER}"
    lost: list[str] = []
    for start in range(0, len(sample_ids), _LOOKED_UP_AT_ONCE):
        some = sample_ids[start : start + _LOOKED_UP_AT_ONCE]
        these = {"_id": {"$in": [ObjectId(sample_id) for sample_id in some]}}
        if overtaken:
            target.lock.require()
            stale = {**these, writer: {"$in": list(overtaken)}}
            samples.update_many(stale, {"$set": {writer: target.lock.token}})
        found = samples.find(these, {f"{target.field}.run": 1})
        held = {str(entry["_id"]): (entry.get(target.field) or {}).get("run") for entry in found}
        lost += [key for key in some if key in held and held[key] != run_of(target.run, key)]
    return lost


def require_replaceable(target: Target, held: Any) -> None:
    """Make sure that a sample's labels may be written where there are others.

    Args:
        target: where to.
        held: what the field holds: FiftyOne's label, or None.

    Raises:
        FilledError: it is not what a run wrote that was overtaken while its process may live.
    """
    if held is None:
        return
    writer = getattr(held, WRITER, None)
    if writer is None or writer not in target.lock.overtaken():
        raise FilledError


def _write_with_files(
    target: Target, sample: Any, labels: list[NewLabel], image: str | None
) -> list[str]:
    notes = []
    if target.all_in_files:
        _store(target, sample.id, labels)
    elif are_too_large([label.mask for label in labels if label.mask is not None]):
        _store(target, sample.id, labels)
        notes.append(_in_files(target))
    try:
        _write(target, sample.id, labels, image)
    except (DocumentTooLarge, OperationFailure) as error:
        if not _is_too_large(error) or all(label.mask is None for label in labels):
            raise
        _store(target, sample.id, labels)
        notes.append(_in_files(target))
        _write(target, sample.id, labels, image)
    target.masks.drop_leftovers(sample.id, [label.mask_path for label in labels])
    return notes


def _store(target: Target, sample_id: str, labels: list[NewLabel]) -> None:
    target.lock.require()
    _require_free(target, sample_id)
    target.masks.store(sample_id, labels)


def _write(target: Target, sample_id: str, labels: list[NewLabel], image: str | None) -> None:
    document = {
        **fo.Detections(run=run_of(target.run, sample_id)).to_dict(),
        WRITER: target.lock.token,
        "detections": [label.document() for label in labels],
    }
    if image is not None:
        document[IMAGE] = image

    def update() -> None:
        target.lock.require()
        _update(target, sample_id, document)

    with_patience(update)
    try:
        target.lock.require()
    except LockLostError:
        _take_back(target, sample_id)
        raise


def _update(target: Target, sample_id: str, document: Mapping[str, Any]) -> None:
    """Write labels as FiftyOne keeps them, if the sample has no others: in one step.

    ``sample.save()`` cannot say of which state it takes the sample to be.
    """
    # A field that was deleted meanwhile must not come back.
    if not target.is_there():
        raise LookupError(f"There is no field {target.field!r} any more.")
    # Its own labels too: a connection may be lost after they were written.
    writers = [target.lock.token]
    for _ in range(_TRIES):
        free = [{target.field: None}, {f"{target.field}.{WRITER}": {"$in": writers}}]
        found = target.dataset._sample_collection.update_one(
            {"_id": ObjectId(sample_id), "$or": free},
            {"$set": {target.field: document, "last_modified_at": datetime.now(timezone.utc)}},
        )
        if found.matched_count:
            return
        target.lock.require()
        writers = [target.lock.token, *_require_free(target, sample_id)]
    raise FilledError


def _require_free(target: Target, sample_id: str) -> list[str]:
    """Make sure that a sample is there and has no labels but those of an overtaken run.

    Returns:
        The tokens whose labels may be replaced.

    Raises:
        FilledError: it has others.
        LookupError: it was deleted.
    """
    writer = f"{target.field}.{WRITER}"
    stored = target.dataset._sample_collection.find_one(
        {"_id": ObjectId(sample_id)}, {writer: 1, f"{target.field}._cls": 1}
    )
    if stored is None:
        raise LookupError("The sample was deleted.")
    held = stored.get(target.field)
    if held is None:
        return []
    overtaken = target.lock.overtaken()
    if held.get(WRITER) is None or held[WRITER] not in overtaken:
        raise FilledError
    return overtaken


def _used_files(target: Target, sample_id: str) -> list[str]:
    """The files that a sample's labels name now."""
    path = f"{target.field}.detections.mask_path"
    samples = target.dataset._sample_collection
    return [used for used in samples.distinct(path, {"_id": ObjectId(sample_id)}) if used]


def _take_back(target: Target, sample_id: str) -> None:
    """Undo what was written after the lock was lost, unless another run replaced or kept it."""
    mine = {"_id": ObjectId(sample_id), f"{target.field}.{WRITER}": target.lock.token}
    target.dataset._sample_collection.update_one(mine, {"$set": {target.field: None}})


def _is_too_large(error: Exception) -> bool:
    return isinstance(error, DocumentTooLarge) or getattr(error, "code", 0) in _TOO_LARGE_CODES


def _in_files(target: Target) -> str:
    return f"its masks are too large for the database; they are files below {target.masks.root}"
