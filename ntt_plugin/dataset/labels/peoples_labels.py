"""Which labels of a run's field people tagged, edited, judged or drew: no run takes them away."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from bson import ObjectId
from PIL import Image

from ...engine.typing import Array
from ...worker.labels.label_bytes import decode_mask
from ...worker.labels.made_labels import MADE, MADE_TAGS, label_digest, read_made, read_made_tags
from ..database.fiftyone_internals import samples_of
from ..database.run_record import boxes_of, read_facts
from ..runtime.caching import Remembered

REVIEW = "review"
"""The attribute of a label that says what a person said of it: one of the next two."""

APPROVED, REJECTED = "approved", "rejected"

TODO = "todo"
"""What a label that was edited says once a person put it back to do; others then say nothing."""

_AT_ONCE = 200
_ATTRIBUTES_OF_RUNS = ("bank", "source", "suggested")

_edited: Remembered[dict[ObjectId, tuple[Any, Sequence[str]]]] = Remembered(8)

TAGS_OF_TOOLS = frozenset({"below_threshold"})
"""Tags that this package gives labels by itself; they say nothing about people."""


def untouched(
    held: Mapping[str, Any], source_tags: Mapping[str, Collection[str]]
) -> list[ObjectId]:
    """Ids of the labels that a run made and nobody touched since.

    Args:
        held: what the field holds of a sample, as the database has it.
        source_tags: the tags of the labels that boxes came from, by their ids: a label made of a
            box has them too. They count only of versions that did not keep the tags as written.
    """
    made = read_made(held[MADE]) if isinstance(held.get(MADE), str) else None
    written = read_made_tags(held.get(MADE_TAGS))
    free = []
    for label in held.get("detections") or []:
        tags: Collection[str] = source_tags.get(str(label.get("source")), ())
        if written is not None:
            tags = written.get(str(label["_id"]), ())
        if not _is_peoples(label, made, tags):
            free.append(label["_id"])
    return free


def count_touched(dataset: Any, field: str, sample_ids: Sequence[str]) -> int:
    """How many labels of some samples people tagged, edited, judged or drew."""
    boxes = boxes_of(read_facts(dataset, field))
    wanted = {field: 1, **({f"{boxes}.detections": 1} if boxes else {})}
    count = 0
    for start in range(0, len(sample_ids), _AT_ONCE):
        ids = [ObjectId(one) for one in sample_ids[start : start + _AT_ONCE]]
        for found in samples_of(dataset).find({"_id": {"$in": ids}}, wanted):
            held = found.get(field) or {}
            labels = held.get("detections") or []
            count += len(labels) - len(untouched(held, tags_by_label(found, boxes)))
    return count


def edited_labels(dataset: Any, field: str, sample_ids: Sequence[str]) -> set[tuple[str, str]]:
    """Labels of a run's field that people drew or changed, by the ids of sample and label.

    What was found is remembered, and only samples that were modified since are read again. Fields
    that no run made, and those of versions that kept no digests, have none.
    """
    samples = samples_of(dataset)
    known = _edited.get((samples.name, field), dict)
    found: set[tuple[str, str]] = set()
    for start in range(0, len(sample_ids), _AT_ONCE):
        ids = [ObjectId(one) for one in sample_ids[start : start + _AT_ONCE]]
        these = {"_id": {"$in": ids}, f"{field}.{MADE}": {"$type": "string"}}
        stale = []
        for entry in samples.find(these, {"last_modified_at": 1}):
            state, labels = known.get(entry["_id"], (None, ()))
            if state is None or state != entry.get("last_modified_at"):
                stale.append(entry["_id"])
            found.update((str(entry["_id"]), label) for label in labels)
        for entry in samples.find({"_id": {"$in": stale}}, {field: 1, "last_modified_at": 1}):
            held, key = entry.get(field) or {}, str(entry["_id"])
            made = read_made(held.get(MADE) or "")
            labels = [
                str(label["_id"])
                for label in held.get("detections") or []
                if made and is_edited(label, made)
            ]
            known[entry["_id"]] = entry.get("last_modified_at"), labels
            found = {one for one in found if one[0] != key} | {(key, label) for label in labels}
    return found


def tags_by_label(found: Mapping[str, Any], boxes: str | None) -> dict[str, list[str]]:
    """The tags of the labels with the boxes that a run filled, by their ids."""
    labels = (found.get(boxes) or {}).get("detections") or [] if boxes else []
    return {str(label["_id"]): label.get("tags") or [] for label in labels}


def is_edited(label: Mapping[str, Any], made: Mapping[str, bytes]) -> bool:
    """Whether a label was drawn, or its class, box or mask changed, since a run made the others.

    Args:
        label: as the database has it.
        made: the digests of the labels as the run made them, by id.
    """
    digest = made.get(str(label["_id"]))
    if digest is None:
        return True
    try:
        return label_digest(label.get("label"), label["bounding_box"], _mask(label)) != digest
    # Its folder is not there at the moment; that is no work of a person on this label.
    except (FileNotFoundError, NotADirectoryError):
        return False
    # A person, or another program, may have left anything in its place.
    except Exception:
        return True


def stored_digest(label: Mapping[str, Any]) -> bytes | None:
    """The digest of a label as the database has it; None if its mask cannot be read."""
    try:
        return label_digest(label.get("label"), label["bounding_box"], _mask(label))
    # A person, or another program, may have left anything in it.
    except Exception:
        return None


def _is_peoples(
    label: Mapping[str, Any], made: Mapping[str, bytes] | None, source_tags: Collection[str]
) -> bool:
    if label.get(REVIEW) in (APPROVED, REJECTED):
        return True
    if set(label.get("tags") or ()) - TAGS_OF_TOOLS - set(source_tags):
        return True
    if made is None:
        # Of a version that kept no digests: what has none of a run's attributes was drawn.
        return all(label.get(name) is None for name in _ATTRIBUTES_OF_RUNS)
    return is_edited(label, made)


def _mask(label: Mapping[str, Any]) -> Array | None:
    if label.get("mask") is not None:
        return decode_mask(label["mask"])
    if label.get("mask_path") is None:
        return None
    with Image.open(label["mask_path"]) as image:
        return np.asarray(image)
