"""Two passes over the same images, side by side: what they agree on, and what only one found."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
from .coco_metrics import evaluate_coco, export_coco, has_masks
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
        first_ap: average precision of the first; None without ground truth, -1 for a class that
            is not in it.
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
        by_class: classes in the order asked for or else sorted; also those that ground truth
            alone holds.
        overall: all of these classes together.
        relabelled: how often a class of the first is which other class in the second, the most
            frequent first.
        label_ids: ids of the labels of both fields that differ, image by image.
        labels: the same labels, each by its sample, field and id.
        scored: what the average precisions are of, ``masks`` or ``boxes``; empty without them.
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


# The class of an object in the first field and in the second; None where it is not found.
_Pair = tuple[str | None, str | None]


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

    Example:
        >>> found = ntt.compare_segmentations(dataset, "ntt", "ground_truth")
        >>> agreed, missed = found.overall.same, found.overall.only_second
        >>> to_look_at = found.view
    """
    left_out = LeftOut()
    images = image_view(samples, group_slices, left_out.notes)
    both = [label_field, other_field]
    fields = both if gt_field is None else [*both, gt_field]
    for name in fields:
        require_detections(images, name)
    if len(set(fields)) < len(fields):
        raise DatasetError("The same field was given twice; name different ones.")
    if not include_missing:
        given = images
        images = leave_out_missing(given, dict.fromkeys(both, NOT_SEGMENTED), left_out)
        if left_out.samples and not images.limit(1).values("id"):
            raise nothing_left(samples, given, both)
    names = require_classes(images, [f"{name}.detections" for name in fields], classes)
    wanted = set(names)
    pairs: Counter[_Pair] = Counter()
    differing: list[LabelKey] = []
    for sample in each_sample(images.select_fields(both), progress):
        try:
            size = shown_size(sample.filepath)
        except ImageError as error:
            left_out.add_sample(sample.id, sample.filepath, UNREADABLE, str(error))
            continue
        sides = [_outlines(sample, name, size, left_out) for name in both]
        shown: set[Outline | None] = set()
        for one, other in _objects(*sides):
            pair = (one.label if one else None, other.label if other else None)
            pairs[pair] += 1
            # Of an object whose class changed both labels are shown, whichever class was asked for.
            if pair[0] != pair[1] and not wanted.isdisjoint(pair):
                shown |= {one, other}
        differing += [
            LabelKey(sample.id, name, entry.id)
            for name, side in zip(both, sides, strict=True)
            for entry in side
            if entry in shown
        ]
    unreadable = left_out.of_kinds(UNREADABLE)
    if unreadable and len(unreadable) == images.count():
        first = unreadable[0].reason
        raise DatasetError(f"None of the {len(unreadable)} images can be read; the first: {first}")
    scored, precisions = "", dict[str | None, tuple[float, float]]()
    if gt_field is not None:
        truly = images if include_missing else _with_truth(images, gt_field, left_out)
        for name in both:
            left_out.notes += unmatched_classes(truly, name, gt_field, names)
        masks = all(has_masks(truly, name) for name in fields)
        scored = "masks" if masks else "boxes"
        first_ap, second_ap = (
            _precisions(truly, name, gt_field, names, masks, progress, left_out) for name in both
        )
        precisions = {name: (ap, second_ap[name]) for name, ap in first_ap.items()}
    if left_out:
        logger.warning("%s", left_out)
    rows = {name: _row(pairs, {name}, precisions.get(name)) for name in names}
    relabelled = Counter(
        {
            (one, other): count
            for (one, other), count in pairs.items()
            if one and other and one != other and not wanted.isdisjoint((one, other))
        }
    )
    return Comparison(
        label_field=label_field,
        other_field=other_field,
        by_class={name: row for name, row in rows.items() if gt_field or row.first or row.second},
        overall=_row(pairs, wanted, precisions.get(None)),
        relabelled=dict(relabelled.most_common()),
        label_ids=tuple(key.label for key in differing),
        labels=tuple(differing),
        scored=scored,
        left_out=left_out,
        view=select_labels(images, differing),
    )


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


def _objects(
    first: list[Outline], second: list[Outline]
) -> list[tuple[Outline | None, Outline | None]]:
    """Every label of both, with the label of the other field that shows the same object."""
    matches = dict(same_objects(first, second))
    taken = set(matches.values())
    objects: list[tuple[Outline | None, Outline | None]] = []
    for index, entry in enumerate(first):
        objects.append((entry, second[matches[index]] if index in matches else None))
    return objects + [(None, entry) for index, entry in enumerate(second) if index not in taken]


def _row(
    pairs: Counter[_Pair], names: set[str], precisions: tuple[float, float] | None
) -> ClassComparison:
    def count(are_meant: Callable[[str | None, str | None], bool]) -> int:
        return sum(number for pair, number in pairs.items() if are_meant(*pair))

    first_ap, second_ap = precisions or (None, None)
    return ClassComparison(
        first=count(lambda one, other: one in names),
        second=count(lambda one, other: other in names),
        same=count(lambda one, other: one in names and one == other),
        only_first=count(lambda one, other: one in names and other is None),
        only_second=count(lambda one, other: other in names and one is None),
        relabelled=count(lambda one, other: one in names and other not in (one, None)),
        relabelled_to=count(lambda one, other: other in names and one not in (other, None)),
        first_ap=first_ap,
        second_ap=second_ap,
    )


def _with_truth(images: Any, gt_field: str, left_out: LeftOut) -> Any:
    """The images that have ground truth; a note names the others, which are compared alone."""
    without = LeftOut()
    scored = leave_out_missing(images, {gt_field: NOT_LABELLED}, without)
    if without.samples:
        paths = listed([entry.filepath for entry in without.samples.values()], 3)
        left_out.notes.append(
            f"{len(without.samples)} samples are compared but not scored, since {gt_field!r} was "
            f"never written (None): {paths}."
        )
    return scored


def _precisions(
    images: Any,
    field: str,
    gt_field: str,
    names: list[str],
    masks: bool,
    progress: Progress,
    left_out: LeftOut,
) -> dict[str | None, float]:
    not_scored = LeftOut()
    tables = export_coco(images, field, gt_field, names, masks, progress, not_scored)
    left_out.add(not_scored)
    results = tables.masks if masks else tables.boxes
    figures, by_class = evaluate_coco(tables.ground_truth, results, "segm" if masks else "bbox")
    return {None: figures["AP"], **dict(zip(names, by_class, strict=True))}
