"""A store of proposals that also finds what lies in the folder of former versions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...engine.proposals import store


class StoreWithFormer(store.ProposalStore):
    """The engine's store, with a second folder that is read, counted and cleared, never written.

    Attributes:
        former: the store of that folder; None if there is none.
    """

    def __init__(
        self, folder: str | Path, max_bytes: int | None = None, former: str | Path | None = None
    ) -> None:
        """Open a store; nothing is read or written yet.

        Args:
            folder: a folder of its own.
            max_bytes: its budget; 20 GB, or a tenth of what the disk has, if None.
            former: the second folder, which need not exist; None for none.
        """
        super().__init__(folder, max_bytes)
        self.former = None if former is None else store.ProposalStore(former)

    def get(self, key: str) -> memoryview | None:
        """The payload kept under a key, here or in the former folder; None if there is none."""
        found = super().get(key)
        if found is None and self.former is not None and self.former.holds(key):
            found = self.former.get(key)
            if found is not None:
                self._count(hits=1, misses=-1)
        return found

    def holds(self, key: str) -> bool:
        """Whether there is a record under a key, here or in the former folder."""
        return super().holds(key) or (self.former is not None and self.former.holds(key))

    def info(self) -> store.StoreInfo:
        """What the store holds now, with what the former folder holds."""
        found = super().info()
        former = self.former.info() if self.former is not None else None
        if former is None or not former.entries:
            return found
        times = [when for when in (found.oldest, former.oldest) if when is not None]
        latest = [when for when in (found.newest, former.newest) if when is not None]
        return replace(
            found,
            entries=found.entries + former.entries,
            bytes=found.bytes + former.bytes,
            oldest=min(times, default=None),
            newest=max(latest, default=None),
        )

    def clear(self) -> int:
        """Remove all records, here and in the former folder; how many were removed."""
        return super().clear() + (self.former.clear() if self.former is not None else 0)
