"""Labels that could be references, and choosing k of each class at random."""

from __future__ import annotations

import logging
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from fiftyone import ViewField as F

from ...engine.images.load import shown_size
from ...errors import DatasetError, ImageError
from ..class_names import look_alike_notes
from ..database.errors import database_errors
from ..labels.convert import box_problem, stored_boxes
from ..labels.crowds import crowd_values, is_crowd
from ..labels.polylines import shapes_of
from ..samples.checks import (
    dataset_of,
    listed,
    quoted,
    require_classes,
    require_labels,
    require_tag,
    whole_number,
)
from ..samples.label_selection import LabelKey, select_labels
from ..samples.views import image_view
from .coco_few_shot import sample_few_shot

logger = logging.getLogger(__name__)

_NO_NAME = "no class name"
_NO_MASK = "no mask"
_NO_AREA = "neither closed nor filled, or without corners"
_CROWD = "marked as a crowd"
_UNREADABLE = "image cannot be read"


# A label's box, x y w h relative to the image, and why it cannot be read.
_Area = tuple[tuple[float, ...], str]


@dataclass(frozen=True)
class Candidate:
    """One label that could be a reference.

    Attributes:
        box: x y w h relative to the image; empty if it cannot be read.
        crowd: whether it is marked as a crowd.
        problem: why its box or its ``iscrowd`` cannot be read; empty if they can.
    """

    id: str
    label: str
    sample: str
    filepath: str
    box: tuple[float, ...]
    crowd: bool
    problem: str = ""


