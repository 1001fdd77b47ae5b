"""A database that does not answer, told to people as what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import ConnectionFailure

from ..errors import DatasetError


@contextmanager
def database_errors(what_next: str) -> Iterator[None]:
    """Turn the loss of the database into an error of ours; for a ``with`` or as a decorator.

    Args:
        what_next: what is left behind and what to do, as the end of a sentence, with its stop:
            "nothing was changed; start again when it is back."

    Raises:
        DatasetError: the database did not answer.
    """
    try:
        yield
    except ConnectionFailure as error:
        raise DatasetError(f"The database does not answer ({error!s:.200}); {what_next}") from error
