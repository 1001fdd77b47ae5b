"""Errors of a database that does not answer, with what to do about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from mongoengine.errors import MongoEngineException  # type: ignore[import-untyped]
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    OperationFailure,
    ServerSelectionTimeoutError,
)

from ...errors import DatasetError
from .fiftyone_internals import database

_T = TypeVar("_T")

_DISK_FULL_CODES = (14031,)
_TOO_LARGE_CODES = (10334, 17419, 17420)


def server_process() -> Any:
    """Identifies the database's process, to detect a restart; None if it is unknown."""
    answer = with_patience(lambda: database().client.admin.command("hello"))
    return (answer.get("topologyVersion") or {}).get("processId")


def with_patience(action: Callable[[], _T]) -> _T:
    """Do something, and once more if the connection is lost: the database may be restarting.

    The second try waits for it, 30 seconds by default. pymongo does so by itself for what reads.

    Raises:
        ConnectionFailure: the database did not come back.
    """
    try:
        return action()
    except ServerSelectionTimeoutError:
        raise  # it was waited for already
    except ConnectionFailure:
        return action()


@contextmanager
def database_errors(what_next: str) -> Iterator[None]:
    """Re-raise a lost database connection as ``DatasetError``; context manager or decorator.

    ``what_next`` says what is left behind and what to do, as the end of a sentence, with its stop:
    "nothing was changed; start again when it is back."

    Raises:
        DatasetError: the database did not answer.
    """
    try:
        yield
    except ConnectionFailure as error:
        raise DatasetError(f"The database does not answer ({error!s:.200}); {what_next}") from error


def is_disk_full(error: BaseException | None) -> bool:
    """Whether the database refused something, or FiftyOne says that it did, for want of room."""
    if isinstance(error, MongoEngineException):
        # What keeps FiftyOne's documents raises an error of its own in place of the database's.
        return is_disk_full(error.__context__)
    codes = [error.code] if isinstance(error, OperationFailure) else []
    if isinstance(error, BulkWriteError):
        codes += [refused.get("code") for refused in error.details.get("writeErrors", [])]
    return any(code in _DISK_FULL_CODES for code in codes)


def is_too_large(error: BaseException) -> bool:
    """Whether the database refused a document because it is larger than the 16 MB it takes."""
    code = error.code if isinstance(error, OperationFailure) else None
    return isinstance(error, DocumentTooLarge) or code in _TOO_LARGE_CODES
