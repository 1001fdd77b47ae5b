"""What was found out of a bank or a run, kept in the process until one of them changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ...dataset.database.fiftyone_internals import dataset_id, runs, samples_of
from ...dataset.runtime.caching import Remembered

T = TypeVar("T")

_answers: Remembered[Any] = Remembered(64)


def remembered(
    dataset: Any, name: str, question: Callable[[Any, str], T], of_samples: bool = False
) -> T:
    """Result of ``question(dataset, name)``, cached until the dataset's saved runs change.

    Changes by other processes are noticed too. ``name`` is a bank or a field; ``question`` must be
    a module-level function. With ``of_samples`` a change of any sample drops the result as well.
    """
    stamp = _stamp(dataset) + (_last_change(dataset) if of_samples else "")
    key = (str(dataset.name), name, question, stamp)
    found: T = _answers.get(key, lambda: question(dataset, name))
    return found


def _stamp(dataset: Any) -> str:
    """Tells one state of all that is kept with a dataset from another: ids, no contents."""
    stored = runs().find({"_dataset_id": dataset_id(dataset)}, {"key": 1, "results": 1})
    return str(sorted((run["key"], str(run["_id"]), str(run.get("results"))) for run in stored))


def _last_change(dataset: Any) -> str:
    """When a sample was last changed, and how many there are; FiftyOne keeps an index of both."""
    samples = samples_of(dataset)
    latest = samples.find_one({}, {"last_modified_at": 1}, sort=[("last_modified_at", -1)])
    return f"{latest} {samples.estimated_document_count()}"
