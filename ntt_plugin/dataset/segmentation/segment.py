"""A memory bank's classes found in samples, into a field of labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...engine.bank.memory_bank import MemoryBank
from ...engine.recipe import Recipe
from ...errors import DatasetError
from ...worker.tasks.cached_proposals import CachedProposals
from ...worker.tasks.image_tasks import segmenting
from ...worker.tasks.networks import SegmenterLike
from ...worker.tasks.spec import SEGMENT
from ...worker.tasks.task_handler import TaskHandler
from ..banks.banks import resolve_bank
from ..banks.info import bank_digest
from ..database.errors import database_errors
from ..labels.convert import LABEL_ATTRIBUTES
from ..labels.label_field import RunIds, run_id
from ..labels.orientation import turned_references_note
from ..networks import as_recipe, get_segmenter
from ..runtime.caching import Cache, usable_store
from ..runtime.progress_bar import Progress
from ..runtime.work import Work, WorkHere
from ..runtime.workers import Workers, require_usable, work_by
from ..samples.checks import dataset_of, is_whole, listed
from ..samples.sample_notes import run_notes
from ..samples.views import image_view
from .candidates import (
    CANDIDATE_ATTRIBUTE,
    GRID,
    ProposalSources,
    ShownLabels,
    contents,
    proposal_sources,
    run_ids,
    shown_labels,
)
from .field_run import ends_the_run, field_run
from .report import SegmentReport
from .run_counts import Truncated
from .run_ids import Overwrite


@database_errors("nothing is half written. Start again when it does, and the run goes on.")
def segment(
    samples: Any,
    bank: MemoryBank | str | Path,
    label_field: str = "ntt",
    device: str | torch.device | None = None,
    batch_size: int | None = None,
    overwrite: Overwrite = False,
    progress: Progress = None,
    *,
    bank_dataset: Any = None,
    preset: str | Recipe | None = None,
    group_slices: str | Iterable[str] | None = None,
    mask_dir: str | Path | None = None,
    segmenter: SegmenterLike | None = None,
    cache: Cache = True,
    workers: Workers = None,
    proposals: str | Iterable[str] = GRID,
    min_confidence: float = 0.0,
    tile: int | None = None,
) -> SegmentReport:
    """Find the bank's classes in each image and write them as ``fo.Detections``.

    All instances are written, none is filtered by score. Each label has a pixel-tight box, its
    mask, ``confidence``, ``margin`` (similarity minus that of the next best class),
    ``proposal_iou``, the label most like it (``reference``, ``reference_field``,
    ``reference_sample``, ``reference_dataset``: id, name, id, name) and what made it (``bank``,
    ``bank_version``, ``preset``). A sample in which nothing is found gets empty ``Detections``.

    A run may be stopped or killed at any moment: a second call goes on where it stopped. One
    run at a time writes a field.

    What does not depend on the bank is kept on disk. So a first run over images fills that
    cache, and later ones with another bank, other classes, negatives or thresholds only match
    and write, in milliseconds an image; the labels are the same. See ``get_proposals_info``.

    Args:
        samples: a dataset or view of images.
        bank: a memory bank, the name of a saved one, or its file: a path, or a text that ends
            in ``.safetensors``.
        label_field: the field to write; made if it is new.
        device: where to run; the best there is if None.
        batch_size: points decoded at once; less needs less memory. The recipe's if None.
        overwrite: start anew: take away first what runs wrote in these samples before. A label
            that a person tagged, edited, approved, rejected or drew stays, and new ones that
            overlap it (mask IoU >= 0.5) are left out; the report counts both. ``everything``
            takes these away too, and the report says how many. A call that was killed over it
            goes on without it.
        progress: FiftyOne's: True, False, a callback, or None for the configured default. An
            exception out of the callback stops the run.
        bank_dataset: the dataset, or its name, that keeps the bank of that name; the samples'
            own if None.
        preset: a preset's name or a recipe, in place of the one the bank was built with, which
            the bank keeps however it was changed, saved or loaded. That one names the networks
            to load: hub ids, or paths. For a bank file from a stranger look at its ``recipe``
            or give a preset: loading a network runs no code of its file, and an encoder that did
            not make the bank is refused, but only after it was loaded, and no fingerprint is
            kept of the segmenter.
        group_slices: name or names of the slices to take of a grouped dataset; the active one
            if None.
        mask_dir: write masks as PNG files below this folder, not into the database. Without it,
            only those of a sample whose masks are too large for the database are files, below
            FiftyOne's default dataset folder. The files stay when labels, field or dataset are
            replaced or deleted: a clone may name them too.
        segmenter: an engine ``Segmenter`` to use in place of preset, device and batch size.
        cache: whether to read and keep proposals, or a store of one's own for them. One that
            cannot be read or written stops no run; the report notes it.
        workers: None to work in this process; a number of processes of this machine, ``"auto"``
            (one a GPU; without GPUs one for four cores), or ``ntt.Ray(...)``. The labels are the
            same.
        proposals: ``grid`` for the segmenter's own points; a field of ``Detections`` whose labels
            are classified in their place; or several of these, joined. Boxes become masks by the
            segmenter, masks are taken as they are; their classes are ignored, their confidence
            stands for the predicted IoU (1 where there is none). Each new label then has the
            attribute ``candidate``, the id of the label it was made of. Of a view that filters
            labels, those it shows.
        min_confidence: labels of these fields with a lower confidence are left out.
        tile: side in pixels of the tiles that larger images are looked at in, too, in place of
            the recipe's; 0 for none.

    Returns:
        What was done, counted and named; samples that fail do not stop the run.

    Raises:
        DatasetError: no such bank, an empty one, a field that cannot be written, or another run
            is writing it; or the run was stopped by what concerns every sample, and how far it
            came.
        BankError: the bank is damaged, or was made by another encoder than the recipe's; names
            both.

    Example:
        >>> report = ntt.segment(dataset, "animals", label_field="found")
        >>> report.segmented, report.failed
        (4, [])
    """
    require_usable(workers, device, segmenter)
    store, store_notes = usable_store(cache)
    notes: list[str] = []
    images = image_view(samples, group_slices, notes)
    name, bank = bank_with_classes(images, bank, bank_dataset)
    recipe = _recipe(preset or bank.recipe, segmenter, tile)
    sources = proposal_sources(images, proposals, min_confidence, label_field)
    made_by = run_id(bank_digest(bank), recipe, with_candidates=bool(sources.fields))
    facts = bank_facts(made_by, name, bank, recipe)
    run: RunIds = facts["run"]
    content, attributes = None, LABEL_ATTRIBUTES
    if not sources.are_grid_alone:
        shown = shown_labels(images, sources)
        run = run_ids(images, facts["run"], sources, shown)
        facts["proposals"] = sources.in_words()
        content = partial(contents, images, facts["run"], sources, shown, run)
        attributes = {**LABEL_ATTRIBUTES, **CANDIDATE_ATTRIBUTE}
        notes += _empty_note(shown, sources)
    report = SegmentReport(label_field, name, recipe.name, bank.version)

    with field_run(images, run, report, overwrite, mask_dir) as labelling:
        work: Work
        if workers is None:
            loaded = segmenter or get_segmenter(recipe, device, batch_size)
            bank.require_encoder(loaded.fingerprint)
            cached = CachedProposals(loaded, store)
            task = segmenting(name, bank, recipe, cached)
            work = WorkHere(TaskHandler(task, loaded, cached, labelling.stamp, ends_the_run))
        else:
            work = work_by(
                workers,
                images,
                SEGMENT,
                recipe,
                device=device,
                batch_size=batch_size,
                stamp=labelling.stamp,
                bank=bank,
                bank_name=name,
                store=store,
            )
        report.notes += run_notes([*notes, *turned_references_note(bank, images), *store_notes])
        labelling.label_each(
            work,
            attributes,
            facts,
            progress,
            content=content,
            records_networks=True,
            finish=lambda: _truncation_notes(labelling.counts.truncated, recipe.max_instances),
        )
    return report


def _recipe(preset: str | Recipe, segmenter: SegmenterLike | None, tile: int | None) -> Recipe:
    """The recipe of a run.

    Raises:
        DatasetError: tiles are asked for of a segmenter that has a recipe of its own.
    """
    if segmenter is None:
        recipe = as_recipe(preset)
        if tile is None:
            return recipe
        return replace(recipe, tile=None if is_whole(tile) and tile == 0 else tile)
    if tile is not None:
        raise DatasetError(
            "A segmenter in memory has its own recipe; leave tile out, or make it with "
            "Segmenter.from_preset(..., tile=...)."
        )
    return segmenter.recipe


def _empty_note(shown: ShownLabels, sources: ProposalSources) -> list[str]:
    """What a person should know where images have no candidate, and so find nothing."""
    if not shown.empty or sources.grid:
        return []
    least = f" with a confidence of {sources.least:g} or more" if sources.least else ""
    return [
        f"{shown.empty} of {shown.count} images hold no label in {listed(sources.fields)}{least}, "
        f"so nothing can be found there; add {GRID!r} to proposals to look there too"
    ]


def bank_with_classes(
    images: Any, bank: MemoryBank | str | Path, bank_dataset: Any
) -> tuple[str, MemoryBank]:
    """As ``resolve_bank``, of a bank that is not empty.

    Raises:
        DatasetError: there is no such bank, or it is empty.
        BankError: the bank or its file is damaged or missing.
    """
    name, bank = resolve_bank(dataset_of(images), bank, bank_dataset)
    if not bank.classes:
        raise DatasetError(f"The memory bank {name!r} is empty; add references to it first.")
    return name, bank


def bank_facts(run: str, name: str, bank: MemoryBank, recipe: Recipe) -> dict[str, Any]:
    """What is kept with the dataset of a run with a bank."""
    return {
        "run": run,
        "bank": name,
        "bank_digest": bank_digest(bank),
        "bank_version": bank.version,
        "recipe": asdict(recipe),
    }


def _truncation_notes(truncated: Truncated, limit: int) -> list[str]:
    """What a person should know of the images with more candidates than a recipe keeps."""
    if not truncated.count:
        return []
    return [
        f"{truncated.count} images had more than {limit} candidates (max_instances), the first "
        f"{truncated.first}: those with the lowest scores were left out, {truncated.most} at most "
        "of an image; to keep more, give a recipe with a higher max_instances"
    ]
