"""Samples asked of the database in small batches, shortly before they are worked on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from bson import ObjectId
from pymongo.errors import PyMongoError

from ..database.fiftyone_internals import samples_of
from .views import all_images, unloadable

_MOST_FETCHED = 32
# Samples are fetched in batches that last about this long, so that what is fetched is fresh.
_FRESH_SECONDS = 2.0

# Errors that are not a sample's own.
_NO_DATABASE = (PyMongoError, ConnectionError)

T = TypeVar("T")


def in_batches(
    fetch: Callable[[Sequence[str]], Sequence[T]], sample_ids: Sequence[str]
) -> Iterator[T]:
    """What is fetched of samples, in order; few at once where the work on them is slow.

    A cursor held open between slow steps would expire, and a sample deleted meanwhile would go
    unnoticed.
    """
    start, count = 0, 1
    while start < len(sample_ids):
        asked = time.monotonic()
        yield from fetch(sample_ids[start : start + count])
        start += count
        # A coarse clock may see no time pass.
        took = max(time.monotonic() - asked, 1e-3)
        count = max(1, min(_MOST_FETCHED, 2 * count, int(count * _FRESH_SECONDS / took)))


def fetch_documents(
    dataset: Any, fields: Mapping[str, Any], sample_ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Some fields of samples by id, as the database has them; without those that are gone."""
    these = {"_id": {"$in": [ObjectId(sample_id) for sample_id in sample_ids]}}
    return {str(found["_id"]): found for found in samples_of(dataset).find(these, dict(fields))}


def fetch_samples(
    dataset: Any, fields: Sequence[str], sample_ids: Sequence[str]
) -> dict[str, Any | Exception]:
    """Samples by their ids, with some fields; without those that are gone.

    In the place of one that FiftyOne cannot load is the error.
    """
    found: dict[str, Any | Exception] = {}
    try:
        view = all_images(dataset).select_fields(list(fields)).select(list(sample_ids))
        return {sample.id: sample for sample in view}
    except _NO_DATABASE:
        raise
    # A document may have any form, and what FiftyOne raises of it has no base of its own.
    except Exception as error:
        if len(sample_ids) == 1:
            (only,) = sample_ids
            return {only: unloadable(only, error) if isinstance(error, ValueError) else error}
    # One that cannot be loaded must not take the others with it.
    for sample_id in sample_ids:
        found |= fetch_samples(dataset, fields, [sample_id])
    return found


def each_fetched(
    samples: Mapping[str, Any | Exception], look: Callable[[str, Any], T]
) -> dict[str, T | Exception]:
    """What ``look`` finds in each of the samples that ``fetch_samples`` gave, or the error.

    A document may hold any value, so what ``look`` raises is that sample's error alone.
    """
    found: dict[str, T | Exception] = {}
    for sample_id, sample in samples.items():
        if isinstance(sample, Exception):
            found[sample_id] = sample
            continue
        try:
            found[sample_id] = look(sample_id, sample)
        except _NO_DATABASE:
            raise
        except Exception as error:
            found[sample_id] = error
    return found
