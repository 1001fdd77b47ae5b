"""The field of suggestions: what former ones it holds, and what a person made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...engine.matching.nms import box_iou
from ...engine.references import Box
from ...errors import DatasetError
from ..labels.convert import box_problem, stored_boxes
from ..labels.label_field import require_writable
from ..references.copies import KEPT_FIELD
from ..samples.checks import dataset_of
from ..samples.views import all_images

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

    A suggestion that was promoted, or added as a negative, has a copy elsewhere and may go.

    Args:
        samples: the dataset or a view of it.
        field: the field's name; it need not be there.

    Raises:
        DatasetError: the name cannot be used, or something else made the field.
    """
    dataset = dataset_of(samples)
    images = all_images(dataset)
    state = require_writable(images, field, RUN_PREFIX, overwrite=True)
    if not state.done and not state.others:
        return Former((), 0)
    filled = images.select(state.done + state.others)
    ids, runs = filled.values(["id", f"{field}.run"])
    foreign = [run for run in runs if run is not None and not run.startswith(RUN_PREFIX)]
    if foreign:
        raise DatasetError(
            f"The field {field!r} of {dataset.name!r} holds the labels of another run in "
            f"{len(foreign)} samples, so it is not touched; choose another field for suggestions."
        )
    return Former(tuple(ids), _count_changed(filled, field))


def require_replaceable(samples: Any, field: str, overwrite: bool) -> tuple[str, ...]:
    """Make sure that new suggestions may take the place of what a field holds.

    Returns:
        Ids of all samples of the dataset that hold former suggestions.

    Raises:
        DatasetError: as ``former_suggestions``; or the field holds what a person changed and
            ``overwrite`` is False.
    """
    former = former_suggestions(samples, field)
    if former.changed and not overwrite:
        raise DatasetError(
            f"{former.changed} labels in {field!r} were drawn, tagged or given another class by a "
            "person and are no references yet. Promote them first, choose another field, or pass "
            "overwrite=True to let them go."
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
