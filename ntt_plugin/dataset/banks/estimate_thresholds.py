"""Thresholds without ground truth: each reference image matched with a bank without it."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ...engine.bank.memory_bank import MemoryBank
from ...engine.matching.leave_one_out import Estimate, LeaveOneOut
from ...engine.matching.match import match
from ...errors import DatasetError, NttError
from ...worker.messages import Result, SampleError
from ...worker.tasks.cached_proposals import CachedProposals
from ...worker.tasks.image_tasks import Made
from ...worker.tasks.networks import SegmenterLike
from ...worker.tasks.reading import ReadImage
from ...worker.tasks.task_handler import TaskHandler
from ..database.errors import database_errors
from ..networks import get_segmenter
from ..references.reference_images import (
    HeldEntries,
    annotated_labels,
    bank_without,
    entries_here,
    held_with_copies,
)
from ..runtime.caching import Cache, usable_store
from ..runtime.image_pass import concerns_every_image, each_image
from ..runtime.progress_bar import Progress
from ..runtime.work import WorkHere
from ..samples.sample_notes import SampleNote
from ..samples.views import all_images
from . import store

logger = logging.getLogger(__name__)

# More images tell little more, and their proposals may have to be computed.
_MOST_IMAGES = 200


@dataclass
class EstimatedThresholds:
    """What ``estimate_thresholds`` found; the thresholds are kept with the bank.

    Attributes:
        bank: the bank's name.
        thresholds: by class, sorted by name: ``value``, ``recall`` (the share of the class's
            objects that is expected above it), ``objects`` and ``pooled``.
        images: number of reference images that it was estimated on.
        without: why the other classes have none.
        kept: classes with an estimate whose threshold in the bank stays: it was no estimate.
        failed: reference images that could not be used, each with the reason.
    """

    bank: str
    thresholds: dict[str, Estimate] = field(default_factory=dict)
    images: int = 0
    without: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    failed: list[SampleNote] = field(default_factory=list)


@database_errors("the thresholds are saved or not at all; start again when it is back.")
def estimate_thresholds(
    samples: Any,
    bank: str,
    *,
    save: bool = True,
    overwrite: bool = False,
    device: str | torch.device | None = None,
    progress: Progress = None,
    segmenter: SegmenterLike | None = None,
    cache: Cache = True,
) -> EstimatedThresholds:
    """Thresholds for a bank without ground truth, from its own reference images.

    Each image with references is matched with a bank that lacks them, and those of its copies. The
    scores at which its annotated objects are found again, and those of predictions that are surely
    wrong, decide; what lies on nothing that is annotated may be right or wrong, and counts in
    shares. Classes with fewer than 20 objects share one threshold. Images need not be annotated
    whole. Kept proposals are used; without them the networks run on each reference image, 200 at
    most.

    Args:
        samples: the dataset, or a view of it.
        bank: a bank saved with the dataset.
        save: keep them with the bank, marked as estimated, in place of the estimates it has. A
            class without an estimate keeps what it has.
        overwrite: also in place of thresholds that are no estimates: found in an evaluation, or
            set by a person.
        device: where to run; the best there is if None.
        progress: FiftyOne's: True, False, a callback, or None for the configured default.
        segmenter: an engine ``Segmenter`` to use in place of the bank's recipe and ``device``.
        cache: as for ``segment``.

    Raises:
        DatasetError: there is no such bank, or no image of its references is there any more.
        BankError: the bank is damaged, or another encoder made it than the segmenter has.

    Example:
        >>> found = ntt.estimate_thresholds(dataset, "animals")
        >>> all(0 <= one.recall <= 1 for one in found.thresholds.values())
        True
    """
    dataset = store.require_bank(samples, bank)
    saved = store.read(dataset, bank)
    if not saved.classes:
        raise DatasetError(f"The memory bank {bank!r} is empty; add references to it first.")
    held = entries_here(dataset, saved)
    if not held:
        raise DatasetError(
            f"No image of {dataset.name!r} holds a label that the memory bank {bank!r} was built "
            "of, so there is nothing to estimate thresholds on."
        )
    loaded = segmenter or get_segmenter(saved.recipe, device)
    saved.require_encoder(loaded.fingerprint)
    observed = LeaveOneOut()
    found = EstimatedThresholds(bank)
    _look(dataset, saved, held, loaded, cache, progress, observed, found)
    found.thresholds = dict(sorted(observed.estimate(saved.classes).items()))
    reason = (
        "none of the reference objects is found again without its own image: two images with "
        "references of each class, or more, are needed"
    )
    found.without = {one: reason for one in saved.classes if one not in found.thresholds}
    if save and found.thresholds:
        _save(dataset, found, overwrite)
    return found


def try_to_estimate(
    dataset: Any, name: str, device: str | torch.device | None, segmenter: SegmenterLike | None
) -> bool:
    """Estimate a bank's thresholds, unless it keeps others; whether it has estimated ones now.

    Whatever goes wrong is logged: the bank is built, and thresholds are an extra.
    """
    try:
        saved = store.read(dataset, name)
        if saved.thresholds and not saved.expected_recalls:
            return False
        found = estimate_thresholds(
            dataset, name, device=device, progress=False, segmenter=segmenter
        )
    except Exception as error:
        logger.warning("The thresholds of %r were not estimated: %s", name, error)
        return False
    return bool(found.thresholds)


def merge_thresholds(
    bank: MemoryBank, values: Mapping[str, float], recalls: Mapping[str, float]
) -> bool:
    """Set thresholds of some classes, with what recall is expected; whether any changed.

    A class whose threshold stays as it is keeps its expected recall, too.
    """
    before, expected = bank.thresholds, bank.expected_recalls
    kept = {
        one: recall for one, recall in expected.items() if values.get(one) in (None, before[one])
    }
    bank.set_thresholds({**before, **values}, {**kept, **recalls})
    return (bank.thresholds, bank.expected_recalls) != (before, expected)


def _look(
    dataset: Any,
    bank: MemoryBank,
    held: Mapping[str, HeldEntries],
    segmenter: SegmenterLike,
    cache: Cache,
    progress: Progress,
    observed: LeaveOneOut,
    found: EstimatedThresholds,
) -> None:
    """Match each image that holds references with a bank that lacks them."""
    kept, _ = usable_store(cache)
    cached = CachedProposals(segmenter, kept)
    lacks = held_with_copies(dataset, held)
    chosen = sorted(held)
    if len(chosen) > _MOST_IMAGES:
        chosen = sorted(random.Random(0).sample(chosen, _MOST_IMAGES))

    def task(read: ReadImage) -> Made:
        entries = held[read.item.sample_id]
        try:
            annotated = annotated_labels(dataset, read.item.sample_id, read.item.filepath, entries)
        except NttError as error:
            raise SampleError(str(error)) from error
        rest = bank_without(bank, lacks[read.item.sample_id])
        if rest.classes:
            instances = cached.use(read, lambda proposals: match(proposals, rest, bank.recipe))
            observed.add(instances, annotated, rest.classes)
        return Made()

    def done(result: Result) -> None:
        found.images += 1

    work = WorkHere(TaskHandler(task, segmenter, cached, passes_on=concerns_every_image))
    try:
        images = all_images(dataset).select(chosen)
        found.failed, _ = each_image(images, work, done, progress)
    finally:
        work.finish()


def _save(dataset: Any, found: EstimatedThresholds, overwrite: bool) -> None:
    """Keep the estimates with the bank, of the classes that it has by now.

    Raises:
        BankError, DatasetError: as for every change of a bank.
    """

    def edit(bank: MemoryBank) -> bool:
        known = {one: entry for one, entry in found.thresholds.items() if one in bank.classes}
        set_otherwise = set(bank.thresholds) - set(bank.expected_recalls)
        found.kept = [] if overwrite else sorted(set_otherwise & set(known))
        new = {label: one for label, one in known.items() if label not in found.kept}
        return merge_thresholds(
            bank,
            {label: one.value for label, one in new.items()},
            {label: one.recall for label, one in new.items()},
        )

    store.change(dataset, found.bank, edit, to_undo=False)
