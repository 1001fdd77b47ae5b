"""The engine's instances as labels, and the boxes of labels, exact to the pixel."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import fiftyone as fo
import numpy as np
from bson import ObjectId
from fiftyone import ViewField as F

from ...engine.matching.match import Instances
from ...engine.references import Box, Provenance
from ...engine.typing import Array
from ...errors import DatasetError
from ..database.fiftyone_internals import encoded_mask
from ..samples.checks import quoted

# Relative boxes carry float noise of about 1e-13 pixels, ours 1e-10 more: rounded here, pixels
# come back exactly.
_DECIMALS = 9

# In pixels. FiftyOne's ``to_segmentation`` cuts fractions off, so an edge that comes back as
# 11.999999999999998 would be drawn one pixel off.
_HAIR = 1e-10

# In widths and heights of the image, beyond its border. Annotated boxes reach a little outside;
# boxes in pixels nearly always reach farther than this.
_FARTHEST = 1.0


@dataclass(frozen=True)
class Origin:
    """What made labels, kept with each of them: the bank, its version, and the recipe's preset."""

    bank: str
    bank_version: int
    preset: str


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

``source`` is the id of the label with the box; ``box_iou`` how well the mask's own box agrees with
the box that was given, an IoU.
"""

RESERVED_ATTRIBUTES = frozenset({"iscrowd", *SUGGESTION_ATTRIBUTES, *BOX_MASK_ATTRIBUTES})
"""Every attribute that this plugin reads or writes; evaluations may not take these names."""


@dataclass
class NewLabel:
    """The content of an ``fo.Detection``, made and encoded eight times faster.

    Attributes:
        bounding_box: x y w h in [0, 1].
        mask: bool, as large as the box in pixels; None if it is in a file.
        confidence: in [0, 1], or None.
        attributes: all else, by name: texts, numbers or None.
        mask_path: the file of its mask, in place of ``mask``.
    """

    label: str
    bounding_box: list[float]
    mask: Array | None
    confidence: float | None = None
    tags: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    mask_path: str | None = None

    def document(self) -> dict[str, Any]:
        """The document that FiftyOne would write to the database, with a new id."""
        own = {
            "label": self.label,
            "bounding_box": self.bounding_box,
            "mask": None if self.mask is None else encoded_mask(self.mask),
            "mask_path": self.mask_path,
            "confidence": self.confidence,
        }
        return {
            "_id": ObjectId(),
            **copy.deepcopy(_defaults()),
            "tags": list(self.tags),
            # FiftyOne leaves out its own fields where they are None, but no others.
            **{name: value for name, value in own.items() if value is not None},
            **self.attributes,
        }


@cache
def _defaults() -> Mapping[str, Any]:
    """The fields that the installed FiftyOne gives every label; not to be modified."""
    empty = fo.Detection().to_dict()
    return {name: value for name, value in empty.items() if name != "_id"}


def to_labels(
    instances: Instances, origin: Origin, sources: Mapping[str, Provenance] | None = None
) -> list[NewLabel]:
    """Instances as labels, with unrounded scores.

    ``sources`` has the provenance of the bank's references by id: a label's ``reference``,
    ``reference_field``, ``reference_sample`` and ``reference_dataset`` name the label most like
    it. A reference of unknown provenance is named by its own id.
    """
    labels = []
    for index, label in enumerate(instances.labels):
        reference = instances.references[index]
        source = (sources or {}).get(reference, Provenance())
        labels.append(
            NewLabel(
                label=label,
                bounding_box=relative_box(instances.boxes[index], instances.image_size),
                mask=np.ascontiguousarray(instances.masks[index], dtype=bool),
                confidence=float(instances.scores[index]),
                attributes={
                    "margin": float(instances.margins[index]),
                    "proposal_iou": float(instances.proposal_ious[index]),
                    "reference": source.label or reference,
                    "reference_field": source.field,
                    "reference_sample": source.sample,
                    "reference_dataset": source.dataset,
                    "bank": origin.bank,
                    "bank_version": origin.bank_version,
                    "preset": origin.preset,
                },
            )
        )
    return labels


def relative_box(box: Array | Box, image_size: tuple[int, int]) -> list[float]:
    """A pixel box x1 y1 x2 y2 (x2, y2 exclusive) as FiftyOne's x y w h in [0, 1].

    Corner and side are 1e-10 pixels more than they are, so that readers which cut fractions off
    (FiftyOne's ``to_segmentation``) and readers which round find the same pixels. A box inside
    the image stays inside [0, 1].
    """
    height, width = image_size
    x1, y1, x2, y2 = (float(edge) for edge in box)
    x, w = _relative(x1, x2, width)
    y, h = _relative(y1, y2, height)
    return [x, y, w, h]


def _relative(start: float, end: float, length: int) -> tuple[float, float]:
    corner = (start + _HAIR) / length
    if end == length:
        # In floats, corner + (1 - corner) is 1 exactly.
        return corner, 1.0 - corner
    return corner, (end - start + _HAIR) / length


def pixel_box(detection: fo.Detection, image_size: tuple[int, int]) -> Box:
    """A label's box in pixels, x1 y1 x2 y2, free of the noise of relative coordinates.

    Raises:
        DatasetError: the box is missing, not made of four finite numbers, has a negative side, or
            lies as far outside the image as a box in pixels does.
    """
    height, width = image_size
    problem = box_problem(detection.bounding_box)
    if problem:
        raise DatasetError(problem)
    left, top, wide, high = (float(value) for value in detection.bounding_box)
    x, w = round(left * width, _DECIMALS), round(wide * width, _DECIMALS)
    y, h = round(top * height, _DECIMALS), round(high * height, _DECIMALS)
    return x, y, round(x + w, _DECIMALS), round(y + h, _DECIMALS)


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
