"""Boxes become masks: a segmenter's box prompts, from one field of labels into a new one."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fiftyone as fo
import torch
from fiftyone import ViewField as F
from PIL import Image

from ...engine.recipe import Recipe
from ...engine.references import Box, tight_box
from ...engine.typing import Array
from ...errors import DatasetError
from ..database.errors import database_errors
from ..labels.convert import BOX_MASK_ATTRIBUTES, NewLabel, pixel_box, relative_box, stored_boxes
from ..labels.crowds import IS_CROWD, is_crowd_label
from ..labels.orientation import stored_pixels_problem
from ..networks import SegmenterLike, as_recipe, get_box_segmenter
from ..runtime.progress_bar import Progress
from ..samples.checks import dataset_of, listed, literals, quoted, require_classes, require_labels
from ..samples.views import image_view
from .field_run import field_run
from .pipeline import ReadSample
from .report import SegmentReport, run_notes

# Masks of an image's size, bytes at once; each further batch embeds its image again.
_MASK_BYTES = 2**30

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
    overwrite: bool = False,
    progress: Progress = None,
    *,
    tag: str | None = None,
    classes: Iterable[str] | None = None,
    group_slices: str | Iterable[str] | None = None,
    mask_dir: str | Path | None = None,
    segmenter: SegmenterLike | None = None,
) -> SegmentReport:
    """Cut the object out of each box, and write it with its mask into a new field.

    The field of the boxes is only read. A label of the new field has the pixel-tight box of its
    mask, the class, tags and confidence of the label it came from, that label's id as
    ``source``, and ``preset``. Look at them in the App; then ``build_memory_bank`` can learn
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
        overwrite: start anew: take away first what runs wrote in these samples before.
        progress: FiftyOne's: True, False, a callback, or None for the configured default. An
            exception out of the callback stops the run.
        tag: only boxes with this label tag; all if None.
        classes: only boxes of these classes; all if None.
        group_slices: name or names of the slices to take of a grouped dataset; the active one
            if None.
        mask_dir: write masks as PNG files below this folder, not into the database. The files
            stay when labels, field or dataset are replaced or deleted: a clone may name them too.
        segmenter: an engine ``Segmenter`` to use in place of preset, device and batch size.

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
        loaded = segmenter or get_box_segmenter(recipe, device, batch_size)

        def label(read: ReadSample) -> list[NewLabel]:
            return _labels(read, loaded, label_field, set(wanted[read.sample_id]))

        facts = {"boxes": label_field, "recipe": asdict(recipe)}
        labelling.label_each(
            label, loaded, BOX_MASK_ATTRIBUTES, facts, progress, fields=[label_field]
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
    made_of = (field, sorted(labels.values()), recipe.segmenter, recipe.precision)
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]


def _labels(
    read: ReadSample, segmenter: SegmenterLike, field: str, asked: Collection[str]
) -> list[NewLabel]:
    """A sample's labels, of the boxes asked for by id; those that give no mask are noted."""
    sample, image = read.sample, read.image
    assert image is not None
    labels_of_sample = sample[field].detections if sample[field] else []
    if problem := stored_pixels_problem(sample, labels_of_sample):
        raise DatasetError(problem)
    size = image.height, image.width
    usable, boxes = [], []
    for source in labels_of_sample:
        if source.id in asked:
            try:
                boxes.append(_prompt(source, size))
                usable.append(source)
            except DatasetError as error:
                read.notes.append(_note(source, str(error)))
    labels = []
    masks = _masks(segmenter, image, boxes)
    for source, box, mask in zip(usable, boxes, masks, strict=True):
        if mask is None:
            read.notes.append(_note(source, "The segmenter found nothing in its box."))
        else:
            labels.append(_label(source, box, *mask, size, segmenter.recipe.name))
    return labels


def _prompt(source: fo.Detection, size: tuple[int, int]) -> Box:
    """A label's box as a prompt: in pixels, cut at the image's border."""
    if is_crowd_label(source):
        raise DatasetError(IS_CROWD)
    height, width = size
    x1, y1, x2, y2 = pixel_box(source, size)
    x1, y1, x2, y2 = max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2)
    if x1 >= x2 or y1 >= y2:
        raise DatasetError(f"Its box {source.bounding_box} covers nothing of the image.")
    return x1, y1, x2, y2


def _masks(
    segmenter: SegmenterLike, image: Image.Image, boxes: list[Box]
) -> list[tuple[Array, Box] | None]:
    """For each box its mask, cropped, with the mask's tight box; None for an empty mask."""
    at_once = max(1, _MASK_BYTES // (image.height * image.width))
    found: list[tuple[Array, Box] | None] = []
    for start in range(0, len(boxes), at_once):
        for mask in segmenter.masks_from_boxes(image, boxes[start : start + at_once]):
            if not mask.any():
                found.append(None)
                continue
            box = tight_box(mask)
            x1, y1, x2, y2 = map(int, box)
            # A copy: a window into it would hold the whole mask in memory.
            found.append((mask[y1:y2, x1:x2].copy(), box))
    return found


def _label(
    source: fo.Detection,
    given: Box,
    mask: Array,
    box: Box,
    size: tuple[int, int],
    preset: str,
) -> NewLabel:
    return NewLabel(
        label=source.label,
        bounding_box=relative_box(box, size),
        mask=mask,
        confidence=source.confidence,
        tags=list(source.tags),
        attributes={"source": source.id, "preset": preset, "box_iou": _iou(given, box)},
    )


def _iou(one: Box, other: Box) -> float:
    """IoU of two boxes x1 y1 x2 y2 that are not empty."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (one, other))
    return shared / (areas - shared)


def _note(source: fo.Detection, reason: str) -> str:
    return f"no mask for the label {source.id} of class {quoted(source.label)}: {reason}"
