"""Pieces written in bulks, in a thread beside the work on the next ones."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MOST_AT_ONCE = 32
# A bulk is written when it is full, or when its first piece has waited so long.
_SECONDS = 0.25
# While a bulk is written the next one is gathered: a longer queue cannot make up for a slow writer.
_MOST_BULKS = 2
# Bytes that pieces hold until they are written; one larger than that waits until it is alone.
_WAITING_BYTES = 256 * 2**20
# Bytes of a bulk, unless it is of one piece.
_BULK_BYTES = 16 * 2**20


class WritingBehind(Generic[T]):
    """Writes pieces in their order, many at once; to be used in a ``with``, which waits for all.

    What is handed over is written even if the work on the next piece fails or is stopped. After a
    write that fails nothing more is written.
    """

    def __init__(
        self,
        write: Callable[[list[T]], Iterable[T]],
        done: Callable[[T], None],
        size: Callable[[T], int] = lambda piece: 0,
    ) -> None:
        """Write nothing yet.

        Args:
            write: writes some pieces, in the thread, and gives each that is written. What it
                raises ends all writing.
            done: callback for each piece written, in order, in the thread that puts them.
            size: bytes that a piece holds until it is written.
        """
        self._write = write
        self._done = done
        self._size = size
        self._gathered: deque[tuple[T, int]] = deque()
        self._since = 0.0
        self._written: deque[T] = deque()
        self._count = self._bytes = 0  # of pieces that are not written yet
        self._hurry = self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="ntt writer", daemon=True)

    def __enter__(self) -> WritingBehind[T]:
        self._thread.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """Wait for all that was handed over.

        After an error, pending pieces are still written and reported if possible.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        with nullcontext() if error is None else suppress(Exception):
            self._report()

    def put(self, piece: T) -> None:
        """Hand a piece over; waits while too many are waiting, or too large ones.

        Raises:
            Exception: what writing a former piece raised.
        """
        size = self._size(piece)
        with self._changed:
            while self._error is None and not self._has_room(size):
                # Nothing is gained by waiting for more pieces: none can come.
                self._hurry = True
                self._changed.notify_all()
                self._changed.wait()
        self._report()
        with self._changed:
            if not self._gathered:
                self._since = time.monotonic()
            self._gathered.append((piece, size))
            self._count += 1
            self._bytes += size
            # Waking the thread for a piece that it only lays by would cost more than the piece.
            if len(self._gathered) in (1, MOST_AT_ONCE):
                self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        if not self._count:
            return True
        fits = self._bytes + size <= _WAITING_BYTES
        return fits and self._count < _MOST_BULKS * MOST_AT_ONCE

    def _report(self) -> None:
        while self._written:
            self._done(self._written.popleft())
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while bulk := self._next_bulk():
            try:
                self._written.extend(self._write([piece for piece, _ in bulk]))
            except BaseException as error:
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._count -= len(bulk)
                self._bytes -= sum(size for _, size in bulk)
                self._changed.notify_all()

    def _next_bulk(self) -> list[tuple[T, int]]:
        """Wait for a bulk; empty at the end."""
        with self._changed:
            while not self._is_due():
                left = self._since + _SECONDS - time.monotonic() if self._gathered else None
                self._changed.wait(left)
            self._hurry = False
            bulk: list[tuple[T, int]] = []
            room = _BULK_BYTES
            while self._gathered and len(bulk) < MOST_AT_ONCE:
                room -= self._gathered[0][1]
                if bulk and room < 0:
                    break
                bulk.append(self._gathered.popleft())
            self._since = time.monotonic()
            return bulk

    def _is_due(self) -> bool:
        if not self._gathered:
            return self._closed
        full = len(self._gathered) >= MOST_AT_ONCE
        waited = time.monotonic() - self._since >= _SECONDS
        return full or waited or self._hurry or self._closed
