"""The locks of a bank's name, of a dataset's fields and of an evaluation's key."""

from __future__ import annotations

from typing import Any

from .locks import RunLock

_SCHEMA_PATIENCE = 60.0


def bank_lock(dataset: Any, name: str, patience: float = 0.0) -> RunLock:
    """The lock of a bank's name in a dataset."""
    where = f"the memory bank {name!r} of {dataset.name!r}"
    return RunLock(
        dataset,
        f"bank/{name}",
        patience,
        where=where,
        refusal=lambda by: (
            f"Another process{by} is changing {where} at this moment; try again when it has "
            "ended. If it is dead, that is in two minutes."
        ),
    )


def schema_lock(dataset: Any) -> RunLock:
    """The lock of a dataset's list of fields and runs, held briefly.

    FiftyOne writes the whole list of fields for each field that is added, so that of two
    processes that add different ones at the same moment one loses its own. Threads of a process
    share what it knows of a dataset, which is read anew under the lock.
    """
    where = f"the fields of {dataset.name!r}"
    return RunLock(
        dataset,
        "schema/fields",
        _SCHEMA_PATIENCE,
        where=where,
        refusal=lambda by: (
            f"Another process{by} has been changing {where} for a minute; start again when it has "
            "ended. If it is dead, that is in two minutes."
        ),
    )


def evaluation_lock(dataset: Any, eval_key: str) -> RunLock:
    """The lock of an evaluation's name, held while it is computed and written.

    FiftyOne takes away the former evaluation's fields and record first. Two at the same moment
    under one name took them away from each other, and left a dataset that could not be loaded.
    """
    what = f"evaluation {eval_key!r} of {dataset.name!r}"
    return RunLock(
        dataset,
        f"evaluation/{eval_key}",
        where=f"the {what}",
        refusal=lambda by: (
            f"Another {what} is running{by}. Wait for its end and evaluate again, or choose "
            "another name. If it is dead, start again in two minutes."
        ),
    )
