"""What is kept of a field's runs with the dataset, as a FiftyOne custom run; whole at any moment.

The facts of a run (its bank, its recipe) are the custom run's config, its report is the custom
run's results. The config also names the lock under which it was written (``writer``), and each
later write is conditional on it: a run that was overtaken replaces nothing of the run that took
over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import fiftyone.core.odm as foo
from bson import ObjectId, json_util

from ...engine.proposals.cache import AFTER_PROPOSALS
from ...engine.recipe import ADDED_LATER, Recipe
from ...errors import DatasetError
from . import custom_runs, grid_files
from .custom_runs import stored_run
from .dataset_locks import schema_lock
from .fiftyone_internals import (
    dataset_id,
    datasets,
    reload_runs,
    root_dataset,
    runs,
    stored_dataset,
)
from .locks import LockLostError, RunLock

METHOD = "ntt_segmentation"
_PREFIX = "ntt_segment_"

_TRIES = 20

_HEAD = "ntt_report"
_PLAIN = (str, int, float, type(None))
# A run in which every sample failed has as many notes as samples.
_MOST_NOTES = 100


def claim_record(dataset: Any, field: str, lock: RunLock) -> None:
    """Write a lock's token into a field's record, so that former holders cannot replace it."""
    for _ in range(_TRIES):
        stored = stored_run(dataset, _PREFIX + field)
        if stored is None:
            return
        lock.require()
        claimed = {"$set": {"config.writer": lock.token}}
        if runs().update_one(_unchanged(stored), claimed).matched_count:
            return
    raise _contended(dataset, field)


def keep_record(dataset: Any, field: str, facts: dict[str, Any], lock: RunLock) -> None:
    """Save the facts of a field's run, its bank and recipe say, in place of the previous run's.

    Raises:
        LockLostError: another run took over.
    """
    key = _PREFIX + field
    config = dataset.init_run(label_field=field, **facts, writer=lock.token)
    config.method = METHOD
    values = config.serialize()
    for _ in range(_TRIES):
        stored = stored_run(dataset, key)
        # After reading: what was read is no newer run's.
        lock.require()
        if stored is None:
            if custom_runs.register(dataset, key, values):
                break
        elif runs().update_one(_unchanged(stored), {"$set": {"config": values}}).matched_count:
            break
    else:
        raise _contended(dataset, field)
    reload_runs(dataset)


def keep_results(dataset: Any, field: str, lock: RunLock, **results: Any) -> None:
    """Atomically save the results of a field's run, replacing the previous ones.

    They are on the disk when this returns, and with them all that was written before. Where the
    database's answer is lost, the record names the new file or the one before; so both are left,
    and the next call deletes what it does not name.

    ``keep_record`` was called for the field. ``results`` are what JSON can hold.

    Raises:
        LockLostError: another run took over.
    """
    key = _PREFIX + field
    filename = f"{dataset_id(dataset)}/{key}"
    fresh = ObjectId()
    grid_files.put(fresh, [custom_runs.encode(results)], filename)
    try:
        unused = _put_results(dataset, field, filename, fresh, _head(fresh, results), lock)
    except DatasetError:
        grid_files.delete(fresh)
        raise
    for file in unused:
        grid_files.delete(file)
    document = dataset._doc.runs.get(key)
    if isinstance(document, foo.RunDocument) and fresh not in unused:
        document.reload()


def read_results(dataset: Any, field: str) -> dict[str, Any] | None:
    """The results kept of a field's last run, whichever process wrote them; None if there are none.

    Raises:
        DatasetError: they are damaged.
    """
    dataset = root_dataset(dataset)
    try:
        return custom_runs.read(dataset, _PREFIX + field)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"The report kept of the run into {field!r} of {dataset.name!r} is damaged "
            f"({error}); the labels are not. A new run replaces it."
        ) from error


def read_head(dataset: Any, field: str) -> dict[str, Any] | None:
    """The report of a field's last run without its ids; few kilobytes, however long the run was.

    ``failed`` and ``notes`` are the first hundred of each, ``failures`` is how many failed.

    Returns:
        None where no report is kept.

    Raises:
        DatasetError: the report is damaged.
    """
    stored = stored_run(root_dataset(dataset), _PREFIX + field) or {}
    head = (stored.get("results_meta") or {}).get(_HEAD) or {}
    # An earlier version of this plugin may have written results since.
    if stored.get("results") is not None and head.get("of") == stored["results"]:
        return dict(json_util.loads(head["report"]))
    report = (read_results(dataset, field) or {}).get("report")
    return report_head(report) if isinstance(report, dict) else None


def report_head(report: Mapping[str, Any]) -> dict[str, Any]:
    """What ``read_head`` gives of a whole report."""
    plain = {name: value for name, value in report.items() if isinstance(value, _PLAIN)}
    failed, notes = (list(report.get(name) or ()) for name in ("failed", "notes"))
    first = {"failed": failed[:_MOST_NOTES], "notes": notes[:_MOST_NOTES]}
    return {**plain, **first, "failures": len(failed)}


def _head(results_file: ObjectId, results: Mapping[str, Any]) -> dict[str, Any]:
    """What the run's document keeps beside its results; the text may hold what BSON does not."""
    report = results.get("report")
    if not isinstance(report, dict):
        return {}
    return {"of": results_file, "report": json_util.dumps(report_head(report))}


