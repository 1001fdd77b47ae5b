"""What was found out of a bank or a run, kept in the process until one of them changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fiftyone.core.odm import get_db_conn

from ...dataset.runtime.caching import Remembered

T = TypeVar("T")

_answers: Remembered[Any] = Remembered(64)


def remembered(
    dataset: Any, name: str, question: Callable[[Any, str], T], of_samples: bool = False
) -> T:
    """What a function tells of a saved bank, or of a field's last run, asked once.

    Any process may change them; how they lie in the database tells whether one did.

    Args:
        dataset: the dataset.
        name: the bank or the field.
        question: a function of a module, of what is kept with the dataset; it is given both.
        of_samples: whether it looks at samples too, so that a change of any asks anew.
    """
    stamp = _stamp(dataset) + (_last_change(dataset) if of_samples else "")
    key = (str(dataset.name), name, question, stamp)
    found: T = _answers.get(key, lambda: question(dataset, name))
    return found


def _stamp(dataset: Any) -> str:
    """Tells one state of all that is kept with a dataset from another: ids, no contents."""
    stored = get_db_conn().runs.find({"_dataset_id": dataset._doc.id}, {"key": 1, "results": 1})
    return str(sorted((run["key"], str(run["_id"]), str(run.get("results"))) for run in stored))


def _last_change(dataset: Any) -> str:
    """When a sample was last changed, and how many there are; FiftyOne keeps an index of both."""
    samples = dataset._sample_collection
    latest = samples.find_one({}, {"last_modified_at": 1}, sort=[("last_modified_at", -1)])
    return f"{latest} {samples.estimated_document_count()}"
