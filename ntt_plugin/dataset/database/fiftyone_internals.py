"""What this package uses of FiftyOne that FiftyOne does not promise: seen in version 1.22.

FiftyOne's public calls load, convert and save whole documents. A run has to ask the database
itself, and to change one document in one conditional step. ``custom_runs.py`` uses more: the list
of runs that a dataset object holds. ``tests/dataset/database/test_fiftyone_internals.py`` fails
first where a later version changes one of these.
"""

from __future__ import annotations

from typing import Any

import fiftyone.core.odm as foo
from pymongo import WriteConcern

from ...errors import DatasetError
from ..samples.checks import dataset_of

JOURNALED = WriteConcern(w="majority", j=True)
"""For writes that must be on the disk, with all before them, before what follows is done."""


def dataset_id(dataset: Any) -> Any:
    """The id of a dataset's document; ask while the dataset is there."""
    return dataset._doc.id


def samples_of(dataset: Any) -> Any:
    """The collection of MongoDB's that holds a dataset's samples."""
    return dataset._sample_collection


def database() -> Any:
    """FiftyOne's database, as pymongo gives it."""
    return foo.get_db_conn()


def datasets() -> Any:
    """The collection of datasets' documents: a change outlives the database's process."""
    return database().datasets.with_options(write_concern=JOURNALED)


def runs() -> Any:
    """The collection of custom runs' documents: a change outlives the database's process."""
    return database().runs.with_options(write_concern=JOURNALED)


def reload_runs(dataset: Any) -> None:
    """Let a dataset object read its list of runs again.

    The list alone: reloading the dataset would undo what people changed in their samples.
    """
    dataset._doc.reload("runs")


def reload_sample(sample: Any) -> None:
    """Let whoever holds a sample in memory see what the database has of it.

    Raises:
        DoesNotExist: it was deleted.
    """
    sample._reload_parents()


def stored_dataset(dataset: Any, *fields: str) -> dict[str, Any]:
    """Fields of a dataset's document, whichever process changed them last.

    FiftyOne 1.22 loads the document once, and a dataset object keeps what it loaded.

    Args:
        dataset: the dataset, or a view of it.
        *fields: their names in MongoDB, such as ``sample_fields.name``.

    Raises:
        DatasetError: the dataset was deleted.
    """
    dataset = dataset_of(dataset)
    wanted = dict.fromkeys(fields, 1)
    stored = datasets().find_one({"_id": dataset_id(dataset)}, wanted)
    if stored is None:
        raise DatasetError(f"The dataset {dataset.name!r} was deleted.")
    return dict(stored)


def datasets_with_runs(prefix: str) -> list[str]:
    """Names of the datasets that have a run whose key begins so, sorted; one query."""
    # FiftyOne 1.22: a dataset's document has the ids of its custom runs in ``runs``, by key.
    documents = datasets().find({"runs": {"$ne": {}}}, {"name": 1, "runs": 1})
    return sorted(
        document["name"]
        for document in documents
        if any(key.startswith(prefix) for key in document.get("runs") or {})
    )


def has_sample(dataset: Any, condition: dict[str, Any]) -> bool:
    """Whether a sample of a dataset, in any group slice, meets a condition of MongoDB's.

    FiftyOne 1.22 keeps the samples of all slices in one collection, ``_sample_collection``.
    """
    samples = samples_of(dataset_of(dataset))
    return samples.find_one(condition, {"_id": 1}) is not None
