"""Masks that were made from boxes, those that fit their box worst first."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any, NamedTuple

from fiftyone import ViewField as F

from ..samples.label_selection import LabelKey
from ..samples.views import all_images

POOR = 0.5
"""Below this IoU of a mask's own box and the box that was given, the mask is worth a look."""

_MOST = 1000


class BoxMask(NamedTuple):
    """A mask made from a box; ``box_iou`` is the IoU of its own box and the box that was given."""

    key: LabelKey
    filename: str
    label: str
    box_iou: float


def worst_box_masks(dataset: Any, field: str, most: int = _MOST) -> list[BoxMask]:
    """The masks of a field that fit their box worst, the worst first; one pass over the samples.

    Masks of former versions, which did not keep ``box_iou``, are left out.
    """
    images = all_images(dataset)
    path = f"{field}.detections"
    if images.get_field(f"{path}.box_iou") is None:
        return []
    known = images.filter_labels(field, F("box_iou") != None)  # noqa: E711
    wanted = ["id", "filepath", f"{path}.id", f"{path}.label", f"{path}.box_iou"]
    found = [
        BoxMask(LabelKey(sample, field, key), PurePath(filepath).name, label, iou)
        for sample, filepath, *labels in zip(*known.values(wanted), strict=True)
        for key, label, iou in zip(*labels, strict=True)
    ]
    return sorted(found, key=lambda mask: mask.box_iou)[:most]
