"""Values of a fixed length by sample: a dict of a million ids and texts would take 250 MB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

_ID_BYTES = 12


class BytesBySample(Mapping[str, bytes]):
    """Bytes by sample id, in order of the ids; each takes its own length and 12 bytes.

    Example:
        >>> BytesBySample([("6b0b435eae60fe3d5e1e4a89", b"four")], 4)["6b0b435eae60fe3d5e1e4a89"]
        b'four'
    """

    def __init__(self, pairs: Iterable[tuple[str, bytes]], length: int) -> None:
        """Keep pairs of a sample's id, 24 hex digits, and a value of ``length`` bytes.

        Of a sample that comes twice the later value counts.
        """
        rows = bytearray()
        for sample_id, value in pairs:
            rows += bytes.fromhex(sample_id) + value
        # numpy takes zeros off the end of a text of bytes, and compares as if they were there.
        kinds = np.dtype([("id", f"S{_ID_BYTES}"), ("value", f"V{length}")])
        table = np.frombuffer(rows, kinds)
        order = np.argsort(table["id"], kind="stable")
        ids = table["id"][order]
        last = np.append(ids[1:] != ids[:-1], True) if len(ids) else np.zeros(0, bool)
        self._table = table[order[last]]
        self._ids = np.ascontiguousarray(self._table["id"])

    def __getitem__(self, sample_id: str) -> bytes:
        try:
            wanted = bytes.fromhex(sample_id)
        except (TypeError, ValueError):
            raise KeyError(sample_id) from None
        place = int(np.searchsorted(self._ids, np.bytes_(wanted)))
        if place == len(self._ids) or self._ids[place].ljust(_ID_BYTES, b"\0") != wanted:
            raise KeyError(sample_id)
        value: bytes = self._table["value"][place].tobytes()
        return value

    def __iter__(self) -> Iterator[str]:
        return (bytes(one).ljust(_ID_BYTES, b"\0").hex() for one in self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def packed(self) -> bytes:
        """All ids and values in order of the ids."""
        everything: bytes = self._table.tobytes()
        return everything
