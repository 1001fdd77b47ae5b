"""Recipes with equal proposals tried on images together, each timed by itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, NamedTuple

from ...engine.bank.memory_bank import MemoryBank
from ...engine.matching.match import Instances, match
from ...engine.proposals.proposals import Proposals
from ...engine.recipe import Recipe
from ...errors import ImageError
from ...worker.tasks.cached_proposals import CachedProposals
from ...worker.tasks.image_tasks import Made
from ...worker.tasks.networks import SegmenterLike
from ...worker.tasks.reading import ReadImage
from ...worker.tasks.task_handler import TaskHandler
from ..references.reference_images import bank_without
from ..runtime.image_pass import concerns_every_image, each_image
from ..runtime.progress_bar import Progress
from ..runtime.work import WorkHere
from ..samples.sample_notes import SampleNote
from .recipe_scores import KnownObjects, RecipeScores

# Images on which the networks are timed where all proposals are kept already.
_TIMED = 2


@dataclass
class Trial:
    """A recipe with the bank as it needs it, while it is tried."""

    name: str
    recipe: Recipe
    bank: MemoryBank
    scores: RecipeScores
    matching: list[float] = field(default_factory=list)


@dataclass
class TrialImages:
    """The images with what is known of them.

    Attributes:
        numbers: of each image by its sample's id, as the known objects have it.
        held: ids of the references that lie in an image and that the bank is to lack there.
    """

    images: Any
    known: KnownObjects
    numbers: dict[str, int]
    held: Mapping[str, set[str]] = field(default_factory=dict)


class TrialReport(NamedTuple):
    """What came of some trials, beside their results.

    Attributes:
        seconds: that the proposals of an image take.
        failed: images that could not be used, each with the reason.
        notes: what a person should know, a sentence each.
    """

    seconds: float
    failed: list[SampleNote]
    notes: list[str]


def try_recipes(
    looked_at: TrialImages,
    trials: Sequence[Trial],
    segmenter: SegmenterLike,
    cached: CachedProposals,
    progress: Progress,
) -> TrialReport:
    """Match each image by each trial; results and times are added to the trials.

    Args:
        looked_at: the images.
        trials: recipes whose proposals are the same.
        segmenter: makes these proposals.
        cached: keeps them; it is closed at the end.
        progress: FiftyOne's.
    """
    proposing: list[float] = []

    def look(read: ReadImage) -> Made:
        without = looked_at.held.get(read.item.sample_id, set())
        started, fresh = time.perf_counter(), read.proposals is None
        made = cached.use(
            read, lambda proposals: [_matched(trial, proposals, without) for trial in trials]
        )
        matching = sum(seconds for _, seconds in made)
        if fresh:
            proposing.append(time.perf_counter() - started - matching)
        for trial, (instances, seconds) in zip(trials, made, strict=True):
            trial.matching.append(seconds)
            trial.scores.add(looked_at.numbers[read.item.sample_id], instances)
        return Made()

    work = WorkHere(TaskHandler(look, segmenter, cached, passes_on=concerns_every_image))
    try:
        images = looked_at.images.select(list(looked_at.numbers))
        failed, _ = each_image(images, work, lambda result: None, progress)
    finally:
        notes = work.finish()
    if not proposing:
        for filepath in images.limit(_TIMED).values("filepath"):
            with suppress(ImageError):
                started = time.perf_counter()
                segmenter.propose(filepath)
                proposing.append(time.perf_counter() - started)
    return TrialReport(median(proposing) if proposing else 0.0, failed, notes)


def _matched(trial: Trial, proposals: Proposals, without: set[str]) -> tuple[Instances, float]:
    """What a trial finds without some references, and the seconds that it takes."""
    bank = bank_without(trial.bank, without) if without else trial.bank
    if proposals.fingerprint is not None:
        # Recipes that differ in what is done with references alone share proposals.
        ratio = trial.bank.fingerprint.context_ratio
        shared = replace(proposals.fingerprint, context_ratio=ratio)
        proposals = replace(proposals, fingerprint=shared)
    started = time.perf_counter()
    if not bank.classes:
        return Instances.empty(proposals.image_size), 0.0
    instances = match(proposals, bank, trial.recipe)
    return instances, time.perf_counter() - started
