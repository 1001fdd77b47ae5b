"""What goes to a worker and comes back for one sample, as BSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


_NOT_SENT = ("unfinished", "mask_bytes")

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
        unfinished: makes ``document`` and ``pngs``, if that is still to be done; it takes a while
            and needs no network, so another thread may do it.
        mask_bytes: memory that is held until then.
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
    unfinished: Callable[[], tuple[bytes, list[bytes] | None]] | None = None
    mask_bytes: int = 0

    def finish(self) -> None:
        """Make what is unfinished; a failure is the sample's error."""
        make, self.unfinished, self.mask_bytes = self.unfinished, None, 0
        if make is not None and self.error is None:
            try:
                self.document, self.pngs = make()
            except Exception as error:
                self.error = error

    def to_bytes(self) -> bytes:
        """The finished result as BSON."""
        self.finish()
        values = {name: value for name, value in self.__dict__.items() if name not in _NOT_SENT}
        return bson.encode({**values, "error": _described(self.error)})

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
        return self.mask_bytes + len(self.document or b"") + sum(map(len, self.pngs or []))


def in_one_sentence(error: Exception) -> str:
    """An error's text, or its name if it has none."""
    return str(error) or type(error).__name__


def _described(error: Exception | None) -> list[str] | None:
    if error is None:
        return None
    kinds = (kind for kind, error_type in _KINDS.items() if isinstance(error, error_type))
    return [next(kinds, "sample"), in_one_sentence(error)]
