"""FiftyOne's documents in MongoDB, read past its API; names of fields as seen in FiftyOne 1.22."""

from __future__ import annotations

from typing import Any

from fiftyone.core.odm import get_db_conn

from ...errors import DatasetError
from ..samples.checks import dataset_of


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
    # FiftyOne 1.22: ``_doc`` is the dataset's document.
    stored = get_db_conn().datasets.find_one({"_id": dataset._doc.id}, wanted)
    if stored is None:
        raise DatasetError(f"The dataset {dataset.name!r} was deleted.")
    return dict(stored)


def datasets_with_runs(prefix: str) -> list[str]:
    """Names of the datasets that have a run whose key begins so, sorted; one query."""
    # FiftyOne 1.22: a dataset's document has the ids of its custom runs in ``runs``, by key.
    documents = get_db_conn().datasets.find({"runs": {"$ne": {}}}, {"name": 1, "runs": 1})
    return sorted(
        document["name"]
        for document in documents
        if any(key.startswith(prefix) for key in document.get("runs") or {})
    )


def has_sample(dataset: Any, condition: dict[str, Any]) -> bool:
    """Whether a sample of a dataset, in any group slice, meets a condition of MongoDB's.

    FiftyOne 1.22 keeps the samples of all slices in one collection, ``_sample_collection``.
    """
    samples = dataset_of(dataset)._sample_collection
    return samples.find_one(condition, {"_id": 1}) is not None