@dataclass(frozen=True)
class ReferenceSample:
    """What ``sample_references`` chose.

    Attributes:
        tag: the label tag that marks the chosen labels.
        label_ids: ids of the chosen labels, class by class.
        counts: number chosen by class, also of classes with none.
        short: classes with fewer than wanted, and how many they have.
        passed_over: number of labels that could not serve, by reason.
        notes: remarks for people: classes whose names look alike, samples that the view holds
            more than once.
    """

    tag: str
    label_ids: tuple[str, ...]
    counts: dict[str, int]
    short: dict[str, int]
    passed_over: dict[str, int]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The counts in words, for logs and forms."""
        lines = [f"{len(self.label_ids)} references of {len(self.counts)} classes: {self.tag!r}"]
        lines += [f"{quoted(name)} has only {self.counts[name]}" for name in self.short]
        lines += [f"{count} labels passed over: {why}" for why, count in self.passed_over.items()]
        return "; ".join([*lines, *self.notes])


@database_errors(
    "not all references may be tagged; choose again when it is back, which replaces the tags."
)
def sample_references(
    samples: Any,
    label_field: str,
    shots: int = 10,
    classes: Iterable[str] | None = None,
    seed: int = 51,
    tag: str = "reference",
    *,
    protocol: str = "spread",
    group_slices: str | Iterable[str] | None = None,
) -> ReferenceSample:
    """Choose references of each class at random and mark them with a label tag.

    The same seed chooses the same labels whatever the database's order and ids: candidates are
    drawn in order of file path and box, each class with a generator of its own. **The tag is
    taken from all other labels of the field in these samples**, so a second call replaces the
    first one's choice; labels outside the given view keep theirs.

    Args:
        samples: a dataset or view of images.
        label_field: a field of ``Detections`` with ``mask`` or ``mask_path``, or of filled or
            closed ``Polylines``.
        shots: references wanted per class.
        classes: the classes to sample; all that the field holds if None.
        seed: seed of the choice.
        tag: the label tag that marks what was chosen.
        protocol: ``spread`` takes one label an image as long as there are images, then more
            from the same; ``paper`` follows the published protocol (recipe section 7) over the
            labels in the view's order: objects of 32 pixels and more that lie 10 pixels inside,
            one an image. The published references themselves come from COCO's annotation file
            in its own order: ``coco_few_shot.sample_few_shot``.
        group_slices: slices to take of a grouped dataset; its active one if None.

    Raises:
        DatasetError: the field is of another type, a class is unknown, an argument is not
            allowed, no label can serve, or the database does not answer.

    Example:
        >>> sample = ntt.sample_references(dataset, "ground_truth", shots=2)
        >>> sample.counts
        {'bird': 2, 'cat': 2, 'dog': 2}
    """
    shots, seed = whole_number("shots", shots), whole_number("seed", seed)
    if shots < 1:
        raise DatasetError(f"shots is {shots}; it must be 1 or more.")
    if not isinstance(protocol, str) or protocol not in _PROTOCOLS:
        raise DatasetError(
            f"There is no protocol {quoted(protocol)}; there is {listed(_PROTOCOLS)}."
        )
    require_tag(tag)
    repeats: list[str] = []
    samples = image_view(samples, group_slices, repeats)
    path = require_labels(samples, label_field)
    wanted = require_classes(samples, [path], classes)
    notes = (*repeats, *look_alike_notes(samples.distinct(f"{path}.label")))
    for note in notes:
        logger.warning(note)

    passed_over: Counter[str] = Counter()
    candidates = _readable(find_candidates(samples, path, set(wanted), passed_over), passed_over)
    chosen = _PROTOCOLS[protocol](candidates, wanted, shots, seed, passed_over)
    if not any(chosen.values()):
        reasons = ", ".join(f"{count} {why}" for why, count in (+passed_over).items())
        raise DatasetError(
            f"No label in the field {label_field!r} of {dataset_of(samples).name!r} can be a "
            f"reference ({reasons or 'none is large enough and inside its image'})."
        )

    taken = [candidate for label in wanted for candidate in chosen[label]]
    keys = [LabelKey(candidate.sample, label_field, candidate.id) for candidate in taken]
    samples.untag_labels(tag, label_fields=label_field)
    select_labels(samples, keys).tag_labels(tag, label_fields=label_field)
    label_ids = tuple(candidate.id for candidate in taken)
    counts = {label: len(chosen[label]) for label in wanted}
    short = {label: count for label, count in counts.items() if count < shots}
    return ReferenceSample(tag, label_ids, counts, short, dict(+passed_over), notes)


def _readable(candidates: list[Candidate], passed_over: Counter[str]) -> list[Candidate]:
    """Those whose box and ``iscrowd`` can be read; the others are counted under one reason."""
    unreadable = [candidate.problem for candidate in candidates if candidate.problem]
    if unreadable:
        passed_over[f"not readable, the first: {unreadable[0]}"] = len(unreadable)
    return [candidate for candidate in candidates if not candidate.problem]


def _spread(
    candidates: list[Candidate], wanted: list[str], shots: int, seed: int, passed_over: Counter[str]
) -> dict[str, list[Candidate]]:
    pools: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in sorted(candidates, key=lambda c: (c.filepath, c.box, c.id)):
        if candidate.crowd:
            passed_over[_CROWD] += 1
        else:
            pools[candidate.label].append(candidate)
    chosen = {}
    for label in wanted:
        pool = pools[label]
        # Seeded with the class's name too: the choice does not depend on the other classes.
        random.Random(f"{seed}/{label}").shuffle(pool)
        used: set[str] = set()
        first: list[Candidate] = []
        more: list[Candidate] = []
        for candidate in pool:
            (more if candidate.sample in used else first).append(candidate)
            used.add(candidate.sample)
        chosen[label] = (first + more)[:shots]
    return chosen


def _paper(
    candidates: list[Candidate], wanted: list[str], shots: int, seed: int, passed_over: Counter[str]
) -> dict[str, list[Candidate]]:
    images: dict[str, dict[str, Any]] = {}
    annotations = []
    for index, candidate in enumerate(candidates):
        if candidate.sample not in images:
            try:
                height, width = shown_size(candidate.filepath)
            except ImageError:
                height, width = 0, 0
            images[candidate.sample] = {"id": candidate.sample, "width": width, "height": height}
        width, height = (images[candidate.sample][side] for side in ("width", "height"))
        passed_over[_CROWD] += candidate.crowd
        passed_over[_UNREADABLE] += width == 0
        x, y, w, h = candidate.box
        # Rounded: float noise would decide at the protocol's limits of 32 and 10 pixels.
        box = [round(v, 9) for v in (x * width, y * height, w * width, h * height)]
        annotations.append(
            {
                "id": index,
                "image_id": candidate.sample,
                "category_id": candidate.label,
                "bbox": box,
                "iscrowd": candidate.crowd,
            }
        )
    coco = {"images": list(images.values()), "annotations": annotations}
    chosen: dict[str, list[Candidate]] = {label: [] for label in wanted}
    for reference in sample_few_shot(coco, shots, seed):
        candidate = candidates[reference["annotation_id"]]
        chosen[candidate.label].append(candidate)
    return chosen


_Protocol = Callable[
    [list[Candidate], list[str], int, int, "Counter[str]"], dict[str, list[Candidate]]
]
_PROTOCOLS: dict[str, _Protocol] = {"spread": _spread, "paper": _paper}


def find_candidates(
    samples: Any, path: str, wanted: set[str], passed_over: Counter[str]
) -> list[Candidate]:
    """Labels of some classes that have an area, in the view's order; no mask is read.

    Args:
        samples: a dataset or view of images.
        path: where the labels are: ``<field>.detections`` or ``<field>.polylines``.
        wanted: the classes.
        passed_over: labels of these classes without an area, and all without a class name, are
            counted here, by reason.
    """
    polylines = path.endswith(".polylines")
    areas = _polyline_areas if polylines else _detection_areas
    columns = samples.values(["id", "filepath", f"{path}.id", f"{path}.label"])
    crowds = crowd_values(samples, path)
    candidates = []
    for sample_areas, (sample, filepath, *lists) in zip(
        areas(samples, path), zip(*columns, crowds, strict=True), strict=True
    ):
        rows = zip(*(values or [] for values in lists), sample_areas, strict=True)
        for label_id, label, crowd, area in rows:
            if not (label or "").strip():
                passed_over[_NO_NAME] += 1
                continue
            if label not in wanted:
                continue
            if area is None:
                passed_over[_NO_AREA if polylines else _NO_MASK] += 1
                continue
            marked, (box, problem) = False, area
            try:
                marked = is_crowd(crowd)
            except DatasetError as error:
                problem = problem or str(error)
            candidates.append(Candidate(label_id, label, sample, filepath, box, marked, problem))
    return candidates


def _detection_areas(samples: Any, path: str) -> Iterator[list[_Area | None]]:
    """For each sample the box of each label; None for one without a mask."""
    # Query only whether there is a mask: the masks themselves may be gigabytes.
    has_mask = F(path).map((F("mask") != None) | (F("mask_path") != None))  # noqa: E711
    boxes, masked = stored_boxes(samples, path), samples.values(has_mask)
    for sample_boxes, sample_masked in zip(boxes, masked, strict=True):
        pairs = zip(sample_boxes or [], sample_masked or [], strict=True)
        yield [_box(box) if has else None for box, has in pairs]


def _polyline_areas(samples: Any, path: str) -> Iterator[list[_Area | None]]:
    """For each sample the tight box of each label; None for one that covers no area."""
    columns = samples.values([f"{path}.{name}" for name in ("filled", "closed", "points")])
    for lists in zip(*columns, strict=True):
        rows = zip(*(values or [] for values in lists), strict=True)
        yield [_tight(points) if filled or closed else None for filled, closed, points in rows]


def _box(box: Any) -> _Area:
    problem = box_problem(box)
    return ((), problem) if problem else (tuple(box), "")


def _tight(points: Any) -> _Area | None:
    try:
        shapes = shapes_of(points)
    except DatasetError as error:
        return (), str(error)
    if not shapes:
        return None
    corners = np.concatenate(shapes)
    (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return (x1, y1, x2 - x1, y2 - y1), ""
