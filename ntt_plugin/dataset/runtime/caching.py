"""A small cache, and a thread for short computations."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

T = TypeVar("T")


class Remembered(Generic[T]):
    """A thread-safe cache of values by key; the least recently used one goes first."""

    def __init__(self, most: int) -> None:
        """Keep up to so many values; none yet."""
        self._values: LRUCache[Hashable, T] = LRUCache(most)
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made if it is not known; it is shared, so it must not be changed."""
        with self._lock:
            if key in self._values:
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
        return value


def in_own_thread(call: Callable[[], T]) -> T:
    """Call something in a thread that ends with it.

    Torch starts threads for each thread that computes on a processor, and they stay as long as
    that one does. Once they are more than the processors, every operation waits asleep for its
    own: after one product in a thread that lived on, as those of the App's server do, an image by
    the preset ``tiny`` took 1.7 times as long (two cores).

    Args:
        call: something short, for nothing can stop it.

    Returns:
        What it returns.

    Raises:
        Exception: what it raises.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ntt short") as thread:
        return thread.submit(call).result()
