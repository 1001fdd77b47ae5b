"""Two passes over the same images, side by side: what they agree on, and what only one found."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ...engine.images.load import shown_size
from ...errors import DatasetError, ImageError
from ..class_names import unmatched_classes
from ..database.errors import database_errors
from ..labels.overlap import Outline, outline, same_objects
from ..runtime.progress_bar import Progress, each_sample
from ..samples.checks import listed, require_classes, require_detections
from ..samples.label_selection import LabelKey, select_labels
from ..samples.views import image_view
from .coco_export import export_coco
from .coco_metrics import evaluate_coco
from .exclusions import (
    NOT_LABELLED,
    NOT_SEGMENTED,
    UNREADABLE,
    LeftOut,
    LeftOutLabel,
    leave_out_missing,
    nothing_left,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassComparison:
    """What two fields hold of one class, or of all.

    Attributes:
        first: labels in the first field.
        second: labels in the second field.
        same: objects that both call so.
        only_first: labels of the first that the second has nothing for.
        only_second: labels of the second that the first has nothing for.
        relabelled: labels of the first that the second gives another class.
        relabelled_to: labels of the second that the first gives another class.
        first_ap: average precision of the first, where there is ground truth; -1 if the class is
            not in it.
        second_ap: that of the second.
    """

    first: int
    second: int
    same: int
    only_first: int
    only_second: int
    relabelled: int
    relabelled_to: int
    first_ap: float | None = None
    second_ap: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Two fields of labels, compared.

    Attributes:
        label_field: the first field.
        other_field: the second field.
        by_class: by class, in the order asked for or else sorted; also those that ground truth
            alone holds.
        overall: all of these classes together.
        relabelled: how often a class of the first is which other class in the second, the most
            frequent first.
        label_ids: ids of the labels of both fields that differ, image by image.
        labels: the same labels, each by its sample, field and id.
        scored: ``masks`` or ``boxes``, which the average precisions are of; empty without them.
        left_out: labels and samples that cannot be compared, or not scored, with the reasons.
        view: the differing labels alone, in their samples.
    """

    label_field: str
    other_field: str
    by_class: dict[str, ClassComparison]
    overall: ClassComparison
    relabelled: dict[tuple[str, str], int]
    label_ids: tuple[str, ...]
    scored: str
    left_out: LeftOut
    view: Any
    labels: tuple[LabelKey, ...] = ()


@dataclass
class _Counts:
    """What is counted by class on the way."""

    first: Counter[str] = field(default_factory=Counter)
    second: Counter[str] = field(default_factory=Counter)
    same: Counter[str] = field(default_factory=Counter)
    moved: Counter[tuple[str, str]] = field(default_factory=Counter)
    differing: list[LabelKey] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)


@database_errors("nothing was changed; start again when it is back.")
def compare_segmentations(
    samples: Any,
    label_field: str,
    other_field: str,
    gt_field: str | None = None,
    *,
    classes: Iterable[str] | None = None,
    group_slices: str | Iterable[str] | None = None,
    include_missing: bool = False,
    progress: Progress = None,
) -> Comparison:
    """Compare two fields of labels of the same images, class by class. Changes nothing.

    Two labels are the same object if their masks have an IoU of at least 0.5. Each is paired with
    one at most, by falling confidence, first within its class, then across classes. A label
    without a mask counts as all of its box. A sample in which one of the two fields was never
    written (None) is left out and named; one without ground truth is compared, but not scored.
    Where there is ground truth, what ``evaluate`` would leave out is not scored either, and named.

    Args:
        samples: a dataset or view of images; of a view that filters labels, those it shows.
        label_field: the first field, ``Detections``.
        other_field: the second field, ``Detections``.
        gt_field: ground truth, to score both against.
        classes: compare these classes only; all that either field holds if None.
        group_slices: slices to take of a grouped dataset; its active one if None.
        include_missing: compare, and score, samples in which a field was never written too, as
            images without such labels.
        progress: FiftyOne's: True, False, a callback, or None for the configured default.

    Returns:
        The comparison, with a view of what differs.

    Raises:
        DatasetError: a field is missing, of another type or given twice, a class is unknown, or no
            image can be read or has both fields.
    """
    counts = _Counts()
    images = image_view(samples, group_slices, counts.left_out.notes)
    fields = [label_field, other_field, *([gt_field] if gt_field is not None else [])]
    if len(set(fields)) < len(fields):
        raise DatasetError("The same field was given twice; name different ones.")
    for name in fields:
        require_detections(images, name)
    if not include_missing:
        given = images
        kinds = dict.fromkeys((label_field, other_field), NOT_SEGMENTED)
        images = leave_out_missing(given, kinds, counts.left_out)
        if counts.left_out.samples and not images.limit(1).values("id"):
            raise nothing_left(samples, given, [label_field, other_field])
    names = require_classes(images, [f"{name}.detections" for name in fields], classes)
    view = images.select_fields([label_field, other_field])
    for sample in each_sample(view, progress):
        _compare(sample, label_field, other_field, set(names), counts)
    unreadable = counts.left_out.of_kinds(UNREADABLE)
    if unreadable and len(unreadable) == images.count():
        first = unreadable[0].reason
        raise DatasetError(f"None of the {len(unreadable)} images can be read; the first: {first}")
    truly = images if gt_field is None else _with_truth(images, gt_field, counts, include_missing)
    if gt_field is not None:
        for name in (label_field, other_field):
            counts.left_out.notes += unmatched_classes(truly, name, gt_field, names)
    scored, precisions = _precisions(
        truly, label_field, other_field, gt_field, names, progress, counts.left_out
    )
    if counts.left_out:
        logger.warning("%s", counts.left_out)
    shown = [name for name in names if gt_field or counts.first[name] or counts.second[name]]
    by_class = {name: _row(counts, [name], precisions.get(name)) for name in shown}
    return Comparison(
        label_field=label_field,
        other_field=other_field,
        by_class=by_class,
        overall=_row(counts, names, precisions.get(None)),
        relabelled=dict(counts.moved.most_common()),
        label_ids=tuple(key.label for key in counts.differing),
        labels=tuple(counts.differing),
        scored=scored,
        left_out=counts.left_out,
        view=select_labels(images, counts.differing),
    )


