"""Work in order in a thread of its own, beside what makes the next piece of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")
Outcome = TypeVar("Outcome")

# One is being written and one waits: a longer queue cannot make up for a slow writer.
_MOST_WAITING = 2
# Bytes that pieces hold until they are written; one larger than that waits until it is alone.
_BUDGET = 256 * 2**20


class WritingBehind(Generic[T, Outcome]):
    """Writes pieces one after the other; to be used in a ``with``, which waits for the last.

    What is handed over is written even if the work on the next piece fails or is stopped. After a
    write that fails nothing more is written.
    """

    def __init__(
        self,
        write: Callable[[T], Outcome],
        done: Callable[[Outcome], None],
        size: Callable[[T], int] = lambda piece: 0,
    ) -> None:
        """Write nothing yet.

        Args:
            write: writes a piece, in the thread. What it raises ends all writing.
            done: is told of each piece that was written, in order, in the thread that puts them.
            size: bytes that a piece holds until it is written.
        """
        self._size = size
        self._write = write
        self._done = done
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ntt writer")
        self._waiting: deque[tuple[Future[Outcome], int]] = deque()
        self._failed = threading.Event()

    def __enter__(self) -> WritingBehind[T, Outcome]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for all that was handed over.

        After an error, what waits is written and told of too, if it can be; that error counts.
        """
        try:
            with nullcontext() if error is None else suppress(Exception):
                self._take(0, 0)
        finally:
            self._thread.shutdown(wait=True)

    def put(self, piece: T) -> None:
        """Hand a piece over; waits while too many are waiting, or too large ones.

        Raises:
            Exception: what writing a former piece raised.
        """
        size = self._size(piece)
        self._take(_MOST_WAITING - 1, _BUDGET - size)
        self._waiting.append((self._thread.submit(self._write_next, piece), size))

    def _take(self, left: int, room: int) -> None:
        """Tell of what is written, until so many pieces and bytes at most are waiting."""
        while self._waiting and (
            len(self._waiting) > left
            or sum(size for _, size in self._waiting) > room
            or self._waiting[0][0].done()
        ):
            self._done(self._waiting.popleft()[0].result())

    def _write_next(self, piece: T) -> Outcome:
        if self._failed.is_set():
            raise RuntimeError("A former piece could not be written.")
        try:
            return self._write(piece)
        except BaseException:
            self._failed.set()
            raise
