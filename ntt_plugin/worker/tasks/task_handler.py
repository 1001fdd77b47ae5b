"""A task with its reading ahead: items are submitted, results asked for in the same order."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import bson

from ..labels.kept_labels import without_kept
from ..labels.label_bytes import Stamp, field_bytes
from ..messages import Item, Result
from .cached_proposals import CachedProposals, upstream_facts
from .image_tasks import Made, Task
from .networks import SegmenterLike, halved_note
from .reading import ReadImage, ReadingAhead

# Bytes of masks that are encoded where they were made, if no network runs meanwhile: with so few,
# two threads of Python cost each other more time than one takes from the other.
_FEW_BYTES = 2**18


class TaskHandler:
    """Works on items in the thread that asks for results.

    Attributes:
        name: tells this handler from others.
    """

    def __init__(
        self,
        task: Task,
        segmenter: SegmenterLike,
        cached: CachedProposals | None = None,
        stamp: Stamp | None = None,
        passes_on: Callable[[Exception], bool] = lambda error: False,
        path_of: Callable[[str], str] = str,
    ) -> None:
        """Read and compute nothing yet.

        Args:
            task: what to do with an image.
            segmenter: the one that the task uses.
            cached: looks up an image's proposals, so that it need not be read.
            stamp: what the run writes with labels; None if the task makes none.
            passes_on: whether an error is raised rather than told in the result of its sample.
            path_of: gives an item's path as this machine has it.
        """
        self.name = uuid.uuid4().hex
        self._task = task
        self._segmenter = segmenter
        self._cached = cached
        self._stamp = stamp
        self._passes_on = passes_on
        self._ahead = ReadingAhead(cached.recall if cached else None, path_of=path_of)
        self._known: dict[str, Any] = {"name": self.name, "device": str(segmenter.device)}
        self._known["facts"] = upstream_facts(segmenter)
        self._told: dict[str, Any] = {}

    def submit(self, item: bytes) -> None:
        """Begin to read an item's image; any thread."""
        self.submit_item(Item.from_bytes(item))

    def next(self) -> bytes:
        """The result of the oldest item; in the computing thread only."""
        return self.next_result().to_bytes()

    def submit_item(self, item: Item) -> None:
        """As ``submit``, of an item that need not travel."""
        self._ahead.submit(item)

    def next_result(self) -> Result:
        """As ``next``, a result that need not travel; its labels are still to be encoded."""
        with self._ahead.next() as read:
            item = read.item
            result = Result(item.sample_id, item.filepath, notes=[*item.notes, *read.notes])
            try:
                if read.error is not None:
                    raise read.error
                before = self._segmenter.point_batch
                made = self._task(read)
                result.notes += [*made.notes, *halved_note(self._segmenter, before)]
                result.from_cache = read.image is None
                self._fill(result, made, read)
                if result.from_cache and result.mask_bytes <= _FEW_BYTES:
                    result.finish()
            except Exception as error:
                if self._passes_on(error):
                    raise
                result.error, result.unfinished = error, None
        facts = self.facts()
        if facts != self._told:
            result.worker = self._told = facts
        return result

    def facts(self) -> dict[str, Any]:
        """What the run should know of this worker, as BSON can hold it."""
        return {**self._known, **(self._cached.troubles() if self._cached else {})}

    def close(self) -> bytes:
        """End the threads; proposals that wait to be kept are kept first. Gives ``facts``."""
        self._ahead.close()
        if self._cached is not None:
            self._cached.close()
        return bson.encode(self.facts())

    def _fill(self, result: Result, made: Made, read: ReadImage) -> None:
        result.left_out = made.left_out
        if made.labels is None or self._stamp is None:
            return
        labels = made.labels
        if read.item.kept is not None:
            result.kept = len(read.item.kept)
            labels, result.overlapping = without_kept(labels, read.item.kept)
        result.count = len(labels)
        result.mask_bytes = sum(label.mask.nbytes for label in labels if label.mask is not None)
        result.unfinished = partial(
            field_bytes, labels, self._stamp, read.item.run, read.file_state
        )
