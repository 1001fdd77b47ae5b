"""What a person last filled into the App's forms, kept with the dataset as a small custom run.

The values are the config of one custom run, so that clones have them and other processes see
them. They are a convenience: where the dataset is gone or read-only nothing is kept, silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pymongo.errors import PyMongoError

from ...errors import DatasetError
from . import custom_runs
from .fiftyone_internals import reload_runs, root_dataset, runs

METHOD = "ntt_last_used"
_KEY = "ntt_last_used"
_VALUES = "values"


def read_last_used(dataset: Any) -> dict[str, dict[str, Any]]:
    """The values last used in each form, by the operator's name; empty if none are kept."""
    stored = custom_runs.stored_run(root_dataset(dataset), _KEY) or {}
    values = (stored.get("config") or {}).get(_VALUES)
    if not isinstance(values, Mapping):
        return {}
    return {form: dict(used) for form, used in values.items() if isinstance(used, Mapping)}


def keep_last_used(dataset: Any, form: str, used: Mapping[str, Any]) -> None:
    """Keep the values that a form was run with, in place of its former ones.

    Args:
        dataset: the dataset, or a view of it.
        form: the operator's name.
        used: values by parameter; what JSON can hold.
    """
    dataset = root_dataset(dataset)
    with suppress(DatasetError, PyMongoError):
        changed = {"$set": {f"config.{_VALUES}.{form}": dict(used)}}
        run = custom_runs.listed_run(dataset, _KEY)
        if run is None or not runs().update_one({"_id": run}, changed).matched_count:
            _register(dataset, run, {form: dict(used)})


def _register(dataset: Any, former: Any, values: Mapping[str, Any]) -> None:
    config = dataset.init_run(**{_VALUES: dict(values)})
    config.method = METHOD
    run = custom_runs.insert(dataset, _KEY, config.serialize())
    # Another process may list one of its own first; its values are as good.
    if custom_runs.swap(dataset, {_KEY: (former, run)}) is None:
        runs().delete_one({"_id": run})
    reload_runs(dataset)
