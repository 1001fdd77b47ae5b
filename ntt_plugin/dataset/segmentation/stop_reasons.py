"""What ended a run for all its samples, in words."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pymongo.errors import PyMongoError

from ...engine.device.batching import is_out_of_memory
from ...errors import DatasetError, NoFileHandlesError
from ..database.errors import is_disk_full
from ..database.run_record import is_stored

# As Python says it in a plain RuntimeError.
_NO_THREAD = "can't start new thread"


def stop_reason(error: BaseException, dataset_id: Any, field: str) -> str | None:
    """Message for an error that ends a whole run; None if the error is raised as it is.

    Args:
        error: what was raised.
        dataset_id: of the dataset.
        field: the field that the run writes, which was there before.
    """
    if is_disk_full(error):
        return "The disk of the database is full; free some space."
    if isinstance(error, (DatasetError, NoFileHandlesError)):
        return str(error)
    if problem := no_memory(error):
        return problem
    # FiftyOne raises a ValueError of a field that it does not find.
    with suppress(PyMongoError):
        if isinstance(error, Exception) and not is_stored(dataset_id, field):
            return deleted(field)
    return None


def no_memory(error: BaseException) -> str | None:
    """What the system had no memory for, in words; None if the error is about something else."""
    if is_out_of_memory(error):
        return f"There is not enough memory left ({error!s:.200}); close other programs."
    if _NO_THREAD in str(error):
        return (
            f"The system gives no memory for another thread ({error}); close other programs, or "
            "raise the limits of memory and of processes (ulimit -v, ulimit -u)."
        )
    return None


def deleted(field: str) -> str:
    """That the dataset or the field that a run writes is there no more, and what to do."""
    return (
        f"The dataset or its field {field!r} was deleted during the run, or renamed; look under "
        "its new name, or run again."
    )
