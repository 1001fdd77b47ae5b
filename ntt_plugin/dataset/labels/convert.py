"""The attributes that runs give labels, and the boxes of labels, exact to the pixel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone import ViewField as F

from ...engine.references import Box
from ...errors import DatasetError
from ...worker.labels.boxes import pixel_corners
from ..samples.checks import quoted

# In widths and heights of the image, beyond its border. Annotated boxes reach a little outside;
# boxes in pixels nearly always reach farther than this.
_FARTHEST = 1.0


LABEL_ATTRIBUTES: Mapping[str, type[fo.Field]] = {
    "margin": fo.FloatField,
    "proposal_iou": fo.FloatField,
    "reference": fo.StringField,
    "reference_field": fo.StringField,
    "reference_sample": fo.StringField,
    "reference_dataset": fo.StringField,
    "bank": fo.StringField,
    "bank_version": fo.IntField,
    "preset": fo.StringField,
}
"""The attributes that ``to_labels`` adds to FiftyOne's own."""

SUGGESTION_ATTRIBUTES: Mapping[str, type[fo.Field]] = {
    **LABEL_ATTRIBUTES,
    "suggested": fo.StringField,
    "reason": fo.StringField,
    "gain": fo.FloatField,
}
"""The attributes of a suggestion; ``suggested`` is its class before a person corrected it."""

BOX_MASK_ATTRIBUTES: Mapping[str, type[fo.Field]] = {
    "source": fo.StringField,
    "preset": fo.StringField,
    "box_iou": fo.FloatField,
}
"""The attributes of a mask made from a box.

``source`` is the id of the label with the box; ``box_iou`` tells how well the mask's own box and
that one agree.
"""

RESERVED_ATTRIBUTES = frozenset(
    {"iscrowd", "candidate", *SUGGESTION_ATTRIBUTES, *BOX_MASK_ATTRIBUTES}
)
"""Every attribute that this plugin reads or writes; evaluations may not take these names."""


def label_defaults() -> dict[str, Any]:
    """The fields that the installed FiftyOne gives every label, without its id."""
    empty = fo.Detection().to_dict()
    return {name: value for name, value in empty.items() if name != "_id"}


def list_defaults() -> dict[str, Any]:
    """The fields that the installed FiftyOne gives every list of labels, with the field ``run``."""
    return dict(fo.Detections(run="").to_dict())


def pixel_box(detection: fo.Detection, image_size: tuple[int, int]) -> Box:
    """A label's box in pixels, x1 y1 x2 y2, free of the noise of relative coordinates.

    Raises:
        DatasetError: the box is missing, not made of four finite numbers, has a negative side, or
            lies as far outside the image as a box in pixels does.
    """
    problem = box_problem(detection.bounding_box)
    if problem:
        raise DatasetError(problem)
    return pixel_corners(detection.bounding_box, image_size)


def stored_boxes(samples: Any, path: str) -> list[list[Any] | None]:
    """The ``bounding_box`` of each label, by sample: four floats, or what is stored in their place.

    ``path`` is ``<field>.detections``.
    """
    # By its path, FiftyOne would convert it to floats, and fail where it cannot.
    stored = samples.values(F(path).map(F("bounding_box")))
    return [boxes and [_four_numbers(box) or box for box in boxes] for boxes in stored]


def box_problem(box: Any) -> str:
    """Why FiftyOne's x y w h, relative to the image, cannot be used; empty if it can."""
    x, y, w, h = _four_numbers(box) or [math.nan] * 4
    if not all(math.isfinite(value) for value in (x, y, w, h)):
        return (
            f"Its box {quoted(box)} is not made of four finite numbers; correct it or delete the "
            "label."
        )
    if w < 0 or h < 0:
        return (
            f"Its box {quoted(box)} has a negative side; a box is [x, y, width, height], relative "
            "to the image. Correct it or delete the label."
        )
    if is_far_outside((x, x + w, y, y + h)):
        return (
            f"Its box {quoted(box)} lies far outside the image, as one in pixels does; a box is "
            "[x, y, width, height] from 0 to 1, so divide by the width and height of the image."
        )
    return ""


def _four_numbers(box: Any) -> list[float] | None:
    values = box.tolist() if isinstance(box, np.ndarray) else box
    if not isinstance(values, (list, tuple)) or len(values) != 4:
        return None
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return None


def is_far_outside(coordinates: Iterable[float]) -> bool:
    """Whether relative coordinates are so far outside the image that they must be pixels."""
    return not all(-_FARTHEST <= value <= 1 + _FARTHEST for value in coordinates)
