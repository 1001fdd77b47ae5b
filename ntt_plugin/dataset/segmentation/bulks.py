"""Which results go to the database together, and which of them it refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pymongo.errors import BulkWriteError, OperationFailure

from ...worker.labels.label_bytes import MOST_INLINE
from ...worker.messages import Result

_TOO_LARGE_CODES = (10334, 17419, 17420)


def together(results: Sequence[Result]) -> Iterator[list[Result]]:
    """Results that go out together; one that is very large or has mask files goes alone.

    One document that is too large fails a whole bulk, innocents included.
    """
    bulk: list[Result] = []
    for result in results:
        if result.pngs is None and len(result.document or b"") <= MOST_INLINE:
            bulk.append(result)
            continue
        # In order: what was written before a full disk stopped the run is what came before.
        if bulk:
            yield bulk
        yield [result]
        bulk = []
    if bulk:
        yield bulk


def refused_of(bulk: Sequence[Result], error: BulkWriteError) -> Iterator[Result]:
    """Results of a bulk that the database refused, with their errors.

    Those that are too large have none: they can be written in another form.
    """
    for refusal in error.details.get("writeErrors", []):
        result = bulk[refusal["index"]]
        code = refusal.get("code")
        if code not in _TOO_LARGE_CODES:
            result.error = OperationFailure(str(refusal.get("errmsg")), code)
        yield result