def usable_results(dataset: Any, field: str) -> dict[str, Any]:
    """As ``read_results``, for a run that replaces them; empty if they are damaged or missing."""
    try:
        return read_results(dataset, field) or {}
    except DatasetError:
        return {}


def read_facts(dataset: Any, field: str) -> dict[str, Any]:
    """The facts kept of a field's last run, whichever process wrote them; empty if none are."""
    stored = stored_run(root_dataset(dataset), _PREFIX + field)
    return {} if stored is None else dict(stored["config"])


BOXES_BEFORE = "boxes_before"
"""A fact of a run that has not taken away yet what a former one made of boxes: their field."""


def boxes_of(facts: Mapping[str, Any]) -> str | None:
    """The field whose boxes the labels that a field holds were made of, if they were.

    A run that overwrites them keeps that until they are gone: it may be killed before.
    """
    boxes = facts.get(BOXES_BEFORE) or facts.get("boxes")
    return None if boxes is None else str(boxes)


def is_segmentation_by(facts: Mapping[str, Any], recipe: Recipe) -> bool:
    """Whether facts are of a segmentation that made the proposals that a recipe makes.

    What comes after the proposals may differ, and so may device and versions.
    """
    others = {"boxes", "suggestions"} & facts.keys()
    kept = _before_proposals(facts.get("recipe") or {})
    return not others and kept == _before_proposals(asdict(recipe))


def recorded_fields(dataset: Any) -> list[str]:
    """The fields that runs wrote, also those deleted since, whichever process wrote them."""
    keys = stored_dataset(dataset, "runs").get("runs") or {}
    return [key.removeprefix(_PREFIX) for key in keys if key.startswith(_PREFIX)]


def catch_up(dataset: Any, field: str) -> None:
    """Reload a dataset object if another process changed a field in the meantime.

    Raises:
        DatasetError: the dataset was deleted.
    """
    if _is_behind(dataset, field):
        # Threads of this process may be declaring fields of what is read anew.
        with schema_lock(dataset):
            if _is_behind(dataset, field):
                dataset.reload()


def _is_behind(dataset: Any, field: str) -> bool:
    stored = stored_dataset(dataset, "sample_fields.name", "runs")
    fields = {entry["name"] for entry in stored["sample_fields"]}
    key = _PREFIX + field
    # As the dataset's own document has it, not as a grouped dataset's active slice does.
    known = {entry.name for entry in dataset._doc.sample_fields}
    return (field in fields) != (field in known) or (key in stored["runs"]) != dataset.has_run(key)


def is_stored(dataset_id: Any, field: str) -> bool:
    """Whether the database has a dataset, by its id, and a field in it, at this moment."""
    wanted = {"_id": dataset_id, "sample_fields.name": field}
    return datasets().find_one(wanted, {"_id": 1}) is not None


def _before_proposals(recipe: Mapping[str, Any]) -> dict[str, Any]:
    complete = {**ADDED_LATER, **recipe}
    return {name: value for name, value in complete.items() if name not in AFTER_PROPOSALS}


def _put_results(
    dataset: Any, field: str, filename: str, fresh: ObjectId, head: dict[str, Any], lock: RunLock
) -> set[ObjectId]:
    """Let a run's document name a new file; gives the files that are not used any more."""
    for _ in range(_TRIES):
        # Before the record is changed under this lock: no file of a newer run can be among them.
        known = grid_files.named(filename)
        stored = stored_run(dataset, _PREFIX + field)
        if stored is None:
            # Somebody deleted the run; its labels are more important than what is kept of it.
            return known
        if stored["config"].get("writer") != lock.token:
            lock.require()
            raise LockLostError(
                f"Another run has taken over the field {field!r}; this one stops, the other goes "
                "on."
            )
        values = {"results": fresh, f"results_meta.{_HEAD}": head}
        if runs().update_one(_unchanged(stored), {"$set": values}).matched_count:
            # Earlier versions gave their files no name.
            former = stored.get("results")
            return (known if former is None else known | {former}) - {fresh}
    raise _contended(dataset, field)


def _unchanged(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A query that matches a run's document unless another run changed it since it was read."""
    return {
        "_id": stored["_id"],
        "config.writer": stored["config"].get("writer"),
        "results": stored.get("results"),
    }


def _contended(dataset: Any, field: str) -> DatasetError:
    return DatasetError(
        f"The record of the runs into {field!r} of {dataset.name!r} is being changed by another "
        "process again and again; start again when it has ended."
    )
