"""Results of FiftyOne's custom runs, replaced in one step, and read as the database has them.

FiftyOne saves results by deleting the former ones first: killed in between, both would be lost.
Here the new ones are written beside the former and take their place in one step. And FiftyOne
keeps what it once read of a dataset's runs, while other processes change them.
"""

from __future__ import annotations

from typing import Any

import fiftyone.core.odm as foo
from bson import json_util
from mongoengine.fields import GridFSProxy  # type: ignore[import-untyped]

from ..errors import DatasetError


def replace(dataset: Any, key: str, **results: Any) -> None:
    """Keep the results of a custom run, in place of the former ones, in one step.

    Args:
        dataset: the dataset, which has the run.
        key: the run's key.
        **results: what JSON can hold.
    """
    document = dataset._doc.runs[key]
    former = document.results.grid_id
    data = json_util.dumps(dataset.init_run_results(key, **results).serialize()).encode()
    fresh = GridFSProxy(key="results", instance=document)
    fresh.put(data, content_type="application/json")
    document.results = fresh
    document.save()
    if former is not None:
        fresh.fs.delete(former)


def read(dataset: Any, key: str) -> dict[str, Any] | None:
    """The results of a custom run, whichever process wrote them; None if there are none.

    Raises:
        TypeError, ValueError: they are damaged.
    """
    document = document_of(dataset, key)
    data = None if document is None or not document.results else document.results.read()
    return None if data is None else dict(json_util.loads(data))


def document_of(dataset: Any, key: str) -> Any:
    """FiftyOne's document of a custom run, whichever process made it; None if there is none."""
    # Asked of the database: this process may have loaded the dataset before that run.
    kept = foo.RunDocument.objects(dataset_id=dataset._doc.id, key=key)
    return kept.order_by("-id").first()


def catch_up(dataset: Any) -> None:
    """Read a dataset's list of runs anew where another process changed it.

    Raises:
        DatasetError: the dataset was deleted.
    """
    stored = foo.get_db_conn().datasets.find_one({"_id": dataset._doc.id}, {"runs": 1})
    if stored is None:
        raise DatasetError(f"The dataset {dataset.name!r} was deleted.")
    known = {key: document.id for key, document in dataset._doc.runs.items()}
    if stored.get("runs", {}) != known:
        # The list alone: reloading the dataset would undo what people changed in their samples.
        dataset._doc.reload("runs")
