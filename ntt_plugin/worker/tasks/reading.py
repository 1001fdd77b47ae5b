"""Images read ahead of the work on them, in bounded memory."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

from PIL import Image

from ...engine.images.load import image_notes, read_with_notes, shown_size
from ...engine.proposals.cache import image_digest
from ...engine.proposals.proposals import Proposals
from ..messages import Item
from .reading_place import ReadingPlace

NO_DATE = "-"
"""In place of a file's date: the file is a copy."""

_THREADS = 4
# Decoded pixels waiting or worked on, bytes; an image larger than that waits until it is alone.
_BUDGET = 256 * 2**20


@dataclass
class ReadImage:
    """An item with its image, or with what is kept of it.

    Attributes:
        filepath: its file on this machine.
        state: its file's ``image_state`` before the file was read.
        digest: its file's ``image_digest``; None if no cache was asked and the file is no copy.
        key: what its proposals are kept under; None if no cache was asked.
        size: its (H, W) as it is shown; None if no cache was asked.
        header_notes: its notes where its header tells them; None where it does not.
        proposals: its cached proposals; None if there are none.
        image: its image, RGB and upright; None if it was not read.
        notes: what a person should know of how it was read, a sentence each.
        error: why it could not be read; None if it was.
    """

    item: Item
    filepath: str
    state: str | None = None
    digest: str | None = None
    key: str | None = None
    size: tuple[int, int] | None = None
    header_notes: list[str] | None = None
    proposals: Proposals | None = None
    image: Image.Image | None = None
    notes: list[str] = field(default_factory=list)
    error: Exception | None = None

    @property
    def file_state(self) -> str | None:
        """What a sample's labels keep of the file: its state and, if it is known, its digest.

        Of a copy of the sample's file, which has a date of its own, the date is ``-``.
        """
        state = self.state
        if state is not None and self.is_copy:
            state = f"{state.split()[0]} {NO_DATE}"
        return state if state is None or self.digest is None else f"{state}/{self.digest}"

    @property
    def is_copy(self) -> bool:
        """Whether the file is not the sample's own, but the one that ``paths=`` makes of it."""
        return self.filepath != self.item.filepath


def image_state(filepath: str) -> str | None:
    """Size and date of an image's file, without reading it; None if there is none."""
    try:
        found = os.stat(filepath)
    except (OSError, ValueError):
        return None
    return f"{found.st_size} {found.st_mtime_ns}"


@dataclass
class _Submitted:
    """An item's image in the queue; ``future`` is None while it is left for whoever asks for it."""

    read: ReadImage
    turn: int
    future: Future[int] | None = None


class ReadingAhead:
    """Reads the images of items in threads; gives them in the order in which they were submitted.

    While one image after another has cached proposals that are read fast, nothing is read ahead.

    To be used in a ``with``, or to be closed: that ends its threads.
    """

    def __init__(
        self,
        recall: Callable[[ReadImage], None] | None = None,
        budget: int = _BUDGET,
        path_of: Callable[[str], str] = str,
    ) -> None:
        """Prepare to read; nothing is read yet.

        Args:
            recall: looks up an image's digest and proposals; on a hit the image is not read.
            budget: bytes of decoded images at once, the one being worked on included.
            path_of: gives an item's path as this machine has it.
        """
        self._recall = recall
        self._path_of = path_of
        self._room = _Room(budget)
        self._turn = 0
        self._queue: deque[_Submitted] = deque()
        self._place = ReadingPlace()
        self._lock = threading.Lock()  # of the three above
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="ntt images")

    def __enter__(self) -> ReadingAhead:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def submit(self, item: Item) -> None:
        """Begin to read an item's image; its image is read when its turn comes."""
        read = ReadImage(item, self._path_of(item.filepath))
        with self._lock:
            submitted = _Submitted(read, self._turn)
            self._turn += 1
            self._queue.append(submitted)
            if not self._place.here:
                self._begin(submitted)

    @contextmanager
    def next(self) -> Iterator[ReadImage]:
        """The image of the oldest item, which is let go of at the end of the ``with``.

        Waits until it is read; an error is in what is given.
        """
        with self._lock:
            submitted = self._queue.popleft()
        read, seconds = submitted.read, None
        if submitted.future is not None:
            size = submitted.future.result()
        else:
            began = time.perf_counter()
            try:
                size = self._read(read, submitted.turn)
            except BaseException:
                # It did not take its turn, for which others would wait.
                self._room.close()
                raise
            seconds = time.perf_counter() - began
        try:
            self._choose_place(read, seconds)
            yield read
        finally:
            read.image = read.proposals = None
            self._room.leave(size)

    def close(self) -> None:
        """End the threads; images that are being decoded are given up."""
        self._room.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _begin(self, submitted: _Submitted) -> None:
        submitted.future = self._threads.submit(self._read, submitted.read, submitted.turn)

    def _choose_place(self, read: ReadImage, seconds: float | None) -> None:
        """Decide where the next images are read, by the last one; threads begin at once."""
        with self._lock:
            if read.proposals is None:
                self._place.note_read()
            else:
                self._place.note_cached(seconds)
            if not self._place.here:
                for submitted in self._queue:
                    if submitted.future is None:
                        self._begin(submitted)

    def _read(self, read: ReadImage, turn: int) -> int:
        """Read an image, or what is kept of it; gives the bytes of its pixels that it holds."""
        size, filepath = 0, read.filepath
        try:
            # Before the file is read: one that is replaced meanwhile counts as changed.
            read.state = image_state(filepath)
            size = self._look(read, filepath)
            if read.is_copy and read.digest is None:
                # Its date says nothing of the sample's own file, its content does.
                read.digest = image_digest(filepath)
        except Exception as error:
            read.error = error
        self._room.enter(turn, size)
        if size and read.error is None:
            try:
                if read.proposals is not None:
                    # Read for the notes alone, once in a process.
                    read.notes = list(_notes(filepath, read.state))
                else:
                    read.image, read.notes = read_with_notes(filepath)
            except Exception as error:
                read.error = error
        return size

    def _look(self, read: ReadImage, filepath: str) -> int:
        """Look up cached proposals; returns the bytes of the image's pixels, 0 if not needed."""
        if self._recall is not None:
            self._recall(read)
        if read.proposals is not None and read.header_notes is not None:
            read.notes = list(read.header_notes)
            return 0
        height, width = read.size or shown_size(filepath)
        return 3 * height * width


@lru_cache(100_000)
def _notes(filepath: str, state: str | None) -> tuple[str, ...]:
    """Notes on how an image with cached proposals is read, by the state of its file."""
    return tuple(image_notes(filepath))


class _Room:
    """Limits the memory of decoded images, in their order: none waits for a later one."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._used = 0
        self._turn = 0
        self._closed = False
        self._changed = threading.Condition()

    def enter(self, turn: int, size: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._is_free(turn, size))
            self._turn = turn + 1
            self._used += size
            self._changed.notify_all()
            if self._closed:
                raise RuntimeError("Reading ahead has ended.")

    def leave(self, size: int) -> None:
        with self._changed:
            self._used -= size
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_free(self, turn: int, size: int) -> bool:
        return turn == self._turn and (self._used == 0 or self._used + size <= self._budget)
