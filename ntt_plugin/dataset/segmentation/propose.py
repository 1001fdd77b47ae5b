"""Compute, inspect and clear cached proposals."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from pymongo.errors import ConnectionFailure

from ...engine.proposals.store import StoreInfo
from ...engine.recipe import Recipe
from ...errors import DatasetError, NoFileHandlesError, StoreError, WorkerError
from ...worker.messages import Result
from ...worker.tasks.cached_proposals import CachedProposals
from ...worker.tasks.image_tasks import proposing, require_stored
from ...worker.tasks.networks import SegmenterLike
from ...worker.tasks.spec import PROPOSE
from ...worker.tasks.task_handler import TaskHandler
from ..networks import as_recipe, get_segmenter
from ..runtime.caching import Cache, ProposalStore, store_of
from ..runtime.image_pass import concerns_every_image, each_image
from ..runtime.progress_bar import Progress
from ..runtime.work import Work, WorkHere
from ..runtime.workers import Workers, require_usable, work_by
from ..samples.sample_notes import SampleNote, in_words, run_notes
from ..samples.views import image_view


@dataclass
class ProposeReport:
    """What ``propose`` did.

    Attributes:
        preset: the recipe's preset.
        device: where the networks ran.
        seconds: wall time.
        computed: images whose proposals were computed and kept now.
        from_cache: images whose proposals were kept already.
        deleted: samples that were deleted meanwhile.
        failed: samples that could not be done, each with the reason.
        notes: what else happened.
    """

    preset: str
    device: str
    seconds: float = 0.0
    computed: int = 0
    from_cache: int = 0
    deleted: int = 0
    failed: list[SampleNote] = field(default_factory=list)
    notes: list[SampleNote] = field(default_factory=list)

    def __str__(self) -> str:
        """The counts in words, for logs and messages."""
        parts = [f"proposals of {self.computed} images computed ({self.seconds:.1f} s)"]
        if self.from_cache:
            parts.append(f"{self.from_cache} kept before")
        if self.deleted:
            parts.append(f"{self.deleted} deleted meanwhile")
        return "; ".join([*parts, *in_words(self.failed, "failed")])


def propose(
    samples: Any,
    preset: str | Recipe = "paper",
    device: str | torch.device | None = None,
    batch_size: int | None = None,
    progress: Progress = None,
    *,
    group_slices: str | Iterable[str] | None = None,
    segmenter: SegmenterLike | None = None,
    cache: Cache = True,
    workers: Workers = None,
) -> ProposeReport:
    """Compute ahead of time all that ``segment`` needs of images whatever the memory bank.

    After it, ``segment`` with the same preset and any bank takes milliseconds an image. Nothing
    in the dataset is changed. Images whose proposals are kept already are passed over, so a run
    may be stopped or killed at any moment: a second call goes on where it stopped.

    Args:
        samples: a dataset or view of images.
        preset: a preset's name, or a recipe.
        device: where to run; the best there is if None.
        batch_size: points decoded at once; less needs less memory. The recipe's if None.
        progress: FiftyOne's: True, False, a callback, or None for the configured default. An
            exception out of the callback stops the run.
        group_slices: name or names of the slices to take of a grouped dataset; the active one
            if None.
        segmenter: an engine ``Segmenter`` to use in place of preset, device and batch size.
        cache: a store of one's own for them; the default store if True.
        workers: where to work, as for ``segment``. All workers keep proposals in one folder.

    Returns:
        What was done, counted and named; samples that fail do not stop the run.

    Raises:
        DatasetError: there is no image to work on, the database does not answer, or no file
            handles are left.
        StoreError: proposals cannot be kept; says why.
        CheckpointError: a network cannot be loaded.

    Example:
        >>> recipe = ntt.load_memory_bank(dataset, "animals").recipe
        >>> report = ntt.propose(dataset, preset=recipe)
        >>> report.computed + report.from_cache
        4
    """
    store = store_of(cache)
    if store is None:
        raise StoreError("There is nowhere to keep proposals: leave cache out, or give a store.")
    require_usable(workers, device, segmenter)
    repeats: list[str] = []
    images = image_view(samples, group_slices, repeats)
    recipe = segmenter.recipe if segmenter else as_recipe(preset)
    work: Work
    if workers is None:
        loaded = segmenter or get_segmenter(recipe, device, batch_size)
        if loaded.upstream is None:
            raise StoreError(
                "The segmenter's weights are not known by a digest, so its proposals cannot be "
                "kept; load it with Segmenter.from_preset."
            )
        cached = CachedProposals(loaded, store)
        task = proposing(cached)
        work = WorkHere(TaskHandler(task, loaded, cached, passes_on=concerns_every_image))
    else:
        work = work_by(
            workers, images, PROPOSE, recipe, device=device, batch_size=batch_size, store=store
        )
    report = ProposeReport(recipe.name, work.told.device)
    started = time.monotonic()

    def count(result: Result) -> None:
        notes = (SampleNote(result.sample_id, result.filepath, note) for note in result.notes)
        report.notes.extend(notes)
        if result.from_cache:
            report.from_cache += 1
        else:
            report.computed += 1

    try:
        report.failed, report.deleted = each_image(images, work, count, progress)
    except (ConnectionFailure, NoFileHandlesError, WorkerError) as error:
        problem = str(error)
        if isinstance(error, ConnectionFailure):
            problem = f"The database does not answer ({error!s:.200})."
        raise DatasetError(
            f"{problem} The proposals of {report.computed + report.from_cache} images are kept, "
            "and a second call goes on."
        ) from error
    finally:
        notes = work.finish()
        report.seconds = time.monotonic() - started
    report.device = work.told.device
    require_stored(work.told.not_stored())
    report.notes += run_notes([*repeats, *notes])
    return report


def get_proposals_info() -> StoreInfo:
    """Where proposals are kept, how many and how large they are, and how large they may get.

    Raises:
        StoreError: the folder cannot be looked into.

    Example:
        >>> info = ntt.get_proposals_info()
        >>> info.bytes <= info.max_bytes
        True
    """
    return ProposalStore().info()


def clear_proposals() -> int:
    """Remove all cached proposals, of every dataset; ``segment`` computes them again.

    Returns:
        Of how many images and presets they were.

    Raises:
        StoreError: some cannot be removed.

    Example:
        >>> removed = ntt.clear_proposals()
        >>> ntt.get_proposals_info().entries
        0
    """
    return ProposalStore().clear()
