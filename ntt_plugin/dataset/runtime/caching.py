"""What is kept: in memory between calls, below FiftyOne's folders between runs."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

import fiftyone as fo
import numpy as np
from cachetools import LRUCache

from ...engine.files import chosen_home, platform_home
from ...engine.proposals import store
from ...errors import DatasetError, StoreError
from ...worker.tasks.former_store import StoreWithFormer
from ..database.fiftyone_internals import dataset_id, runs, samples_of
from ..samples.checks import quoted

T = TypeVar("T")


class Remembered(Generic[T]):
    """A thread-safe cache of values by key; the least recently used one goes first."""

    def __init__(self, most: int) -> None:
        """Keep up to so many values; none yet."""
        self._values: LRUCache[Hashable, tuple[Hashable, T]] = LRUCache(most)
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], T], stamp: Hashable = None) -> T:
        """The value of a key, made if it is not known; it is shared, so it must not be changed.

        A value that was made at another stamp is made anew, and takes that one's place.
        """
        with self._lock:
            known = self._values.get(key)
            if known is not None and known[0] == stamp:
                return known[1]
        value = make()
        with self._lock:
            self._values[key] = stamp, value
        return value


def in_own_thread(call: Callable[[], T]) -> T:
    """Call something in a thread that ends with it; return or raise what it does.

    Torch starts threads for each thread that computes on a processor, and they stay as long as
    that one does. Once they are more than the processors, every operation waits asleep for its
    own: after one product in a thread that lived on, as those of the App's server do, an image by
    the preset ``tiny`` took 1.7 times as long (two cores).

    ``call`` is something short, for nothing can stop it.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ntt short") as thread:
        return thread.submit(call).result()


_BELOW_THE_MODELS = "no-time-to-train"


def cache_home() -> Path:
    """The cache folder: NTT_CACHE_DIR, or else a folder below FiftyOne's ``model_zoo_dir``.

    Raises:
        StoreError: NTT_CACHE_DIR names the folder of a user that is not there.
    """
    return chosen_home() or Path(fo.config.model_zoo_dir) / _BELOW_THE_MODELS


class ProposalStore(StoreWithFormer):
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
        is_default = folder is None and chosen_home() is None
        super().__init__(
            cache_home() / "proposals" if folder is None else folder,
            max_bytes,
            platform_home() / "proposals" if is_default else None,
        )


Cache = bool | store.ProposalStore
"""True for the default store, False for none, or a store."""


def store_of(cache: Cache) -> store.ProposalStore | None:
    """The store that an argument ``cache`` names; None for none.

    Raises:
        DatasetError: it is none of these.
        StoreError: the default store cannot be used.
    """
    if isinstance(cache, store.ProposalStore):
        return cache
    if not isinstance(cache, (bool, np.bool_)):
        raise DatasetError(
            f"cache is {quoted(cache)}; give True or False. To keep proposals in a folder of your "
            "own pass cache=ntt.ProposalStore(folder)."
        )
    return ProposalStore() if cache else None


def usable_store(cache: Cache) -> tuple[store.ProposalStore | None, list[str]]:
    """As ``store_of``, but a store that cannot be used is None and a note, not an error.

    Raises:
        DatasetError: ``cache`` names no store.
    """
    try:
        return store_of(cache), []
    except StoreError as error:
        return None, [f"no proposals are kept, so that another run computes them again: {error}"]


_answers: Remembered[Any] = Remembered(64)


def remembered(
    dataset: Any, name: str, question: Callable[[Any, str], T], of_samples: bool = False
) -> T:
    """Result of ``question(dataset, name)``, cached until the dataset's saved runs change.

    Changes by other processes are noticed too. ``name`` is a bank or a field; ``question`` must be
    a module-level function. With ``of_samples`` a change of any sample drops the result as well.
    """
    stamp = state_stamp(dataset, of_samples)
    # Not of every state one: an answer may hold a hundred thousand labels.
    key = (str(dataset.name), name, question)
    found: T = _answers.get(key, lambda: question(dataset, name), stamp)
    return found


def state_stamp(dataset: Any, of_samples: bool = False) -> str:
    """A text that changes with the dataset's saved runs, also by other processes.

    With ``of_samples`` it changes with any sample as well.
    """
    return _stamp(dataset) + (_last_change(dataset) if of_samples else "")


def _stamp(dataset: Any) -> str:
    """Tells one state of all that is kept with a dataset from another: ids, no contents."""
    stored = runs().find({"_dataset_id": dataset_id(dataset)}, {"key": 1, "results": 1})
    return str(sorted((run["key"], str(run["_id"]), str(run.get("results"))) for run in stored))


def _last_change(dataset: Any) -> str:
    """When a sample was last changed, and how many there are; FiftyOne keeps an index of both."""
    samples = samples_of(dataset)
    latest = samples.find_one({}, {"last_modified_at": 1}, sort=[("last_modified_at", -1)])
    return f"{latest} {samples.estimated_document_count()}"
