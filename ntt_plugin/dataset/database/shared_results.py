"""The results of a custom run that several processes change, each change in one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bson import ObjectId, json_util

from ...errors import DatasetError
from . import custom_runs, grid_files
from .fiftyone_internals import dataset_id, runs

_TRIES = 20


def change_results(
    dataset: Any,
    key: str,
    method: str,
    config: Mapping[str, Any],
    edit: Callable[[dict[str, Any]], None],
) -> None:
    """Change what a custom run keeps; the run is made if there is none.

    ``edit`` changes the results that it is given, which are empty at first; it is called again
    where another process was faster.

    Raises:
        DatasetError: the dataset was deleted, what is kept is damaged, or others are changing it
            again and again.
    """
    filename = f"{dataset_id(dataset)}/{key}"
    for _ in range(_TRIES):
        # Asked before the run is read, so that no file of a later change is among them.
        known = grid_files.named(filename)
        stored = custom_runs.stored_run(dataset, key)
        if stored is None:
            custom_runs.register(dataset, key, {**config, "method": method})
            continue
        former = stored.get("results")
        results = _decoded(dataset, key, former)
        if results is None:
            continue  # replaced meanwhile
        edit(results)
        fresh = ObjectId()
        grid_files.put(fresh, [custom_runs.encode(results)], filename)
        unchanged = {"_id": stored["_id"], "results": former}
        if runs().update_one(unchanged, {"$set": {"results": fresh}}).matched_count:
            for file in known:
                grid_files.delete(file)
            return
        grid_files.delete(fresh)
    raise DatasetError(
        f"What {dataset.name!r} keeps as {key!r} is being changed by other processes again and "
        "again; start again when they have ended."
    )


def shared_results(dataset: Any, key: str) -> dict[str, Any]:
    """What a custom run keeps; empty if there is no such run.

    Raises:
        DatasetError: it is damaged.
    """
    try:
        results = custom_runs.read(dataset, key) or {}
    except (TypeError, ValueError) as error:
        raise _damaged(dataset, key, error) from error
    results.pop("cls", None)
    return results


def _decoded(dataset: Any, key: str, file: ObjectId | None) -> dict[str, Any] | None:
    if file is None:
        return {}
    data = grid_files.read(file)
    if data is None:
        still = (custom_runs.stored_run(dataset, key) or {}).get("results")
        if still == file:
            raise _damaged(dataset, key, "the database has lost its file")
        return None
    try:
        results = dict(json_util.loads(data.decode()))
    except (TypeError, ValueError) as error:
        raise _damaged(dataset, key, error) from error
    results.pop("cls", None)
    return results


def _damaged(dataset: Any, key: str, reason: object) -> DatasetError:
    return DatasetError(
        f"What {dataset.name!r} keeps as {key!r} is damaged ({reason!s:.200}); delete it with "
        f"dataset.delete_run({key!r}). The labels are not damaged."
    )
