"""What was found out about files, for as long as the file system shows them unchanged."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# Two changes within a tick of the file system's clock look like one; FAT's ticks last 2 s.
_TICK_SECONDS = 2.5
# Some 400 bytes each.
_MOST_KNOWN = 20_000
# Without O_NONBLOCK, opening a pipe waits for its writer.
_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

Identity = tuple[int, ...]


class KnownFiles(Generic[T]):
    """Remembers what a function finds in files; a file that was touched is looked at again.

    A file is the same while its device, number, length, date and the date of its last change are;
    the last one is set by the system alone. Windows has no such date, so nothing is remembered
    there. Thread-safe.
    """

    def __init__(self, most: int = _MOST_KNOWN) -> None:
        """Know nothing yet; the least recently used of more than ``most`` files are forgotten."""
        self._most = most
        self._known: OrderedDict[str, tuple[Identity, T]] = OrderedDict()
        self._lock = threading.Lock()

    def ask(self, path: str, find: Callable[[], T]) -> T:
        """What ``find`` finds in a file, or found before; what it raises is not remembered."""
        before = _identity(path)
        if before is None:
            return find()
        with self._lock:
            known = self._known.get(path)
            if known is not None and known[0] == before:
                self._known.move_to_end(path)
                return known[1]
        found = find()
        if _is_settled(before) and _identity(path) == before:
            with self._lock:
                self._known[path] = before, found
                self._known.move_to_end(path)
                if len(self._known) > self._most:
                    self._known.popitem(last=False)
        return found


def _identity(path: str) -> Identity | None:
    """What changes with a file, its last change at the end; None of what is no readable file."""
    if os.name == "nt":
        return None
    try:
        # Opening can start a device, so it is looked at first.
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        # Network file systems ask the server on opening, and may answer ``stat`` from memory.
        handle = os.open(path, _OPEN)
        try:
            found = os.fstat(handle)
        finally:
            os.close(handle)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _is_settled(identity: Identity) -> bool:
    """Whether the next change of a file will show; of one from the future nobody knows."""
    return time.time_ns() - max(identity[-2:]) > _TICK_SECONDS * 1e9