def _compare(sample: Any, first: str, second: str, classes: set[str], counts: _Counts) -> None:
    try:
        size = shown_size(sample.filepath)
    except ImageError as error:
        counts.left_out.add_sample(sample.id, sample.filepath, UNREADABLE, str(error))
        return
    sides = [_outlines(sample, name, size, counts.left_out) for name in (first, second)]
    pairs = same_objects(*sides)
    for side, counter in zip(sides, (counts.first, counts.second), strict=True):
        counter.update(entry.label for entry in side)
    agreed: set[LabelKey] = set()
    # Of a pair that changed its class both are shown, whichever of the two was asked for.
    shown: set[LabelKey] = set()
    for a, b in pairs:
        one, other = sides[0][a], sides[1][b]
        both = {LabelKey(sample.id, first, one.id), LabelKey(sample.id, second, other.id)}
        if one.label == other.label:
            counts.same[one.label] += 1
            agreed |= both
        elif classes & {one.label, other.label}:
            counts.moved[one.label, other.label] += 1
            shown |= both
    for name, side in zip((first, second), sides, strict=True):
        for entry in side:
            key = LabelKey(sample.id, name, entry.id)
            if key in shown or (entry.label in classes and key not in agreed):
                counts.differing.append(key)


def _outlines(sample: Any, name: str, size: tuple[int, int], left_out: LeftOut) -> list[Outline]:
    found = []
    for label in sample[name].detections if sample[name] is not None else []:
        try:
            found.append(outline(label, size))
        except DatasetError as error:
            left_out.labels.append(
                LeftOutLabel(name, label.id, sample.id, sample.filepath, str(error))
            )
    return found


def _with_truth(images: Any, gt_field: str, counts: _Counts, include_missing: bool) -> Any:
    """The images to score: those with ground truth; the others are noted, and compared alone."""
    without = LeftOut()
    if include_missing:
        return images
    scored = leave_out_missing(images, {gt_field: NOT_LABELLED}, without)
    if without.samples:
        paths = listed([entry.filepath for entry in without.samples.values()], 3)
        counts.left_out.notes.append(
            f"{len(without.samples)} samples are compared but not scored, since {gt_field!r} was "
            f"never written (None): {paths}."
        )
    return scored


def _row(
    counts: _Counts, names: list[str], precisions: tuple[float, float] | None
) -> ClassComparison:
    first, second, same = (
        sum(counter[name] for name in names)
        for counter in (counts.first, counts.second, counts.same)
    )
    gone = sum(n for (one, _), n in counts.moved.items() if one in names)
    come = sum(n for (_, other), n in counts.moved.items() if other in names)
    return ClassComparison(
        first=first,
        second=second,
        same=same,
        only_first=first - same - gone,
        only_second=second - same - come,
        relabelled=gone,
        relabelled_to=come,
        first_ap=None if precisions is None else precisions[0],
        second_ap=None if precisions is None else precisions[1],
    )


def _precisions(
    images: Any,
    first: str,
    second: str,
    gt_field: str | None,
    names: list[str],
    progress: Progress,
    left_out: LeftOut,
) -> tuple[str, dict[str | None, tuple[float, float]]]:
    """What was scored, and the average precision of both by class; of all under None.

    ``left_out`` grows by what is compared but cannot be scored.
    """
    if gt_field is None:
        return "", {}
    held = [
        images.count(f"{name}.detections.{mask}") > 0
        for name in (first, second, gt_field)
        for mask in ("mask", "mask_path")
    ]
    masks = all(one or other for one, other in zip(held[::2], held[1::2], strict=True))
    found: list[dict[str | None, float]] = []
    for name in (first, second):
        not_scored = LeftOut()
        tables = export_coco(images, name, gt_field, names, masks, progress, not_scored)
        left_out.add(not_scored)
        results = tables.masks if masks else tables.boxes
        figures, by_class = evaluate_coco(tables.ground_truth, results, "segm" if masks else "bbox")
        found.append({None: figures["AP"], **dict(zip(names, by_class, strict=True))})
    both = {name: (found[0][name], found[1][name]) for name in found[0]}
    return "masks" if masks else "boxes", both
