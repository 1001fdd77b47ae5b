"""Taking a run's labels out of a field; what people made or judged stays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne

from ...worker.labels.kept_labels import KEPT
from ...worker.labels.label_bytes import IMAGE, WRITER
from ...worker.labels.made_labels import MADE, MADE_TAGS, made_of, made_tags_of
from ..database.fiftyone_internals import JOURNALED, reload_samples, samples_of
from ..database.locks import RunLock
from .peoples_labels import tags_by_label, untouched

_CLEARED_AT_ONCE = 200
_CLEAR_TRIES = 20


def clear(
    dataset: Any,
    field: str,
    sample_ids: Sequence[str],
    lock: RunLock,
    everything: bool = False,
    boxes: str | None = None,
) -> int:
    """Delete what runs wrote to a field of some samples; ids of deleted samples do no harm.

    Labels that people tagged, edited, judged or drew stay, unless ``everything`` goes; gives how
    many of them went. ``boxes`` is the field whose boxes the labels were made of, if they were.

    Labels with the token of a lock are deleted only if they were there before the lock was
    checked: a run that loses its lock here deletes nothing of the run that took over.

    Raises:
        LockLostError: another run took over.
    """
    dropped = take_away(samples_of(dataset), field, sample_ids, lock, everything, boxes)
    # Update samples held in memory, as FiftyOne's own clearing does.
    reload_samples(dataset)
    return dropped


def take_away(
    samples: Any,
    field: str,
    sample_ids: Sequence[str],
    lock: RunLock,
    everything: bool = False,
    boxes: str | None = None,
) -> int:
    """As ``clear``, of the database's collection; samples held in memory do not see it yet."""
    # Journaled before the run's record forgets that they are to be cleared.
    samples = samples.with_options(write_concern=JOURNALED)
    dropped, kept = 0, {} if everything else {f"{field}.{KEPT}": {"$ne": True}}
    for start in range(0, len(sample_ids), _CLEARED_AT_ONCE):
        left = [ObjectId(one) for one in sample_ids[start : start + _CLEARED_AT_ONCE]]
        seen = samples.distinct(f"{field}.{WRITER}", {"_id": {"$in": left}})
        lock.require()
        for _ in range(_CLEAR_TRIES):
            updates, touched = _clearing(samples, field, left, boxes, seen, everything)
            if not updates:
                break
            samples.bulk_write(list(updates.values()), ordered=False)
            # Of what somebody changed meanwhile is looked at once more what is there now.
            rest = {"_id": {"$in": list(updates)}, field: {"$ne": None}, **kept}
            left = [found["_id"] for found in samples.find(rest, {"_id": 1})]
            dropped += sum(count for one, count in touched.items() if one not in left)
    return dropped


def _clearing(
    samples: Any,
    field: str,
    ids: Sequence[ObjectId],
    boxes: str | None,
    seen: Sequence[Any],
    everything: bool,
) -> tuple[dict[ObjectId, UpdateOne], dict[ObjectId, int]]:
    """Updates that clear samples which nobody changes meanwhile, and how many of people's go."""
    wanted = {field: 1, "last_modified_at": 1}
    if boxes:
        wanted |= {f"{boxes}.detections._id": 1, f"{boxes}.detections.tags": 1}
    writers = {"$in": [None, *seen]}
    these = {"_id": {"$in": list(ids)}, field: {"$ne": None}, f"{field}.{WRITER}": writers}
    updates: dict[ObjectId, UpdateOne] = {}
    touched: dict[ObjectId, int] = {}
    for found in samples.find(these, wanted):
        held = found[field]
        labels = held.get("detections") or []
        gone = [] if held.get(KEPT) else untouched(held, tags_by_label(found, boxes))
        if everything or len(gone) == len(labels):
            touched[found["_id"]] = len(labels) - len(gone)
            cleared = {field: None, "last_modified_at": datetime.now(timezone.utc)}
            update: dict[str, Any] = {"$set": cleared}
        elif held.get(KEPT):
            continue
        else:
            update = without_labels(field, gone)
            stay = {str(label["_id"]) for label in labels} - {str(one) for one in gone}
            if isinstance(held.get(MADE), str):
                update["$set"][f"{field}.{MADE}"] = made_of(held[MADE], stay)
            if (tags := made_tags_of(held.get(MADE_TAGS), stay)) is not None:
                update["$set"][f"{field}.{MADE_TAGS}"] = tags
        unchanged = {"_id": found["_id"], f"{field}.{WRITER}": writers}
        unchanged["last_modified_at"] = found.get("last_modified_at")
        updates[found["_id"]] = UpdateOne(unchanged, update)
    return updates, touched


def without_labels(field: str, labels: Sequence[ObjectId]) -> dict[str, Any]:
    """The update that takes labels of a run away and leaves those of people, to be added to.

    How a run made the ones that stay is still told: who only tags a label has not edited it.
    """
    gone = ("run", WRITER, IMAGE)
    return {
        "$pull": {f"{field}.detections": {"_id": {"$in": list(labels)}}},
        "$set": {f"{field}.{KEPT}": True, "last_modified_at": datetime.now(timezone.utc)},
        "$unset": {f"{field}.{name}": "" for name in gone},
    }
