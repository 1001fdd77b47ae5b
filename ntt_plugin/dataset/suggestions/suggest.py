"""The unlabelled proposals that would teach a memory bank most, and the field they go into."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ...engine.active_learning import Suggestion, SuggestionPool
from ...engine.bank.memory_bank import MemoryBank
from ...engine.matching.nms import box_iou
from ...engine.proposals.store import ProposalStore
from ...engine.recipe import Recipe
from ...engine.references import Box
from ...errors import DatasetError
from ...worker.messages import Result
from ...worker.tasks.cached_proposals import CachedProposals
from ...worker.tasks.image_tasks import Made, placing_suggestions
from ...worker.tasks.networks import SegmenterLike
from ...worker.tasks.reading import ReadImage
from ...worker.tasks.task_handler import TaskHandler
from ..database.errors import database_errors
from ..labels.convert import SUGGESTION_ATTRIBUTES, box_problem, stored_boxes
from ..labels.label_field import require_writable
from ..networks import as_recipe, get_segmenter
from ..references.copies import KEPT_FIELD
from ..runtime.caching import Cache, usable_store
from ..runtime.image_pass import concerns_every_image, each_image
from ..runtime.progress_bar import Progress
from ..runtime.work import WorkHere
from ..runtime.workers import Workers, require_usable
from ..samples.checks import dataset_of, is_whole
from ..samples.sample_ids import ids_of
from ..samples.sample_notes import SampleNote, in_words, run_notes
from ..samples.views import all_images, image_view
from ..segmentation.field_run import ends_the_run, field_run
from ..segmentation.propose import ProposeReport, propose
from ..segmentation.report import SegmentReport
from ..segmentation.segment import bank_facts, bank_with_classes

RUN_PREFIX = "suggest_"
"""What the ids of runs that suggest begin with."""

_SAME_OBJECT = 0.9


@dataclass(frozen=True)
class Former:
    """What a field holds that new suggestions would replace.

    Attributes:
        sample_ids: all samples of the dataset that hold former suggestions.
        changed: labels that a person drew, tagged or gave another class, and that are no
            references and no negatives yet.
    """

    sample_ids: tuple[str, ...]
    changed: int


def former_suggestions(samples: Any, field: str) -> Former:
    """What new suggestions would replace.

    A suggestion that was promoted, or added as a negative, has a copy elsewhere and may go, unless
    a person changed it: that stays, as in every field.

    The field need not be there.

    Raises:
        DatasetError: the name cannot be used, or something else made the field.
    """
    dataset = dataset_of(samples)
    images = all_images(dataset)
    state = require_writable(images, field, RUN_PREFIX, overwrite=True)
    if not state.done and not state.others:
        return Former((), 0)
    filled = images.select([*state.done, *state.others])
    ids, runs = filled.values(["id", f"{field}.run"])
    foreign = [run for run in runs if run is not None and not run.startswith(RUN_PREFIX)]
    if foreign:
        raise DatasetError(
            f"The field {field!r} of {dataset.name!r} holds the labels of another run in "
            f"{len(foreign)} samples, so it is not touched; choose another field for suggestions."
        )
    return Former(tuple(ids), _count_changed(filled, field))


def require_replaceable(samples: Any, field: str, overwrite: bool) -> tuple[str, ...]:
    """Require that suggestions may replace a field's; ids of the samples that hold former ones.

    Raises:
        DatasetError: as ``former_suggestions``; or the field holds what a person changed and
            ``overwrite`` is False.
    """
    former = former_suggestions(samples, field)
    if former.changed and not overwrite:
        raise DatasetError(
            f"{former.changed} labels in {field!r} were drawn, tagged or given another class by a "
            "person and are no references yet. Promote them first, choose another field, or pass "
            "overwrite=True: they stay, beside the new suggestions."
        )
    return former.sample_ids


def _count_changed(filled: Any, field: str) -> int:
    path = f"{field}.detections"
    wanted = [f"{path}.label", f"{path}.suggested", f"{path}.tags"]
    if dataset_of(filled).get_field(f"{path}.suggested") is None:
        return int(filled.count(path))
    columns = *filled.values(wanted), stored_boxes(filled, path)
    kept = _kept_copies(filled)
    changed = 0
    for copies, *lists in zip(kept, *columns, strict=True):
        for label, suggested, tags, box in zip(*(values or [] for values in lists), strict=True):
            touched = label != suggested or bool(tags)
            changed += touched and not _has_copy(label, box, copies)
    return changed


def _kept_copies(filled: Any) -> list[list[tuple[str, Sequence[float]]]]:
    """Classes and boxes, sample by sample, of the labels that are kept as references."""
    path = f"{KEPT_FIELD}.detections"
    if filled.get_field(path) is None:
        return [[] for _ in filled.values("id")]
    columns = filled.values(f"{path}.label"), stored_boxes(filled, path)
    return [
        [
            (label, box)
            for label, box in zip(labels or [], boxes or [], strict=True)
            if not box_problem(box)
        ]
        for labels, boxes in zip(*columns, strict=True)
    ]


def _has_copy(
    label: str, box: Sequence[float], copies: Sequence[tuple[str, Sequence[float]]]
) -> bool:
    return not box_problem(box) and any(
        name == label and box_iou(_corners(box), _corners(other)) >= _SAME_OBJECT
        for name, other in copies
    )


def _corners(box: Sequence[float]) -> Box:
    x, y, width, height = box
    return x, y, x + width, y + height


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
        found = (
            f"{len(self.label_ids)} suggestions out of {self.images} images "
            f"({self.seconds:.1f} s) in {self.label_field!r}"
        )
        return "; ".join([found, *in_words(self.failed, "failed")])


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
    workers: Workers = None,
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
        overwrite: suggest anew also where a person changed former suggestions that are no
            references yet; these stay beside the new ones.
        progress: FiftyOne's: True, False, a callback, or None for the configured default. An
            exception out of the callback stops the work; former suggestions are left then.
        segmenter: an engine ``Segmenter`` to use in place of preset, device and batch size.
        cache: whether to read and keep proposals, or a store of one's own for them.
        workers: where proposals that are missing are computed and kept, as for ``propose``; the
            search among them runs in this process.

    Returns:
        The suggestions, best first; none is an ordinary result. Samples that fail are named.

    Raises:
        DatasetError: no such bank, an empty one, a count below 1, a field that cannot be
            written, or one that holds what a person changed.
        BankError: the bank is damaged, or was made by another encoder than the recipe's.

    Example:
        >>> found = ntt.suggest_references(dataset, "animals", count=2)
        >>> found.images
        4
    """
    if not is_whole(count) or count < 1:
        raise DatasetError(f"{count!r} suggestions cannot be made; ask for 1 or more.")
    require_usable(workers, device, segmenter)
    count = int(count)
    started = time.monotonic()
    repeats: list[str] = []
    images = image_view(samples, group_slices, repeats)
    name, bank = bank_with_classes(images, bank, bank_dataset)
    require_replaceable(images, field, overwrite)
    recipe = segmenter.recipe if segmenter else as_recipe(preset or bank.recipe)
    if workers is not None:
        kept = propose(
            samples,
            recipe,
            device,
            batch_size,
            progress,
            group_slices=group_slices,
            cache=cache,
            workers=workers,
        )
        repeats += _notes_of(kept)
    loaded = segmenter or get_segmenter(recipe, device, batch_size)
    bank.require_encoder(loaded.fingerprint)
    store, notes = usable_store(cache)
    chosen, looked_at, failed, search_notes = _search(images, bank, loaded, store, count, progress)
    run = f"{RUN_PREFIX}{uuid.uuid4().hex[:16]}"
    report = SegmentReport(field, name, recipe.name, bank.version)
    former = require_replaceable(images, field, overwrite)

    with field_run(images.select(list(chosen)), run, report, overwrite=True) as labelling:
        cached = CachedProposals(loaded, store)
        task = placing_suggestions(name, bank, recipe, cached)
        labelling.label_each(
            WorkHere(TaskHandler(task, loaded, cached, labelling.stamp, ends_the_run)),
            SUGGESTION_ATTRIBUTES,
            {"suggestions": count, **bank_facts(run, name, bank, recipe)},
            progress=False,
            content=lambda ids: {
                sample_id: ([asdict(entry) for entry in chosen[sample_id]], ()) for sample_id in ids
            },
            replaces=former,
        )
    # Not of the view, which may hide the field.
    written = all_images(dataset_of(images)).select(report.segmented_ids)
    rows = _written(written, field)
    return Suggestions(
        label_field=field,
        view=written.to_patches(field).sort_by(f"{field}.gain", reverse=True),
        label_ids=tuple(rows),
        reasons=rows,
        images=looked_at,
        seconds=time.monotonic() - started,
        failed=failed + report.failed,
        notes=[*run_notes([*repeats, *notes, *search_notes]), *report.notes],
    )


