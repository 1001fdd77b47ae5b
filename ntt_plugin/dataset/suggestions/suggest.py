"""The unlabelled proposals that would teach a memory bank most, into a field of labels."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...engine.bank.memory_bank import MemoryBank
from ...engine.recipe import Recipe
from ...errors import DatasetError
from ..database.errors import database_errors
from ..labels.convert import SUGGESTION_ATTRIBUTES
from ..labels.document import NewLabel
from ..runtime.progress_bar import Progress
from ..samples.checks import dataset_of, is_whole
from ..samples.views import all_images, image_view
from ..segmentation.cached_proposals import Cache, CachedProposals, usable_store
from ..segmentation.field_run import field_run
from ..segmentation.pipeline import ReadSample
from ..segmentation.report import SampleNote, SegmentReport, run_notes
from ..segmentation.segment import bank_facts, bank_with_classes, labels_from
from ..segmenters import SegmenterLike, as_recipe, get_segmenter
from .field import RUN_PREFIX, require_replaceable
from .search import instances_of, search


@dataclass(frozen=True)
class Suggestions:
    """What ``suggest_references`` found.

    Attributes:
        label_field: the field that the suggestions are in.
        view: a patches view of them, the most telling first.
        label_ids: their ids, in that order.
        reasons: why each is suggested, one line, by its id.
        images: images looked at.
        seconds: wall time.
        failed: samples that could not be looked at, each with the reason.
        notes: what else happened.
    """

    label_field: str
    view: Any
    label_ids: tuple[str, ...]
    reasons: dict[str, str]
    images: int
    seconds: float
    failed: list[SampleNote]
    notes: list[SampleNote]

    def __str__(self) -> str:
        """The counts in words, for logs and messages."""
        parts = [
            f"{len(self.label_ids)} suggestions out of {self.images} images "
            f"({self.seconds:.1f} s) in {self.label_field!r}"
        ]
        if self.failed:
            first = self.failed[0]
            parts.append(f"{len(self.failed)} failed, the first {first.filepath}: {first.reason}")
        return "; ".join(parts)


@database_errors("former suggestions may be gone. Start again when it is back.")
def suggest_references(
    samples: Any,
    bank: MemoryBank | str | Path,
    count: int = 20,
    field: str = "suggestions",
    *,
    bank_dataset: Any = None,
    preset: str | Recipe | None = None,
    group_slices: str | Iterable[str] | None = None,
    device: str | torch.device | None = None,
    batch_size: int | None = None,
    overwrite: bool = False,
    progress: Progress = None,
    segmenter: SegmenterLike | None = None,
    cache: Cache = True,
) -> Suggestions:
    """Suggest what to label next: proposals that would teach a memory bank most.

    Each would take the prototype of its class nearer to the objects of the class, by what the
    images show, is unlike what the bank holds and unlike the other suggestions, and likely an
    object. Correct the class of those that are wrong, then ``add_references`` with the bank; what
    shows no object at all is a case for ``add_negatives``. A suggestion has the label of the
    likeliest class, also kept as ``suggested``, and ``reason`` (one line), ``gain``, mask, and all
    that ``segment`` gives a label.

    Former suggestions in the field go, in every sample of the dataset. Nothing else is changed.
    Kept proposals are used, and those that are missing are computed and kept.

    Args:
        samples: a dataset or view of images to choose from.
        bank: a memory bank, the name of a saved one, or its file.
        count: the most to suggest.
        field: the field to write; made if it is new.
        bank_dataset: the dataset, or its name, that keeps the bank of that name; the samples'
            own if None.
        preset: a preset's name or a recipe, in place of the one the bank was built with.
        group_slices: name or names of the slices to take of a grouped dataset; the active one
            if None.
        device: where to run; the best there is if None.
        batch_size: points decoded at once; less needs less memory. The recipe's if None.
        overwrite: let go of former suggestions that a person changed and that are no references
            yet, too.
        progress: FiftyOne's: True, False, a callback, or None for the configured default. An
            exception out of the callback stops the work; former suggestions are left then.
        segmenter: an engine ``Segmenter`` to use in place of preset, device and batch size.
        cache: whether to read and keep proposals, or a store of one's own for them.

    Returns:
        The suggestions, best first; none is an ordinary result. Samples that fail are named.

    Raises:
        DatasetError: no such bank, an empty one, a count below 1, a field that cannot be
            written, or one that holds what a person changed.
        BankError: the bank is damaged, or was made by another encoder than the recipe's.
    """
    if not is_whole(count) or count < 1:
        raise DatasetError(f"{count!r} suggestions cannot be made; ask for 1 or more.")
    count = int(count)
    started = time.monotonic()
    repeats: list[str] = []
    images = image_view(samples, group_slices, repeats)
    name, bank = bank_with_classes(images, bank, bank_dataset)
    require_replaceable(images, field, overwrite)
    recipe = segmenter.recipe if segmenter else as_recipe(preset or bank.recipe)
    loaded = segmenter or get_segmenter(recipe, device, batch_size)
    bank.require_encoder(loaded.fingerprint)
    store, notes = usable_store(cache)
    found = search(images, bank, loaded, store, count, progress)
    run = f"{RUN_PREFIX}{uuid.uuid4().hex[:16]}"
    report = SegmentReport(field, name, recipe.name, bank.version)
    former = require_replaceable(images, field, overwrite)

    with field_run(images.select(list(found.chosen)), run, report, overwrite=True) as labelling:
        cached = CachedProposals(loaded, store)
        labels_of = labels_from(name, bank, recipe)

        def label(read: ReadSample) -> list[NewLabel]:
            chosen = found.chosen[read.sample_id]
            instances = cached.use(read, lambda proposals: instances_of(proposals, chosen, bank))
            labels = labels_of(instances)
            for made, suggestion in zip(labels, chosen, strict=True):
                made.attributes |= {
                    "suggested": suggestion.label,
                    "reason": suggestion.reason,
                    "gain": suggestion.gain,
                }
            return labels

        labelling.label_each(
            label,
            loaded,
            SUGGESTION_ATTRIBUTES,
            {"suggestions": count, **bank_facts(run, name, bank, recipe)},
            progress=False,
            replaces=former,
            recall=cached.recall,
            finish=cached.finish,
        )
    # Not of the view, which may hide the field.
    written = all_images(dataset_of(images)).select(report.segmented_ids)
    rows = _written(written, field)
    return Suggestions(
        label_field=field,
        view=written.to_patches(field).sort_by(f"{field}.gain", reverse=True),
        label_ids=tuple(rows),
        reasons=rows,
        images=found.images,
        seconds=time.monotonic() - started,
        failed=found.failed + report.failed,
        notes=[
            *run_notes([*repeats, *notes, *found.notes]),
            *report.notes,
        ],
    )


def _written(images: Any, field: str) -> dict[str, str]:
    """The reason of each suggestion in some images by its id, the most telling first."""
    path = f"{field}.detections"
    columns = images.values([f"{path}.{name}" for name in ("gain", "id", "reason")], unwind=True)
    rows = sorted(zip(*columns, strict=True), key=lambda row: -row[0])
    return {label: reason for _, label, reason in rows}
