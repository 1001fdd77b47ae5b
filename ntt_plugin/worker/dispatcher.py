"""Gives items to workers and yields their results, whatever becomes of the workers."""

from __future__ import annotations

import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..errors import WorkerError
from .chunks import Chunk, Chunks, Item
from .pool import Alive, Ended, Event, Placed, Pool, Ready, Refused, Results, Worker
from .restarts import Restarts

logger = logging.getLogger(__name__)

ITEM_SECONDS = 300.0
"""Time limit of an item, or of each part of it that a worker tells of, beside what they take."""
START_SECONDS = 600.0
"""Time limit of a worker's start: its imports, and loading the networks. While it downloads them
the limit counts from the last bytes that came."""

# Chunks that a worker has at a time: it reads the second one's images during the first one's work.
_IN_FLIGHT = 2
# An item that ends this many workers is not tried again.
_STRIKES = 2
# The next sign of life may take this much longer than the average before a worker is given up.
_SLOWER = 4
# The longest wait for an event, in seconds; and how often the clock is looked at: with many workers
# that is far more seldom than once a result.
_TICK, _LOOK_SECONDS = 0.5, 0.1
# Nobody listened to the workers for so long: this process was stopped, or waited for the database.
# What they said meanwhile may come only at the second listening.
_DEAF_SECONDS = 10.0
_SLOW_ADVICE = (
    "; see that the disk of the images answers, or set NTT_ITEM_SECONDS to more seconds if the "
    "image only needs longer"
)
# Seconds until a wait is told, and between two messages of the same wait.
_WAIT_FIRST_TOLD, _WAIT_TOLD = 10.0, 30.0
# The same of workers that have their place and are not ready: to load networks takes a while.
_START_TOLD = 60.0


@dataclass(frozen=True)
class LostItem:
    """In place of a result: an item that ended each worker which worked on it."""

    reason: str


@dataclass
class _Busy:
    """A worker that was started, and what it has to do."""

    worker: Worker
    number: int
    since: float  # of its last sign of progress
    began: float = 0.0  # of the item, or the chunk, that it works on
    placed: bool = False
    ready: bool = False
    chunks: deque[Chunk] = field(default_factory=deque)


def dispatch(
    items: Iterable[tuple[Any, bytes]],
    pool: Pool,
    *,
    item_seconds: float | None = None,
    start_seconds: float = START_SECONDS,
    tell: Callable[[str], None] = logger.warning,
    tick: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Any, bytes | LostItem]]:
    """Have workers handle items; results come as they are made, each exactly once.

    Items are read as they are needed. A worker that dies is replaced. What it worked on is tried
    again item by item, with nothing beside it, and an item that ends two workers comes back as a
    ``LostItem``. A worker that shows no progress for too long is ended like one that died.

    Closing the iterator, or an exception out of ``items``, ``tell`` or ``tick``, ends the workers.

    Args:
        items: keys, which come back with the results, and what is sent to a worker's handler.
        pool: where workers are started; it is closed at the end.
        item_seconds: time limit of an item, from the worker's last sign of progress with it; that
            of ``NTT_ITEM_SECONDS`` if None, else 300.
        start_seconds: time limit of a worker's start, from its last sign of progress.
        tell: is called with what a person should know now, a sentence each.
        tick: is called at least once a second while the iterator is waited for.

    Raises:
        WorkerError: no worker can be started, or they die again and again without a result.
    """
    return Dispatcher(
        pool, item_seconds=item_seconds, start_seconds=start_seconds, tell=tell, tick=tick
    ).run(items)


def _limit_of_environment() -> float:
    written = os.environ.get("NTT_ITEM_SECONDS", "")
    with suppress(ValueError):
        if 0 < (seconds := float(written)) < math.inf:
            return seconds
    if written:
        raise WorkerError(f"NTT_ITEM_SECONDS={written!r} is not a number of seconds, such as 300.")
    return ITEM_SECONDS


def _averaged(average: float | None, seconds: float) -> float:
    """A running average with one more value."""
    return seconds if average is None else average + (seconds - average) / 8


