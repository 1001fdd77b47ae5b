"""Samples read ahead, and labels written beside the work on the next image."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from PIL import Image
from pymongo.errors import PyMongoError

from ...engine.images.load import image_notes, notes_need_pixels, read_with_notes, shown_size
from ...engine.proposals.proposals import Proposals
from ..labels.convert import NewLabel
from ..runtime.caching import Remembered
from ..runtime.progress_bar import Progress, progress_bar
from ..samples.views import all_images
from .report import SampleNote
from .writer import image_state

_THREADS = 4
_AHEAD = 4
# Decoded pixels waiting or worked on, bytes; an image larger than that waits until it is alone.
_BUDGET = 256 * 2**20

_MOST_FETCHED = 32
# Samples are fetched in batches that last about this long, so that what is fetched is fresh.
_FRESH_SECONDS = 2.0
# Notes on how images with cached proposals are read, by path and state of the file.
_notes: Remembered[list[str]] = Remembered(100_000)
# Errors that are not a sample's own.
_NO_DATABASE = (PyMongoError, ConnectionError)


@dataclass
class ReadSample:
    """A sample on its way through a run.

    Attributes:
        sample: the sample; None if it is not there any more, or cannot be loaded.
        state: its image file's ``image_state`` before the file was read.
        digest: its image file's ``image_digest``; None if no cache was asked.
        proposals: its cached proposals; None if there are none.
        image: its image, RGB and upright; None if it was not read.
        notes: what a person should know of it, a sentence each.
        error: why it could not be read, labelled or written; None if it was, or is gone.
        labels: its labels, with masks; None until it is labelled.
        from_cache: whether the labels come from cached proposals, without running a network.
    """

    sample_id: str
    sample: Any = None
    state: str | None = None
    digest: str | None = None
    proposals: Proposals | None = None
    image: Image.Image | None = None
    notes: list[str] = field(default_factory=list)
    error: Exception | None = None
    labels: list[NewLabel] | None = None
    from_cache: bool = False

    def note(self, reason: str | Exception) -> SampleNote:
        """A note on this sample for a report."""
        filepath = "" if self.sample is None else self.sample.filepath
        return SampleNote(self.sample_id, filepath, str(reason) or type(reason).__name__)


def fetch_samples(
    dataset: Any, fields: Sequence[str], sample_ids: Sequence[str]
) -> Mapping[str, Any]:
    """Samples by their ids, with some fields; without those that are gone."""
    # Few fields of few samples: a cursor held open between slow steps would expire, and a sample
    # deleted meanwhile would go unnoticed.
    view = all_images(dataset).select_fields(fields)
    return {sample.id: sample for sample in view.select(sample_ids)}


class ReadingAhead:
    """Goes through samples in order, with a progress bar, and reads the next ones meanwhile.

    To be used in a ``with``, which ends its threads.
    """

    def __init__(
        self,
        fetch: Callable[[Sequence[str]], Mapping[str, Any]],
        sample_ids: Sequence[str],
        budget: int = _BUDGET,
        recall: Callable[[ReadSample], None] | None = None,
        progress: Progress = False,
    ) -> None:
        """Prepare to read; nothing is read yet.

        Args:
            fetch: gives the samples of some ids, by id, without those that are gone.
            sample_ids: the samples, in order.
            budget: bytes of decoded images at once, the one being worked on included.
            recall: looks up an image's digest and proposals; on a hit the image is not read.
            progress: FiftyOne's.
        """
        self._fetch = fetch
        self._ids = sample_ids
        self._recall = recall
        self._progress = progress_bar(len(sample_ids), progress)
        self._room = _Room(budget)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="ntt images")

    def __enter__(self) -> ReadingAhead:
        self._bar = self._progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """End the threads; images that are being decoded are given up."""
        self._room.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._progress.__exit__(*error)

    def __iter__(self) -> Iterator[ReadSample]:
        waiting: deque[Future[tuple[ReadSample, int]]] = deque()
        for turn, read in enumerate(self._fetched()):
            waiting.append(self._threads.submit(self._read, read, turn))
            if len(waiting) > _AHEAD:
                yield from self._next(waiting)
        while waiting:
            yield from self._next(waiting)

    def _next(self, waiting: deque[Future[tuple[ReadSample, int]]]) -> Iterator[ReadSample]:
        read, size = waiting.popleft().result()
        yield read
        self._bar.update()
        read.image = read.proposals = None
        self._room.leave(size)

    def _fetched(self) -> Iterator[ReadSample]:
        start, count = 0, 1
        while start < len(self._ids):
            asked = time.monotonic()
            ids = self._ids[start : start + count]
            yield from self._fetch_batch(ids)
            start += count
            # A coarse clock may see no time pass.
            took = max(time.monotonic() - asked, 1e-3)
            count = max(1, min(_MOST_FETCHED, 2 * count, int(count * _FRESH_SECONDS / took)))

    def _fetch_batch(self, ids: Sequence[str]) -> list[ReadSample]:
        try:
            found = self._fetch(ids)
        except _NO_DATABASE:
            raise
        # A document may have any form, and what FiftyOne raises of it has no base of its own.
        except Exception as error:
            if len(ids) == 1:
                return [ReadSample(ids[0], error=error)]
            # One that cannot be loaded must not take the others with it.
            return [read for sample_id in ids for read in self._fetch_batch([sample_id])]
        return [ReadSample(sample_id, found.get(sample_id)) for sample_id in ids]

    def _read(self, read: ReadSample, turn: int) -> tuple[ReadSample, int]:
        size = 0
        try:
            if read.sample is not None:
                # Before the file is read: one that is replaced meanwhile counts as changed.
                read.state = image_state(read.sample.filepath)
                size = self._look(read, read.sample.filepath)
        except Exception as error:
            read.error = error
        self._room.enter(turn, size)
        if size and read.error is None:
            filepath = read.sample.filepath
            try:
                if read.proposals is not None:
                    # Read for the notes alone, once in a process.
                    key = filepath, read.state
                    read.notes = list(_notes.get(key, lambda: image_notes(filepath)))
                else:
                    read.image, read.notes = read_with_notes(filepath)
            except Exception as error:
                read.error = error
        return read, size

    def _look(self, read: ReadSample, filepath: str) -> int:
        """Look up cached proposals; returns the bytes of the image's pixels, 0 if not needed."""
        if self._recall is not None:
            self._recall(read)
        if read.proposals is not None and not notes_need_pixels(filepath):
            read.notes = image_notes(filepath)
            return 0
        height, width = shown_size(filepath)
        return 3 * height * width


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


T = TypeVar("T")
Outcome = TypeVar("Outcome")

# One is being written and one waits: a longer queue cannot make up for a slow writer.
_MOST_WAITING = 2
# Bytes that pieces hold until they are written; one larger than that waits until it is alone.
_WAITING_BYTES = 256 * 2**20


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
            done: callback for each piece written, in order, in the thread that puts them.
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

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """Wait for all that was handed over.

        After an error, pending pieces are still written and reported if possible.
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
        self._take(_MOST_WAITING - 1, _WAITING_BYTES - size)
        self._waiting.append((self._thread.submit(self._write_next, piece), size))

    def _take(self, left: int, room: int) -> None:
        """Report written pieces until at most this many pieces and bytes are pending."""
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
