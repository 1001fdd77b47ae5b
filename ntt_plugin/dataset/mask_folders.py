"""Which folder a run writes mask files into: never one that labels copied elsewhere may name.

Labels name their files. A renamed or cloned field, or a cloned dataset, has the same labels, so
files that a run has written are not its field's alone. Each run has a new folder, therefore. Only
one that goes on where another was killed or stopped has that one's: it writes samples without
labels, whose files nobody names.
"""

from __future__ import annotations

import uuid
from typing import Any

import fiftyone.core.odm as foo

from .run_record import read_results

_KEY = "mask_files"


def folder_of_run(dataset: Any, field: str, overwrite: bool) -> str:
    """Name of the folder for a run into a field: the unfinished run's before it, or a new one."""
    if not overwrite and not _is_finished(dataset, field):
        kept = _kept(dataset, field)
        # A field that was renamed or cloned brings the folder of another, which may go on too.
        if kept.get("owner") == _owner(dataset, field):
            return str(kept["folder"])
    return uuid.uuid4().hex


def keep_folder(dataset: Any, field: str, folder: str) -> None:
    """Remember a field's folder in the field itself, which is the only place it goes with."""
    found = dataset.get_field(field)
    if found.path != field:
        # In the process that renamed it, FiftyOne's field goes by its old name until then.
        dataset.reload()
        found = dataset.get_field(field)
    kept = {"folder": folder, "owner": _owner(dataset, field)}
    found.info = {**(found.info or {}), _KEY: kept}
    found.save()


def _is_finished(dataset: Any, field: str) -> bool:
    report = (read_results(dataset, field) or {}).get("report") or {}
    return report.get("state") == "finished"


def _kept(dataset: Any, field: str) -> dict[str, Any]:
    # Asked of the database: this process may have loaded the dataset before the last run.
    stored = foo.get_db_conn().datasets.find_one(
        {"_id": dataset._doc.id}, {"sample_fields": {"$elemMatch": {"name": field}}}
    )
    fields = (stored or {}).get("sample_fields") or [{}]
    kept = (fields[0].get("info") or {}).get(_KEY)
    return kept if isinstance(kept, dict) else {}


def _owner(dataset: Any, field: str) -> str:
    return f"{dataset._doc.id}/{field}"