class Dispatcher:
    """``dispatch`` in two steps: workers that start, and items for them.

    Attributes:
        last_words: what the handlers of the workers said when they were closed.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        item_seconds: float | None = None,
        start_seconds: float = START_SECONDS,
        tell: Callable[[str], None] = logger.warning,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """Start nothing yet; the arguments are those of ``dispatch``."""
        self._pool = pool
        self._chunks = Chunks((), pool.size)
        self._restarts = Restarts(pool.size)
        self._item_seconds = _limit_of_environment() if item_seconds is None else item_seconds
        self._start_seconds = start_seconds
        self._tell, self._tick = tell, tick
        self.last_words: list[bytes] = []
        self._busy: dict[int, _Busy] = {}  # by the worker's id()
        self._average: float | None = None  # seconds an item takes
        self._between: float | None = None  # seconds between two signs of a worker that works
        self._wait: str | None = None
        self._waiting_since = self._wait_told = self._look_at = 0.0
        self._listened = time.monotonic()
        self._told: set[str] = set()

    def prepare(self, most: int) -> None:
        """Start workers before there are items, and wait until one of them is ready.

        Args:
            most: number of items that may come; no more workers are started.

        Raises:
            WorkerError: none can be started. Then, and after what ``tick`` raises, all are ended.
        """
        needed = min(most, self._pool.size)
        try:
            while needed and not any(busy.ready for busy in self._busy.values()):
                self._start_for(needed)
                deque(self._round(), 0)  # without items there are no results
        except BaseException:
            self.close()
            raise

    def close(self, finished: bool = False) -> None:
        """End all workers; after it nothing can be done."""
        self._busy.clear()
        self.last_words = self._pool.close(finished)

    def run(self, items: Iterable[tuple[Any, bytes]]) -> Iterator[tuple[Any, bytes | LostItem]]:
        """The results of items; see ``dispatch``. Can be called once."""
        finished = False
        self._chunks = Chunks(items, self._pool.size)
        try:
            self._listened = time.monotonic()
            # The first worker starts while the first items are read.
            if not self._busy:
                self._start(0)
            self._chunks.read()
            for busy in self._busy.values():
                # Nobody listened to them since they were prepared.
                busy.since = time.monotonic()
                if busy.ready:
                    self._fill(busy)
            while self._start_needed():
                yield from self._round()
            finished = True
        finally:
            self.close(finished)

    def _round(self) -> Iterator[tuple[Any, bytes | LostItem]]:
        """Wait for what happens next, and see to it."""
        events = self._pool.wait(_TICK)
        self._forgive_silence()
        looks = time.monotonic() >= self._look_at
        if looks:
            # Before results are handed on, which may take any time. Who was just heard is well.
            yield from self._give_up_hanging({id(event.worker) for event in events})
        for event in events:
            yield from self._handle(event)
        if looks:
            self._restarts.require_hope(self._starting())
            self._tell_wait()
            self._tick()
            self._look_at = time.monotonic() + _LOOK_SECONDS

    def _forgive_silence(self) -> None:
        """Do not count against the workers what passed while nobody listened to them."""
        now = time.monotonic()
        deaf = now - self._listened
        self._listened = now
        if deaf > _DEAF_SECONDS:
            for busy in self._busy.values():
                busy.since = min(now, busy.since + deaf)
                busy.began = min(now, busy.began + deaf)

    def _start_needed(self) -> bool:
        """Start the workers that the rest needs; whether there is anything left to do."""
        needed = self._chunks.workers_needed()
        self._start_for(needed)
        return needed > 0 or any(busy.chunks for busy in self._busy.values())

    def _start_for(self, needed: int) -> None:
        if len(self._busy) == self._pool.size:
            return
        unused = sum(not busy.chunks for busy in self._busy.values())
        numbers = {busy.number for busy in self._busy.values()}
        for number in self._restarts.due(set(range(self._pool.size)) - numbers):
            if unused >= needed:
                break
            self._start(number)
            unused += 1

    def _start(self, number: int) -> None:
        worker = self._pool.start(number)
        self._busy[id(worker)] = _Busy(worker, number, time.monotonic())

    def _handle(self, event: Event) -> Iterator[tuple[Any, bytes | LostItem]]:
        busy = self._busy.get(id(event.worker))
        if busy is None:
            return  # it was given up, and its results come too late
        if isinstance(event, Results):
            yield from self._results(busy, event)
        elif isinstance(event, Placed):
            busy.placed, busy.since = True, time.monotonic()
        elif isinstance(event, Alive):
            self._note_sign(busy)
            if event.doing:
                self._tell_once(event.doing)
        elif isinstance(event, Ready):
            busy.placed = busy.ready = True
            self._restarts.note_ready()
            self._fill(busy)
        elif isinstance(event, Refused):
            self._tell_once(event.reason)
            yield from self._lost(busy, event.reason, refused=True)
        elif isinstance(event, Ended):
            yield from self._lost(busy, event.reason)

    def _results(self, busy: _Busy, event: Results) -> Iterator[tuple[Any, bytes]]:
        now = self._note_sign(busy)
        seconds = (now - busy.began) / max(1, len(event.results))
        self._average = _averaged(self._average, seconds)
        busy.began = now
        self._restarts.note_result(busy.number)
        keys = []
        for _ in event.results:
            keys.append(busy.chunks[0].items.popleft().key)
            if not busy.chunks[0].items:
                busy.chunks.popleft()
        # The worker gets its next chunk before these results are looked at.
        self._fill(busy)
        yield from zip(keys, event.results, strict=True)

    def _note_sign(self, busy: _Busy) -> float:
        """A worker gets on; gives the time."""
        now = time.monotonic()
        if busy.chunks:
            self._between = _averaged(self._between, now - busy.since)
        busy.since = now
        return now

    def _fill(self, busy: _Busy) -> None:
        """Give a worker chunks until it has two, or one that is to be done alone."""
        while len(busy.chunks) < _IN_FLIGHT and not (busy.chunks and busy.chunks[0].alone):
            chunk = self._chunks.take(idle=not busy.chunks, item_seconds=self._average)
            if chunk is None:
                return
            if not busy.chunks:
                busy.since = busy.began = time.monotonic()
            busy.chunks.append(chunk)
            busy.worker.send([item.data for item in chunk.items])

    def _lost(
        self, busy: _Busy, reason: str, refused: bool = False
    ) -> Iterator[tuple[Any, LostItem]]:
        """A worker is gone: find the item that may have ended it, and do the others again."""
        del self._busy[id(busy.worker)]
        reason = reason.rstrip(".")
        self._restarts.note_death(busy.number, reason, refused)
        if busy.chunks:
            self._tell(f"{busy.worker.name} ended: {reason}. Its images are tried again.")
            lost = self._suspect(busy)
            if lost is not None:
                self._restarts.note_cause()
                yield lost.key, LostItem(f"it ended {_STRIKES} workers, the last one: {reason}")
        elif not busy.ready and not refused:
            self._tell_once(f"A worker ended at its start: {reason}.")
        self._restarts.require_hope(self._starting())
        for other in list(self._busy.values()):
            # An idle one need not wait for the replacement.
            if other.ready and not other.chunks:
                self._fill(other)

    def _starting(self) -> int:
        """Number of workers whose process runs and is not ready yet."""
        return sum(busy.placed and not busy.ready for busy in self._busy.values())

    def _suspect(self, busy: _Busy) -> Item | None:
        """Put a lost worker's chunks back; gives the item that is not tried again."""
        current, *others = busy.chunks
        items = list(current.items)
        lost = None
        if self._pool.one_by_one or current.size == 1:
            items[0].strikes += 1
            if items[0].strikes >= _STRIKES:
                lost = items.pop(0)
        self._chunks.put_back([*(Chunk(deque([item])) for item in items), *others])
        return lost

    def _give_up_hanging(self, heard: Container[int]) -> Iterator[tuple[Any, LostItem]]:
        """End workers that have not been heard for too long; ``heard`` are those of just now."""
        now = time.monotonic()
        for busy in list(self._busy.values()):
            idle = not busy.placed or (busy.ready and not busy.chunks)
            if idle or id(busy.worker) in heard:
                continue
            limit, what, advice = self._start_seconds, "it was not ready", ""
            if busy.ready:
                limit = self._item_seconds + _SLOWER * (self._between or 0.0)
                what, advice = "it gave no result and finished no tile", _SLOW_ADVICE
            if now - busy.since > limit:
                busy.worker.end()
                yield from self._lost(busy, f"{what} within {limit:.0f} seconds{advice}")

    def _tell_wait(self) -> None:
        """Say what is waited for while no worker can work."""
        now = time.time()
        kind = self._kind_of_wait()
        if kind != self._wait:
            self._wait, self._waiting_since, self._wait_told = kind, now, 0.0
        if kind is None:
            return
        what, first = self._waits_for(kind, now - self._waiting_since)
        if now - self._waiting_since >= first and now - self._wait_told >= _WAIT_TOLD:
            self._wait_told = now
            since = time.strftime("%H:%M:%S", time.localtime(self._waiting_since))
            self._tell(f"Waiting for {what} since {since}.")

    def _kind_of_wait(self) -> str | None:
        if any(busy.ready for busy in self._busy.values()):
            return None
        if not self._busy:
            return "pause"
        return "start" if any(busy.placed for busy in self._busy.values()) else "place"

    def _waits_for(self, kind: str, waited: float) -> tuple[str, float]:
        """What is waited for, and after how many seconds that is told."""
        if kind == "pause":
            cause = self._restarts.reason
            return f"the moment at which a worker is started again ({cause})", _WAIT_FIRST_TOLD
        if kind == "start":
            return "a worker to be ready", _START_TOLD
        return self._pool.waits_for(waited), _WAIT_FIRST_TOLD

    def _tell_once(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self._tell(sentence)
