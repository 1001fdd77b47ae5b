"""The items that are still to do, in chunks for workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

SMALLEST, LARGEST = 4, 16
# Seconds that a chunk should take: long beside a message, short beside a run.
_SECONDS = 0.5


@dataclass
class Item:
    """One item, and how many workers ended while they worked on it alone."""

    key: Any
    data: bytes
    strikes: int = 0


@dataclass
class Chunk:
    """Items given to a worker together."""

    items: deque[Item]
    alone: bool = False
    """Whether the worker is given nothing beside it: should it end, the cause is known."""

    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.items)


class Chunks:
    """Cuts a stream of items into chunks, without holding more of it than workers soon need."""

    def __init__(self, items: Iterable[tuple[Any, bytes]], workers: int) -> None:
        self._items: Iterator[tuple[Any, bytes]] = iter(items)
        self._workers = workers
        self._ahead: deque[Item] = deque()
        self._all_read = False
        self._back: deque[Chunk] = deque()

    def read(self) -> None:
        """Read items ahead: what every worker needs for two chunks."""
        missing = 2 * LARGEST * self._workers - len(self._ahead)
        if missing <= 0 or self._all_read:
            return
        read = [Item(key, data) for key, data in islice(self._items, missing)]
        self._ahead.extend(read)
        self._all_read = len(read) < missing

    def workers_needed(self) -> int:
        """Number of workers that what is left would keep busy."""
        left = len(self._ahead) if self._all_read else self._workers
        return min(self._workers, left + len(self._back))

    def take(self, idle: bool, item_seconds: float | None) -> Chunk | None:
        """The next chunk for a worker, None if there is none for it.

        Args:
            idle: it has nothing else to do, so that it may get what is to be done alone.
            item_seconds: how long an item takes, if that is known.
        """
        if idle and self._back:
            return self._back.popleft()
        self.read()
        size = LARGEST if item_seconds else SMALLEST
        if item_seconds:
            size = min(LARGEST, max(SMALLEST, int(_SECONDS / item_seconds)))
        if self._all_read:
            # The last ones are shared out, so that no worker is left with many.
            size = min(size, -(-len(self._ahead) // (2 * self._workers)))
        items = deque(self._ahead.popleft() for _ in range(min(size, len(self._ahead))))
        return Chunk(items) if items else None

    def put_back(self, chunks: Iterable[Chunk]) -> None:
        """Do chunks again, each alone, before all others."""
        self._back.extendleft(reversed([Chunk(chunk.items, alone=True) for chunk in chunks]))
