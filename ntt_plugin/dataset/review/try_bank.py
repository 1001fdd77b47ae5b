"""A bank tried on a few images: what it finds, nothing written to the dataset."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ...engine.bank.memory_bank import MemoryBank
from ...engine.matching.match import Instances, match
from ...engine.recipe import Recipe
from ...errors import DatasetError
from ...worker.messages import Result
from ...worker.tasks.cached_proposals import CachedProposals
from ...worker.tasks.image_tasks import Made
from ...worker.tasks.networks import SegmenterLike
from ...worker.tasks.reading import ReadImage
from ...worker.tasks.task_handler import TaskHandler
from ..database.errors import database_errors
from ..networks import as_recipe, get_segmenter
from ..runtime.caching import Cache, usable_store
from ..runtime.image_pass import concerns_every_image, each_image
from ..runtime.progress_bar import Progress
from ..runtime.work import WorkHere
from ..samples.checks import dataset_of, whole_number
from ..samples.sample_notes import SampleNote, run_notes
from ..samples.views import image_view
from ..segmentation.segment import bank_with_classes


@dataclass(frozen=True)
class TriedImage:
    """What a bank finds in one image.

    Attributes:
        sample: the sample's id.
        filepath: its image.
        instances: all that was found, unfiltered: ``labels``, ``scores``, ``boxes`` (pixels),
            ``masks`` (cropped to the boxes), ``full_mask(i)``.
    """

    sample: str
    filepath: str
    instances: Instances


@dataclass
class Trial:
    """What ``try_bank`` found.

    Attributes:
        bank: the bank's name.
        images: what was found, by image, in the order of the view.
        failed: images that could not be done, each with the reason.
        notes: what was done about unusual images.
    """

    bank: str
    images: list[TriedImage] = field(default_factory=list)
    failed: list[SampleNote] = field(default_factory=list)
    notes: list[SampleNote] = field(default_factory=list)


@database_errors("nothing was changed; start again when it is back.")
def try_bank(
    samples: Any,
    bank: MemoryBank | str | Path,
    count: int = 6,
    seed: int | None = None,
    *,
    exclude: Iterable[str] = (),
    device: str | torch.device | None = None,
    batch_size: int | None = None,
    progress: Progress = None,
    bank_dataset: Any = None,
    preset: str | Recipe | None = None,
    group_slices: str | Iterable[str] | None = None,
    segmenter: SegmenterLike | None = None,
    cache: Cache = True,
) -> Trial:
    """Segment a few images, and write nothing to the dataset.

    Their proposals are kept, so that a later ``segment`` of these images only matches.

    Args:
        samples: a dataset or view of images.
        bank: as for ``segment``.
        count: how many images, at random; all if the view has no more.
        seed: the same seed gives the same images; another one each time if None.
        exclude: ids of samples that were tried before.
        device: where to run; the best there is if None.
        batch_size: points decoded at once; the recipe's if None.
        progress: FiftyOne's: True, False, a callback, or None for the configured default.
        bank_dataset: the dataset, or its name, that keeps the bank of that name.
        preset: as for ``segment``.
        group_slices: slices to take of a grouped dataset; its active one if None.
        segmenter: an engine ``Segmenter`` to use in place of preset, device and batch size.
        cache: as for ``segment``.

    Raises:
        DatasetError: no such bank, an empty one, or no image is left to try.
        BankError: as for ``segment``.

    Example:
        >>> trial = ntt.try_bank(dataset, "animals", count=2, seed=0)
        >>> [set(image.instances.labels) <= {"cat", "dog", "bird"} for image in trial.images]
        [True, True]
    """
    count = whole_number("count", count)
    seed = None if seed is None else whole_number("seed", seed)
    notes: list[str] = []
    images = image_view(samples, group_slices, notes)
    name, bank = bank_with_classes(images, bank, bank_dataset)
    recipe = segmenter.recipe if segmenter else as_recipe(preset or bank.recipe)
    chosen = _chosen(images, count, seed, set(exclude))
    loaded = segmenter or get_segmenter(recipe, device, batch_size)
    bank.require_encoder(loaded.fingerprint)
    store, store_notes = usable_store(cache)
    cached, trial = CachedProposals(loaded, store), Trial(name)
    found: dict[str, Instances] = {}

    def task(read: ReadImage) -> Made:
        found[read.item.sample_id] = cached.use(
            read, lambda proposals: match(proposals, bank, recipe)
        )
        return Made()

    def done(result: Result) -> None:
        key, filepath = result.sample_id, result.filepath
        trial.images.append(TriedImage(key, filepath, found.pop(key)))
        trial.notes.extend(SampleNote(key, filepath, note) for note in result.notes)

    work = WorkHere(TaskHandler(task, loaded, cached, passes_on=concerns_every_image))
    try:
        trial.failed, _ = each_image(chosen, work, done, progress)
    finally:
        # What is not kept yet would be computed again.
        notes += [*store_notes, *work.finish()]
    trial.notes += run_notes(notes)
    return trial


def _chosen(images: Any, count: int, seed: int | None, tried: set[str]) -> Any:
    """A view of some images at random, in order.

    Raises:
        DatasetError: none is left, or none is asked for.
    """
    left = [sample_id for sample_id in images.values("id") if sample_id not in tried]
    if count < 1 or not left:
        raise DatasetError(
            f"count is {count}; try at least one image."
            if count < 1
            else f"All images of this view of {dataset_of(images).name!r} were tried already; "
            "leave exclude out to try them again."
        )
    chosen = set(random.Random(seed).sample(left, min(count, len(left))))
    return images.select([sample_id for sample_id in left if sample_id in chosen], ordered=True)
