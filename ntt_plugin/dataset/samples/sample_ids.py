"""Ids of samples in 12 bytes each: lists of a million texts would take 80 MB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from bson import ObjectId

from ..database.fiftyone_internals import stream

_BYTES = 12


class SampleIds(Sequence[str]):
    """A list of ids that grows; equal to any sequence of the same ids.

    Example:
        >>> SampleIds(["6b0b435eae60fe3d5e1e4a89"])[0]
        '6b0b435eae60fe3d5e1e4a89'
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, ids: Iterable[str | ObjectId] = ()) -> None:
        """The ids, 24 hex digits each."""
        self._ids = bytearray()
        self.extend(ids)

    def append(self, sample_id: str | ObjectId) -> None:
        """Add an id at the end."""
        self._ids += _packed(sample_id)

    def extend(self, ids: Iterable[str | ObjectId]) -> None:
        """Add ids at the end."""
        if isinstance(ids, SampleIds):
            self._ids += ids._ids
        else:
            for sample_id in ids:
                self.append(sample_id)

    def remove(self, sample_id: str) -> None:
        """Take an id out; ValueError if it is not there."""
        place = self.index(sample_id)
        del self._ids[_BYTES * place : _BYTES * (place + 1)]

    def index(self, value: str, start: int = 0, stop: int | None = None) -> int:
        """Place of an id; ValueError if it is not there."""
        wanted, at = _packed(value), _BYTES * start - 1
        end = len(self._ids) if stop is None else _BYTES * stop
        while (at := self._ids.find(wanted, at + 1, end)) >= 0:
            if at % _BYTES == 0:
                return at // _BYTES
        raise ValueError(f"{value} is not among the ids")

    def object_ids(self) -> Iterator[ObjectId]:
        """The ids as the database has them."""
        view = bytes(self._ids)
        return (ObjectId(view[at : at + _BYTES]) for at in range(0, len(view), _BYTES))

    def json(self) -> str:
        """The ids as a list in JSON."""
        if not self._ids:
            return "[]"
        listed = self._ids.hex(",", _BYTES).replace(",", '", "')
        return f'["{listed}"]'

    def __contains__(self, value: object) -> bool:
        try:
            self.index(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return False
        return True

    def __len__(self) -> int:
        return len(self._ids) // _BYTES

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> SampleIds: ...
    def __getitem__(self, place: int | slice) -> str | SampleIds:
        if isinstance(place, slice):
            chosen = SampleIds()
            start, stop, step = place.indices(len(self))
            if step == 1:
                chosen._ids[:] = self._ids[_BYTES * start : _BYTES * max(start, stop)]
            else:
                chosen.extend(self[at] for at in range(start, stop, step))
            return chosen
        place = range(len(self))[place]
        return self._ids[_BYTES * place : _BYTES * (place + 1)].hex()

    def __iter__(self) -> Iterator[str]:
        # Ids may be added meanwhile.
        at = 0
        while at < len(self._ids):
            yield self._ids[at : at + _BYTES].hex()
            at += _BYTES

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SampleIds):
            return self._ids == other._ids
        if isinstance(other, Sequence) and not isinstance(other, str):
            return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
        return NotImplemented

    def __repr__(self) -> str:
        return repr(list(self))


def ids_of(samples: Any) -> SampleIds:
    """The ids of a dataset's or view's samples, in its order, without loading all at once."""
    return SampleIds(found["_id"] for found in stream(samples, [{"$project": {"_id": 1}}]))


def _packed(sample_id: str | ObjectId) -> bytes:
    if isinstance(sample_id, ObjectId):
        return sample_id.binary
    data = bytes.fromhex(sample_id)
    if len(data) != _BYTES:
        raise ValueError(f"{sample_id!r} is not the id of a sample")
    return data