def _notes_of(report: ProposeReport) -> list[str]:
    """What went wrong for the run as a whole; images are looked at again, and named then."""
    return [note.reason for note in report.notes if not note.sample]


def _written(images: Any, field: str) -> dict[str, str]:
    """The reason of each suggestion in some images by its id, the most telling first."""
    path = f"{field}.detections"
    columns = images.values([f"{path}.{name}" for name in ("gain", "id", "reason")], unwind=True)
    rows = sorted(zip(*columns, strict=True), key=lambda row: -row[0])
    return {label: reason for _, label, reason in rows}


def _search(
    images: Any,
    bank: MemoryBank,
    segmenter: SegmenterLike,
    store: ProposalStore | None,
    count: int,
    progress: Progress,
) -> tuple[dict[str, list[Suggestion]], int, list[SampleNote], list[str]]:
    """Search images for suggestions, in memory independent of their number.

    Returns:
        The suggestions by the ids of their samples, how many images were looked at, the samples
        that could not be, each with the reason, and what else a person should know.
    """
    cached = CachedProposals(segmenter, store)
    pool, taught = SuggestionPool(bank, segmenter.recipe), _taught_boxes(bank)
    sample_ids = ids_of(images)
    numbers = {sample_id: number for number, sample_id in enumerate(sample_ids)}
    looked_at = 0
    noted: dict[str, str] = {}

    def look_at(read: ReadImage) -> Made:
        key = read.item.sample_id
        number, boxes = numbers[key], taught.get(key, ())
        cached.use(read, lambda proposals: pool.add(number, proposals, boxes))
        return Made()

    def note(result: Result) -> None:
        nonlocal looked_at
        looked_at += 1
        if result.notes:
            noted[result.filepath] = result.notes[0]

    work = WorkHere(TaskHandler(look_at, segmenter, cached, passes_on=concerns_every_image))
    try:
        failed, _ = each_image(images, work, note, progress)
    finally:
        notes = work.finish()
    if noted:
        path, first = next(iter(noted.items()))
        notes.append(f"{len(noted)} images to note, the first {path}: {first}")
    chosen: dict[str, list[Suggestion]] = {}
    for suggestion in pool.choose(count):
        chosen.setdefault(sample_ids[suggestion.image], []).append(suggestion)
    return chosen, looked_at, failed, notes


def _taught_boxes(bank: MemoryBank) -> Mapping[str, list[Box]]:
    """Boxes of the labels that a bank learnt from, in pixels, by id of their sample."""
    boxes = defaultdict(list)
    for *_, stored in bank.entries():
        source = stored.provenance
        if source.sample is not None and source.box is not None:
            boxes[source.sample].append(source.box)
    return boxes
