"""What goes to a worker and comes back for one sample, as BSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import bson

from ..errors import NoFileHandlesError, NttError, StoreError


class SampleError(NttError):
    """What concerns one sample, with the reason; it fails alone."""


@dataclass(frozen=True)
class Item:
    """One sample to work on.

    Attributes:
        sample_id: the sample's id.
        filepath: its image.
        run: the run's id for it, where that depends on the sample.
        content: what the task needs beside the image, as BSON can hold it.
        notes: what is known of it already, a sentence each.
        kept: the labels of people that stay in its field, see ``kept_labels``; None if none do.
    """

    sample_id: str
    filepath: str
    run: str | None = None
    content: Any = None
    notes: Sequence[str] = ()
    kept: Sequence[Mapping[str, Any]] | None = None

    def to_bytes(self) -> bytes:
        """The item as BSON."""
        return bson.encode(
            {
                **self.__dict__,
                "notes": list(self.notes),
                "kept": None if self.kept is None else list(self.kept),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Item:
        """The item that ``to_bytes`` gave."""
        return cls(**bson.decode(data))


# An error travels as its kind and text: code of a sender must never choose what is made of it.
_KINDS: dict[str, type[Exception]] = {
    "sample": SampleError,
    "memory": MemoryError,
    "handles": NoFileHandlesError,
    "store": StoreError,
}


@dataclass
class Result:
    """What became of one sample.

    Attributes:
        sample_id: the sample's id.
        filepath: its image; empty if it is not known.
        document: what its field is to hold, as BSON; None if it was not labelled.
        pngs: its masks as PNG files, if they go into files.
        count: its labels.
        notes: what a person should know of it, a sentence each.
        error: why it was not done; None if it was.
        from_cache: whether its proposals were kept ones, without running a network.
        left_out: candidates dropped by the limit ``max_instances``.
        kept: labels of people that stay in its field; None if it holds none.
        overlapping: new labels left out because one of these shows the same object.
        worker: what its worker tells of itself; None if nothing changed since its last result.
    """

    sample_id: str
    filepath: str = ""
    document: bytes | None = None
    pngs: list[bytes] | None = None
    count: int = 0
    notes: list[str] = field(default_factory=list)
    error: Exception | None = None
    from_cache: bool = False
    left_out: int = 0
    kept: int | None = None
    overlapping: int = 0
    worker: dict[str, Any] | None = None

    def to_bytes(self) -> bytes:
        """The result as BSON."""
        return bson.encode({**self.__dict__, "error": _described(self.error)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Result:
        """The result that ``to_bytes`` gave."""
        values = bson.decode(data)
        if values["error"] is not None:
            kind, text = values["error"]
            values["error"] = _KINDS[kind](text)
        return cls(**values)

    @property
    def size(self) -> int:
        """Bytes that it holds in memory."""
        return len(self.document or b"") + sum(map(len, self.pngs or []))


def in_one_sentence(error: Exception) -> str:
    """An error's text, or its name if it has none."""
    return str(error) or type(error).__name__


def _described(error: Exception | None) -> list[str] | None:
    if error is None:
        return None
    kinds = (kind for kind, error_type in _KINDS.items() if isinstance(error, error_type))
    return [next(kinds, "sample"), in_one_sentence(error)]
