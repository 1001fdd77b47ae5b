"""A pass over images that writes no labels: proposals computed, or looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from ...errors import NoFileHandlesError, StoreError
from ...worker.messages import Item, Result, in_one_sentence
from ..samples.checks import dataset_of, quoted
from ..samples.fetching import fetch_documents, in_batches
from ..samples.sample_ids import ids_of
from ..samples.sample_notes import SampleNote
from .progress_bar import Progress, progress_bar
from .work import Work


def concerns_every_image(error: Exception) -> bool:
    """Whether an error of one image concerns all others."""
    return isinstance(error, (NoFileHandlesError, StoreError))


def each_image(
    images: Any, work: Work, done: Callable[[Result], None], progress: Progress
) -> tuple[list[SampleNote], int]:
    """Work on each image; gives those that failed, with reasons, and how many were deleted.

    Args:
        images: a dataset or view, not grouped.
        work: what is done with each; whoever made it finishes it.
        done: is called with the result of each image that did not fail.
        progress: FiftyOne's.

    Raises:
        NoFileHandlesError, StoreError: the work's; they concern every image.
    """
    failed: list[SampleNote] = []
    deleted = 0
    dataset, sample_ids = dataset_of(images), ids_of(images)

    def items(some: Sequence[str]) -> Iterator[Item]:
        nonlocal deleted
        found = fetch_documents(dataset, {"filepath": 1}, some)
        for sample_id in some:
            filepath = found.get(sample_id, {}).get("filepath")
            if sample_id not in found:
                deleted += 1
            elif isinstance(filepath, str):
                yield Item(sample_id, filepath)
            else:
                reason = f"Its filepath is {quoted(filepath)}, which is no path."
                failed.append(SampleNote(sample_id, "", reason))

    with (
        progress_bar(len(sample_ids), progress) as bar,
        closing(work.results(in_batches(lambda some: list(items(some)), sample_ids))) as results,
    ):
        work.waiting = partial(bar.update, 0)
        for result in results:
            work.told.hear(result.worker)
            if result.error is None:
                done(result)
            elif concerns_every_image(result.error):
                raise result.error
            else:
                reason = in_one_sentence(result.error)
                failed.append(SampleNote(result.sample_id, result.filepath, reason))
            bar.update()
    return failed, deleted
