"""The labels that references came from, found again by sample, field and id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np
from bson import ObjectId

from ...engine.references import Provenance
from ..database.fiftyone_internals import database, samples_of
from .checks import dataset_of
from .label_selection import LabelKey

_LABEL_LISTS = ("detections", "polylines")
_SAMPLES_AT_ONCE = 500
_SHAPE = ("_cls", "bounding_box", "mask_path", "points", "closed", "filled")


@dataclass(frozen=True)
class Source:
    """What the database has of a reference at this moment.

    Attributes:
        label: the label as MongoDB's document; None if it is gone.
        field: the field that holds the label now; None if it is gone.
    """

    filepath: str
    label: dict[str, Any] | None
    field: str | None = None


def database_ids(ids: Iterable[str | None]) -> list[str]:
    """Of some ids, each once, those that FiftyOne may have given.

    A bank that the engine alone built names samples and labels as its builder liked to, and
    FiftyOne raises at the sight of such a name.
    """
    return [one for one in dict.fromkeys(ids) if one is not None and ObjectId.is_valid(one)]


def find_sources(provenances: Sequence[Provenance], dataset: Any = None) -> list[Source | None]:
    """The image and the label of each reference, as they are now; None where the sample is gone.

    Asks the database once a dataset, loads no dataset and no other label of a sample. Looks in
    the dataset that a reference names: a clone of it holds labels of the same ids, which may have
    been changed since.

    ``dataset`` is where to look for labels that the named dataset does not hold, because it was
    renamed or deleted.
    """
    found: dict[Provenance, Source] = {}
    named: dict[str, list[Provenance]] = {}
    for provenance in provenances:
        if provenance.dataset:
            named.setdefault(provenance.dataset, []).append(provenance)
    for name, of_dataset in named.items():
        stored = database().datasets.find_one({"name": name}, {"sample_collection_name": 1})
        if stored is not None:
            found.update(_look_up(stored["sample_collection_name"], of_dataset))
    if dataset is not None:
        missing = [one for one in provenances if one not in found or found[one].label is None]
        for provenance, source in _look_up(_collection(dataset), missing):
            if provenance not in found or source.label is not None:
                found[provenance] = source
    return [found.get(provenance) for provenance in provenances]


def find_labels(provenances: Sequence[Provenance], dataset: Any) -> list[LabelKey | None]:
    """The labels of a dataset that references came from; None where it does not hold the label.

    ``dataset`` may be a view, or a clone of the dataset that they name.
    """
    found = dict(_look_up(_collection(dataset), provenances))
    sources = [found.get(one) for one in provenances]
    return [
        LabelKey(str(one.sample), source.field, str(one.label)) if source and source.field else None
        for one, source in zip(provenances, sources, strict=True)
    ]


def redrawn_labels(provenances: Iterable[Provenance], dataset: Any) -> set[LabelKey]:
    """Labels of a dataset that were redrawn since references with the same ids were learnt.

    A clone of a dataset has its banks and the ids of its labels. A label whose box or mask was
    changed on one of the two sides is another one than the bank learnt.

    Of ``provenances`` those from another dataset that is there matter.
    """
    name = dataset_of(dataset).name
    foreign = [one for one in provenances if one.dataset not in (None, name)]
    found = dict(_look_up(_collection(dataset), foreign)) if foreign else {}
    redrawn = set()
    for one, theirs in zip(foreign, find_sources(foreign), strict=True):
        ours = found.get(one)
        if ours is None or ours.label is None or theirs is None or theirs.label is None:
            continue
        if not _same_shape(ours.label, theirs.label):
            redrawn.add(LabelKey(str(one.sample), str(ours.field), str(one.label)))
    return redrawn


def _same_shape(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if any(one.get(name) != other.get(name) for name in _SHAPE):
        return False
    masks = one.get("mask"), other.get("mask")
    if masks[0] == masks[1] or None in masks:
        return bool(masks[0] == masks[1])
    # Equal masks may be packed into unequal bytes.
    decoded = [fo.Detection.from_dict(dict(label)).mask for label in (one, other)]
    return np.array_equal(*decoded)


def _collection(dataset: Any) -> str:
    return str(samples_of(dataset_of(dataset)).name)


def _look_up(
    collection: str, provenances: Sequence[Provenance]
) -> Iterator[tuple[Provenance, Source]]:
    """Of those whose sample a collection of MongoDB's has, the source."""
    by_sample: dict[ObjectId, list[Provenance]] = {}
    for provenance in provenances:
        if ObjectId.is_valid(provenance.sample):
            by_sample.setdefault(ObjectId(provenance.sample), []).append(provenance)
    # References without a field are of an earlier version; the bank learnt others of these.
    likely = {provenance.field for provenance in provenances if provenance.field}
    samples = list(by_sample)
    for start in range(0, len(samples), _SAMPLES_AT_ONCE):
        asked = samples[start : start + _SAMPLES_AT_ONCE]
        labels = [
            ObjectId(provenance.label)
            for sample in asked
            for provenance in by_sample[sample]
            if ObjectId.is_valid(provenance.label)
        ]
        for stored in database()[collection].aggregate(_pipeline(asked, labels)):
            for provenance in by_sample[stored["_id"]]:
                yield provenance, _source(stored, provenance, likely)


def _source(stored: Mapping[str, Any], provenance: Provenance, likely: set[str]) -> Source:
    """The label of a sample's document that a provenance names, in its field.

    A field that the sample no longer has was renamed, so the label is looked for in every field,
    as one whose field is not known: in the first of those that hold it.
    """
    held = {
        entry["field"]: entry["label"]
        for entry in stored["labels"]
        if str(entry["label"]["_id"]) == provenance.label
    }
    field = provenance.field
    if field is None or field not in stored["fields"]:
        field = next((name for name in held if name in likely), next(iter(held), None))
    label = held.get(field or "")
    return Source(stored["filepath"], label, None if label is None else field)


def _pipeline(samples: list[ObjectId], labels: list[ObjectId]) -> list[dict[str, Any]]:
    """Samples with those of some labels that they have, by field, and nothing else."""
    lists = [
        {
            "$map": {
                "input": {"$cond": [{"$isArray": f"$$this.v.{name}"}, f"$$this.v.{name}", []]},
                "as": "label",
                "in": {"field": "$$this.k", "label": "$$label"},
            }
        }
        for name in _LABEL_LISTS
    ]
    every = {
        "$reduce": {
            "input": {"$objectToArray": "$$ROOT"},
            "initialValue": [],
            "in": {"$concatArrays": ["$$value", *lists]},
        }
    }
    asked_for = {"$filter": {"input": every, "cond": {"$in": ["$$this.label._id", labels]}}}
    names = {"$map": {"input": {"$objectToArray": "$$ROOT"}, "in": "$$this.k"}}
    return [
        {"$match": {"_id": {"$in": samples}}},
        {"$project": {"filepath": 1, "labels": asked_for, "fields": names}},
    ]
