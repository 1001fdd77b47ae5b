"""Which labels of a run's field people tagged, edited, judged or drew: no run takes them away."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from bson import ObjectId
from PIL import Image

from ...engine.typing import Array
from ...worker.labels.label_bytes import decode_mask
from ...worker.labels.made_labels import MADE, label_digest, read_made
from ..database.fiftyone_internals import samples_of
from ..database.run_record import read_facts

REVIEW = "review"
"""The attribute of a label that says what a person said of it: one of the next two."""

APPROVED, REJECTED = "approved", "rejected"

_AT_ONCE = 200
_ATTRIBUTES_OF_RUNS = ("bank", "source", "suggested")

TAGS_OF_TOOLS = frozenset({"below_threshold"})
"""Tags that this package gives labels by itself; they say nothing about people."""


def untouched(
    held: Mapping[str, Any], source_tags: Mapping[str, Collection[str]]
) -> list[ObjectId]:
    """Ids of the labels that a run made and nobody touched since.

    Args:
        held: what the field holds of a sample, as the database has it.
        source_tags: the tags of the labels that boxes came from, by their ids: a label made of a
            box has them too.
    """
    made = read_made(held[MADE]) if isinstance(held.get(MADE), str) else None
    return [
        label["_id"]
        for label in held.get("detections") or []
        if not _is_peoples(label, made, source_tags.get(str(label.get("source")), ()))
    ]


def count_touched(dataset: Any, field: str, sample_ids: Sequence[str]) -> int:
    """How many labels of some samples people tagged, edited, judged or drew."""
    boxes = read_facts(dataset, field).get("boxes")
    wanted = {field: 1, **({f"{boxes}.detections": 1} if boxes else {})}
    count = 0
    for start in range(0, len(sample_ids), _AT_ONCE):
        ids = [ObjectId(one) for one in sample_ids[start : start + _AT_ONCE]]
        for found in samples_of(dataset).find({"_id": {"$in": ids}}, wanted):
            held = found.get(field) or {}
            labels = held.get("detections") or []
            count += len(labels) - len(untouched(held, tags_by_label(found, boxes)))
    return count


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
    # A person, or another program, may have left anything in its place.
    except Exception:
        return True


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
