"""What a person said of a label, kept with the label: its attribute ``review``.

Each mark carries the id of the step that made it (``review_step``), and a change applies only to a
label that still carries the step that the change started from. So two people, or a step that is
taken up again after a crash, never overwrite what came in between.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

import fiftyone as fo
from bson import ObjectId
from pymongo import UpdateOne

from ..database.fiftyone_internals import reload_samples, samples_of
from ..samples.checks import dataset_of
from .label_field import declare_fields
from .peoples_labels import APPROVED, REJECTED, REVIEW, TODO

__all__ = [
    "APPROVED",
    "REJECTED",
    "REVIEW",
    "STEP",
    "TODO",
    "Change",
    "Mark",
    "as_text",
    "half_reviewed",
]

STEP = "review_step"

_AT_ONCE = 1000


class Mark(NamedTuple):
    """A label's class, what was said of it, and the step that said it; None for nothing."""

    label: str | None
    review: str | None
    step: str | None

    @property
    def is_judged(self) -> bool:
        """Whether a person approved or rejected the label."""
        return self.review in (APPROVED, REJECTED)


@dataclass(frozen=True)
class Change:
    """What a label is and what it is to be."""

    sample: str
    label_id: str
    before: Mark
    after: Mark

    @property
    def key(self) -> tuple[str, str]:
        """The ids of the label's sample and its own."""
        return self.sample, self.label_id


def as_text(value: Any) -> str | None:
    """A text of the database; None for anything else that a program may have left in its place."""
    return value if isinstance(value, str) else None


def half_reviewed(counts: Sequence[int]) -> str:
    """What to say of images that are handed on, of which so many labels each are to do."""
    one = len(counts) == 1
    images = "1 image still holds" if one else f"{len(counts):,} images still hold"
    labels = "1 label" if sum(counts) == 1 else f"{sum(counts):,} labels"
    return f"{images} {labels} to review, left out here: objects may be missing there"


def declare_review(dataset: Any, field: str) -> None:
    """Let the App filter a field's labels by what was said of them."""
    path = f"{field}.detections.{REVIEW}"
    if dataset.get_field(path) is None:
        declare_fields(dataset, {path: fo.StringField()})


def read_marks(
    dataset: Any, field: str, label_ids: Iterable[str], sample_ids: Iterable[str] | None = None
) -> dict[tuple[str, str], Mark]:
    """The marks of labels, by the ids of their sample and their own, as the database has them.

    ``sample_ids`` are the samples to look in; all if None, which reads every sample.
    """
    wanted = [ObjectId(label) for label in label_ids if ObjectId.is_valid(label)]
    found: dict[tuple[str, str], Mark] = {}
    for some in _portions(wanted if sample_ids is None else list(dict.fromkeys(sample_ids))):
        if sample_ids is None:
            these: dict[str, Any] = {f"{field}.detections._id": {"$in": some}}
            ids = some
        else:
            these = {"_id": {"$in": [ObjectId(one) for one in some if ObjectId.is_valid(one)]}}
            ids = wanted
        for document in samples_of(dataset).aggregate(_marks_pipeline(field, these, ids)):
            for label in document.get("labels") or []:
                mark = Mark(*(as_text(label.get(name)) for name in ("label", REVIEW, STEP)))
                found[str(document["_id"]), str(label["_id"])] = mark
    return found


def apply_changes(dataset: Any, field: str, changes: Sequence[Change]) -> set[tuple[str, str]]:
    """Change the labels that are as the changes expect; gives those that are as wanted now.

    Each sample is changed in one step. To apply the same changes once more does no harm.
    """
    updates = _updates(field, changes)
    samples = samples_of(dataset)
    for some in _portions(updates):
        samples.bulk_write(some, ordered=False)
    if updates:
        reload_samples(dataset_of(dataset))
    keys = [change.label_id for change in changes]
    held = read_marks(dataset, field, keys, [change.sample for change in changes])
    return {change.key for change in changes if held.get(change.key) == change.after}


def _updates(field: str, changes: Sequence[Change]) -> list[UpdateOne]:
    alike: dict[tuple[str, Mark, Mark], list[ObjectId]] = defaultdict(list)
    for change in changes:
        alike[change.sample, change.before, change.after].append(ObjectId(change.label_id))
    path = f"{field}.detections"
    updates, now = [], datetime.now(timezone.utc)
    for (sample, before, after), ids in alike.items():
        expected = {"label": before.label, REVIEW: before.review, STEP: before.step}
        values = {"label": after.label, REVIEW: after.review, STEP: after.step}
        kept = {f"{path}.$[one].{name}": v for name, v in values.items() if v is not None}
        gone = {f"{path}.$[one].{name}": "" for name, v in values.items() if v is None}
        updates.append(
            UpdateOne(
                {"_id": ObjectId(sample), f"{path}._id": {"$in": ids}},
                {"$set": {**kept, "last_modified_at": now}, **({"$unset": gone} if gone else {})},
                # For MongoDB, None is equal to what is not there.
                array_filters=[
                    {
                        "one._id": {"$in": ids},
                        **{f"one.{name}": value for name, value in expected.items()},
                    }
                ],
            )
        )
    return updates


def _marks_pipeline(
    field: str, these: dict[str, Any], ids: Sequence[ObjectId]
) -> list[dict[str, Any]]:
    chosen = {
        "$filter": {
            "input": {"$ifNull": [f"${field}.detections", []]},
            "as": "one",
            "cond": {"$in": ["$$one._id", list(ids)]},
        }
    }
    # Without the masks, which may be gigabytes.
    bare = {name: f"$$one.{name}" for name in ("_id", "label", REVIEW, STEP)}
    labels = {"$map": {"input": chosen, "as": "one", "in": bare}}
    return [{"$match": these}, {"$project": {"labels": labels}}]


def _portions(entries: Sequence[Any]) -> Iterable[Sequence[Any]]:
    for start in range(0, len(entries), _AT_ONCE):
        yield entries[start : start + _AT_ONCE]
