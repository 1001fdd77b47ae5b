"""Where results are kept between runs: below FiftyOne's folders; former ones are still found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import fiftyone as fo

from ...engine.files import chosen_home, platform_home
from ...engine.proposals import store

_BELOW_THE_MODELS = "no-time-to-train"


def cache_home() -> Path:
    """The cache folder: NTT_CACHE_DIR, or else a folder below FiftyOne's ``model_zoo_dir``.

    Raises:
        StoreError: NTT_CACHE_DIR names the folder of a user that is not there.
    """
    return chosen_home() or Path(fo.config.model_zoo_dir) / _BELOW_THE_MODELS


class ProposalStore(store.ProposalStore):
    """The engine's store; by default it lies below FiftyOne's own folders.

    Former versions kept proposals in the platform's folder for caches, where the engine without
    FiftyOne still does. The default store finds what lies there, counts it and clears it.
    """

    def __init__(self, folder: str | Path | None = None, max_bytes: int | None = None) -> None:
        """Open a store; nothing is read or written yet.

        Args:
            folder: a folder of its own; ``proposals`` in FiftyOne's cache folder if None.
            max_bytes: the budget; 20 GB, or a tenth of what the disk has, if None.

        Raises:
            StoreError: the folder is the default one, and there can be none.
        """
        super().__init__(cache_home() / "proposals" if folder is None else folder, max_bytes)
        self._former: store.ProposalStore | None = None
        if folder is None and chosen_home() is None:
            self._former = store.ProposalStore(platform_home() / "proposals")

    def get(self, key: str) -> memoryview | None:
        """The payload kept under a key, here or in the former folder; None if there is none."""
        found = super().get(key)
        if found is None and self._former is not None and self._former.holds(key):
            found = self._former.get(key)
            if found is not None:
                self._count(hits=1, misses=-1)
        return found

    def holds(self, key: str) -> bool:
        """Whether there is a record under a key, here or in the former folder."""
        return super().holds(key) or (self._former is not None and self._former.holds(key))

    def info(self) -> store.StoreInfo:
        """What the store holds now, with what the former folder holds."""
        found = super().info()
        former = self._former.info() if self._former is not None else None
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
        return super().clear() + (self._former.clear() if self._former is not None else 0)
