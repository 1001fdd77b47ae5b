"""Boxes become masks: a segmenter's box prompts, from one field of labels into a new one."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fiftyone as fo
import torch
from fiftyone import ViewField as F

from ...engine.recipe import Recipe
from ...errors import DatasetError
from ...worker.tasks.image_tasks import filling_boxes
from ...worker.tasks.networks import SegmenterLike
from ...worker.tasks.spec import BOXES
from ...worker.tasks.task_handler import TaskHandler
from ..database.errors import database_errors
from ..labels.convert import BOX_MASK_ATTRIBUTES, box_problem, stored_boxes
from ..labels.crowds import IS_CROWD, is_crowd_label
from ..labels.orientation import stored_pixels_problem
from ..networks import as_recipe, get_box_segmenter, without_encoder
from ..runtime.progress_bar import Progress
from ..runtime.work import Work, WorkHere
from ..runtime.workers import Workers, require_usable, work_by
from ..samples.checks import dataset_of, listed, literals, quoted, require_classes, require_labels
from ..samples.fetching import each_fetched, fetch_samples
from ..samples.sample_notes import run_notes
from ..samples.views import image_view
from .field_run import ends_the_run, field_run
from .report import SegmentReport
from .run_ids import Overwrite

# What a written label is made of, beside its id and its box.
_DECIDES = ("label", "confidence", "tags")


@database_errors("nothing is half written. Start again when it does, and the run goes on.")
def masks_from_boxes(
    samples: Any,
    label_field: str,
    new_field: str,
    preset: str | Recipe = "paper",
    device: str | torch.device | None = None,
    batch_size: int | None = None,
    overwrite: Overwrite = False,
    progress: Progress = None,
    *,
    tag: str | None = None,
    classes: Iterable[str] | None = None,
    group_slices: str | Iterable[str] | None = None,
    mask_dir: str | Path | None = None,
    segmenter: SegmenterLike | None = None,
    workers: Workers = None,
) -> SegmentReport:
    """Cut the object out of each box, and write it with its mask into a new field.

    The field of the boxes is only read. A label of the new field has the pixel-tight box of its
    mask, the class, tags and confidence of the label it came from, that label's id as
    ``source``, ``preset``, and ``box_iou``: how well the mask's box and the given one agree (IoU,
    0 to 1; look at the lowest). Look at them in the App; then ``build_memory_bank`` can learn
    from the new field. A sample without a box that is asked for is left alone.

    A run may be stopped or killed at any moment: a second call goes on where it stopped. A
    sample is done when the same boxes of it were done before, and no label of them was changed
    since.

    Args:
        samples: a dataset or view of images; of a view that filters labels, those it shows.
        label_field: a field of ``Detections``; they may have masks, which are not looked at.
        new_field: the field to write; made if it is new.
        preset: a preset's name, or a recipe: the segmenter to use.
        device: where to run; the best there is if None.
        batch_size: boxes decoded at once; less needs less memory. The recipe's if None.
        overwrite: start anew: take away first what runs wrote in these samples before; what
            people made or changed stays, as for ``segment``, unless it is ``everything``.
        progress: FiftyOne's: True, False, a callback, or None for the configured default. An
            exception out of the callback stops the run.
        tag: only boxes with this label tag; all if None.
        classes: only boxes of these classes; all if None.
        group_slices: name or names of the slices to take of a grouped dataset; the active one
            if None.
        mask_dir: write masks as PNG files below this folder, not into the database. The files
            stay when labels, field or dataset are replaced or deleted: a clone may name them too.
        segmenter: an engine ``Segmenter`` to use in place of preset, device and batch size.
        workers: where to work, as for ``segment``.

    Returns:
        What was done; boxes that gave no mask are named in its ``notes``.

    Raises:
        DatasetError: a field is of the wrong type or cannot be written, no box is asked for, or
            another run is writing the field; or the run was stopped by what concerns every
            sample, and how far it came.

    Example:
        >>> report = ntt.masks_from_boxes(
        ...     dataset, "ground_truth", "masks", preset="tiny", classes=["cat"]
        ... )
        >>> report.segmented
        4
    """
    require_usable(workers, device, segmenter)
    notes: list[str] = []
    images = image_view(samples, group_slices, notes)
    require_labels(images, label_field, (fo.Detections,))
    if new_field == label_field:
        raise DatasetError(
            f"The masks cannot go into {label_field!r}, the field of the boxes; name a new field."
        )
    recipe = segmenter.recipe if segmenter else as_recipe(preset)
    wanted = wanted_boxes(images, label_field, tag, classes)
    report = SegmentReport(new_field, label_field, recipe.name, notes=run_notes(notes))
    chosen = images.select(list(wanted))
    run = {sample: boxes_run_id(label_field, made, recipe) for sample, made in wanted.items()}

    with field_run(chosen, run, report, overwrite, mask_dir) as labelling:
        stamp = labelling.stamp
        work: Work
        if workers is None:
            loaded = segmenter or get_box_segmenter(recipe, device, batch_size)
            task = filling_boxes(loaded)
            work = WorkHere(TaskHandler(task, loaded, stamp=stamp, passes_on=ends_the_run))
        else:
            alone = without_encoder(recipe)
            work = work_by(
                workers, chosen, BOXES, alone, device=device, batch_size=batch_size, stamp=stamp
            )
        labelling.label_each(
            work,
            BOX_MASK_ATTRIBUTES,
            {"boxes": label_field, "recipe": asdict(recipe)},
            progress,
            content=lambda ids: _contents(images, label_field, wanted, ids),
        )
    return report


def wanted_boxes(
    images: Any, field: str, tag: str | None, classes: Iterable[str] | None
) -> dict[str, dict[str, str]]:
    """The labels asked for, as what decides on their masks by their ids, by id of their sample.

    Raises:
        DatasetError: no box is asked for, or no label is of a class.
    """
    chosen = images.select_fields(field)
    if classes is not None:
        names = require_classes(images, [f"{field}.detections"], classes)
        chosen = chosen.filter_labels(field, F("label").is_in(literals(names)))
    if tag is not None:
        chosen = chosen.filter_labels(field, F("tags").contains(literals([tag])))
    path = f"{field}.detections"
    columns = chosen.values(["id", f"{path}.id", *(f"{path}.{name}" for name in _DECIDES)])
    wanted = {}
    for sample, *values in zip(*columns, stored_boxes(chosen, path), strict=True):
        # Of a sample without the field each is None.
        labels = zip(*(column or [] for column in values), strict=True)
        made_of = {
            key: repr((key, label, box, confidence, tags))
            for key, label, confidence, tags, box in labels
        }
        if made_of:
            wanted[sample] = made_of
    if not wanted:
        asked = [f"of class {listed(names)}"] if classes is not None else []
        asked += [f"with the tag {quoted(tag)}"] if tag is not None else []
        raise DatasetError(
            f"The field {field!r} of {dataset_of(images).name!r} holds no label"
            f"{' ' if asked else ''}{' '.join(asked)} in these samples; there is no box to fill."
        )
    return wanted


def boxes_run_id(field: str, labels: Mapping[str, str], recipe: Recipe) -> str:
    """Id of what boxes and a segmenter compute: equal ids, equal masks; 16 hex digits."""
    # The other constants of a recipe change nothing here: no encoder, grid or threshold is used.
    made_of: tuple[Any, ...] = (
        field,
        sorted(labels.values()),
        recipe.segmenter,
        recipe.precision,
    )
    # Runs of versions without points in boxes keep their ids.
    if recipe.box_points:
        made_of = (*made_of, recipe.box_points)
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]


def _contents(
    images: Any, field: str, wanted: Mapping[str, Collection[str]], sample_ids: Sequence[str]
) -> dict[str, tuple[list[dict[str, Any]], list[str]] | Exception]:
    """The boxes that are asked for of some samples, and notes on those that cannot be used."""
    samples = fetch_samples(dataset_of(images), [field], sample_ids)
    return each_fetched(samples, lambda key, sample: _content(sample, field, set(wanted[key])))


def _content(
    sample: Any, field: str, asked: Collection[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """A sample's boxes asked for by id, as the task takes them; notes on those of no use.

    Raises:
        DatasetError: they seem to be made on the photograph before it is turned upright.
        ImageError: the image's header cannot be read.
    """
    labels = sample[field].detections if sample[field] else []
    if problem := stored_pixels_problem(sample, labels):
        raise DatasetError(problem)
    boxes, notes = [], []
    for source in labels:
        if source.id in asked:
            begin = f"no mask for the label {source.id} of class {quoted(source.label)}: "
            if problem := _problem(source):
                notes.append(begin + problem)
            else:
                boxes.append(
                    {
                        "id": source.id,
                        "label": source.label,
                        "bounding_box": [float(value) for value in source.bounding_box],
                        "confidence": source.confidence,
                        "tags": list(source.tags),
                        "note": begin,
                    }
                )
    return boxes, notes


def _problem(source: fo.Detection) -> str:
    """Why a label's box is no prompt; empty if it is one."""
    try:
        if is_crowd_label(source):
            return IS_CROWD
    except DatasetError as error:
        return str(error)
    return box_problem(source.bounding_box)
