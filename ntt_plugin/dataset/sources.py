"""The labels that references came from, found again by their ids in whichever field has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from fiftyone.core.odm import get_db_conn

from ..engine.references import Provenance
from .checks import dataset_of

_LABEL_LISTS = ("detections", "polylines")
_SAMPLES_AT_ONCE = 500


@dataclass(frozen=True)
class Source:
    """What the database has of a reference at this moment.

    Attributes:
        filepath: its image.
        label: the label as MongoDB's document; None if it is gone.
    """

    filepath: str
    label: dict[str, Any] | None


def database_ids(ids: Iterable[str | None]) -> list[str]:
    """Of some ids, each once, those that FiftyOne may have given.

    A bank that the engine alone built names samples and labels as its builder liked to, and
    FiftyOne raises at the sight of such a name.
    """
    return [one for one in dict.fromkeys(ids) if one is not None and ObjectId.is_valid(one)]


def find_sources(provenances: Sequence[Provenance], dataset: Any = None) -> list[Source | None]:
    """Where references came from, as it is now: of each its image and its label.

    Asks the database once a dataset, loads no dataset and no other label of a sample.

    Args:
        provenances: of the references.
        dataset: where to look first, since a renamed dataset or a clone has the same ids; then in
            the dataset that each names. The latter alone if None.

    Returns:
        One entry for each provenance; None where the sample is gone or was never known.
    """
    found: dict[Provenance, Source] = {}
    if dataset is not None:
        collection = dataset_of(dataset)._doc.sample_collection_name
        found.update(_look_up(collection, provenances))
    others: dict[str, list[Provenance]] = {}
    for provenance in provenances:
        if provenance not in found and provenance.dataset:
            others.setdefault(provenance.dataset, []).append(provenance)
    for name, named in others.items():
        stored = get_db_conn().datasets.find_one({"name": name}, {"sample_collection_name": 1})
        if stored is not None:
            found.update(_look_up(stored["sample_collection_name"], named))
    return [found.get(provenance) for provenance in provenances]


def _look_up(
    collection: str, provenances: Iterable[Provenance]
) -> Iterator[tuple[Provenance, Source]]:
    """Of those whose sample a collection of MongoDB's has, the source."""
    by_sample: dict[ObjectId, list[Provenance]] = {}
    for provenance in provenances:
        if ObjectId.is_valid(provenance.sample):
            by_sample.setdefault(ObjectId(provenance.sample), []).append(provenance)
    samples = list(by_sample)
    for start in range(0, len(samples), _SAMPLES_AT_ONCE):
        asked = samples[start : start + _SAMPLES_AT_ONCE]
        labels = [
            ObjectId(provenance.label)
            for sample in asked
            for provenance in by_sample[sample]
            if ObjectId.is_valid(provenance.label)
        ]
        for stored in get_db_conn()[collection].aggregate(_pipeline(asked, labels)):
            held = {str(label["_id"]): label for label in stored["labels"]}
            for provenance in by_sample[stored["_id"]]:
                yield provenance, Source(stored["filepath"], held.get(provenance.label or ""))


def _pipeline(samples: list[ObjectId], labels: list[ObjectId]) -> list[dict[str, Any]]:
    """Samples with those of some labels that they have, in whichever field, and nothing else."""
    lists = [
        {"$cond": [{"$isArray": f"$$this.v.{name}"}, f"$$this.v.{name}", []]}
        for name in _LABEL_LISTS
    ]
    every = {
        "$reduce": {
            "input": {"$objectToArray": "$$ROOT"},
            "initialValue": [],
            "in": {"$concatArrays": ["$$value", *lists]},
        }
    }
    asked_for = {"$filter": {"input": every, "cond": {"$in": ["$$this._id", labels]}}}
    return [
        {"$match": {"_id": {"$in": samples}}},
        {"$project": {"filepath": 1, "labels": asked_for}},
    ]
