"""Which folder a run writes mask files into: never one that labels copied elsewhere may name.

Labels name their files. A renamed or cloned field, or a cloned dataset, has the same labels, so
files that a run has written are not its field's alone. Each run has a new folder, therefore. Only
one that goes on where another was killed or stopped has that one's: it writes samples without
labels, whose files nobody names. A run that was overtaken while its process may live keeps its
folder for itself.
"""

from __future__ import annotations

import uuid
from typing import Any

import fiftyone.core.odm as foo

from ...errors import DatasetError
from ..database.errors import JOURNALED
from ..database.locks import RunLock
from ..database.run_record import usable_results

_KEY = "mask_files"
_TRIES = 20


def folder_of_run(dataset: Any, field: str, overwrite: bool, lock: RunLock) -> str:
    """Name of the folder for a run into a field: the unfinished run's before it, or a new one."""
    if not overwrite and not _is_finished(dataset, field):
        kept = _kept(dataset, field) or {}
        # A field that was renamed or cloned brings the folder of another, which may go on too.
        mine = kept.get("owner") == _owner(dataset, field)
        if mine and kept.get("writer") not in lock.overtaken():
            return str(kept["folder"])
    return uuid.uuid4().hex


def keep_folder(dataset: Any, field: str, folder: str, lock: RunLock) -> None:
    """Remember a field's folder in the field itself, which is the only place it goes with.

    Raises:
        LockLostError: another run took over.
        DatasetError: the field is there no more.
    """
    kept = {"folder": folder, "owner": _owner(dataset, field), "writer": lock.token}
    # With it, the field itself is on the disk.
    datasets = foo.get_db_conn().datasets.with_options(write_concern=JOURNALED)
    for _ in range(_TRIES):
        former = _kept(dataset, field)
        lock.require()
        # As it was read: another run that takes over meanwhile keeps its own.
        unchanged = {"name": field, f"info.{_KEY}": former}
        found = {"_id": dataset._doc.id, "sample_fields": {"$elemMatch": unchanged}}
        kept_there = {"$set": {f"sample_fields.$.info.{_KEY}": kept}}
        if datasets.update_one(found, kept_there).matched_count:
            return
    raise DatasetError(f"The field {field!r} of {dataset.name!r} was deleted during the run.")


def _is_finished(dataset: Any, field: str) -> bool:
    report = usable_results(dataset, field).get("report") or {}
    return report.get("state") == "finished"


def _kept(dataset: Any, field: str) -> dict[str, Any] | None:
    # Asked of the database: this process may have loaded the dataset before the last run.
    stored = foo.get_db_conn().datasets.find_one(
        {"_id": dataset._doc.id}, {"sample_fields": {"$elemMatch": {"name": field}}}
    )
    fields = (stored or {}).get("sample_fields") or [{}]
    kept = (fields[0].get("info") or {}).get(_KEY)
    return kept if isinstance(kept, dict) else None


def _owner(dataset: Any, field: str) -> str:
    return f"{dataset._doc.id}/{field}"
