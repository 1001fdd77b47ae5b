"""Labels that could be references, found without reading a single mask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from fiftyone import ViewField as F

from ...errors import DatasetError
from ..labels.convert import box_problem, stored_boxes
from ..labels.crowds import crowd_values, is_crowd
from ..labels.polylines import shapes_of

_NO_NAME = "no class name"
_NO_MASK = "no mask"
_NO_AREA = "neither closed nor filled, or without corners"

# A label's box, x y w h relative to the image, and why it cannot be read.
_Area = tuple[tuple[float, ...], str]


@dataclass(frozen=True)
class Candidate:
    """One label that could be a reference.

    Attributes:
        id: the label's id.
        label: its class.
        sample: its sample's id.
        filepath: its sample's image.
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


def find_candidates(
    samples: Any, path: str, wanted: set[str], passed_over: Counter[str]
) -> list[Candidate]:
    """Labels of some classes that have an area, in the view's order.

    Args:
        samples: a dataset or view of images.
        path: where the labels are: ``<field>.detections`` or ``<field>.polylines``.
        wanted: the classes.
        passed_over: labels of these classes without an area, and all without a class name, are
            counted here, by reason.
    """
    polylines = path.endswith(".polylines")
    areas = _polyline_areas if polylines else _detection_areas
    columns = samples.values(
        [
            "id",
            "filepath",
            f"{path}.id",
            f"{path}.label",
        ]
    )
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
    # Only whether there is a mask is asked for: the masks themselves may be gigabytes.
    has_mask = F(path).map((F("mask") != None) | (F("mask_path") != None))  # noqa: E711
    boxes, masked = stored_boxes(samples, path), samples.values(has_mask)
    for sample_boxes, sample_masked in zip(boxes, masked, strict=True):
        pairs = zip(sample_boxes or [], sample_masked or [], strict=True)
        yield [_box(box) if has else None for box, has in pairs]


def _polyline_areas(samples: Any, path: str) -> Iterator[list[_Area | None]]:
    """For each sample the tight box of each label; None for one that is no area."""
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
