"""The engine's instances as labels, and the masks and boxes of labels, exact to the pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np

from ..engine.instances import Instances
from ..engine.references import Box, Provenance
from ..errors import DatasetError
from .new_label import NewLabel

Array = np.ndarray[Any, Any]

# Relative boxes carry float noise of about 1e-13 pixels; whole and fractional pixels come back
# exactly when rounded here.
_DECIMALS = 9


@dataclass(frozen=True)
class Origin:
    """What made labels, kept with each of them.

    Attributes:
        bank: the memory bank's name.
        bank_version: its version, the number of changes since it was built.
        preset: the recipe's preset.
    """

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
"""The attributes that ``to_labels`` gives a label beyond FiftyOne's own."""


def to_labels(
    instances: Instances,
    origin: Origin,
    sources: Mapping[str, Provenance] | None = None,
) -> list[NewLabel]:
    """Instances as labels, every one of them, with unrounded scores.

    Args:
        instances: what was found in the image.
        origin: what found it.
        sources: provenance of the bank's references by id; a label's ``reference``,
            ``reference_field``, ``reference_sample`` and ``reference_dataset`` name the label
            most like it. A reference of unknown provenance is named by its own id.
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
    """A pixel box x1 y1 x2 y2 (x2, y2 exclusive) as FiftyOne's x y w h in [0, 1]."""
    height, width = image_size
    x1, y1, x2, y2 = (float(edge) for edge in box)
    return [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height]


def pixel_box(detection: fo.Detection, image_size: tuple[int, int]) -> Box:
    """A label's box in pixels, x1 y1 x2 y2, free of the noise of relative coordinates.

    Raises:
        DatasetError: the box is missing or not made of four finite numbers.
    """
    height, width = image_size
    box = detection.bounding_box
    if not box or len(box) != 4 or not all(math.isfinite(value) for value in box):
        raise DatasetError(
            f"Its box {box} is not made of four finite numbers; correct it or delete the label."
        )
    x, w = round(box[0] * width, _DECIMALS), round(box[2] * width, _DECIMALS)
    y, h = round(box[1] * height, _DECIMALS), round(box[3] * height, _DECIMALS)
    return x, y, round(x + w, _DECIMALS), round(y + h, _DECIMALS)


def full_mask(detection: fo.Detection, image_size: tuple[int, int]) -> Array:
    """A label's mask at the image's size, bool (H, W), from ``mask`` or ``mask_path``.

    The mask is pasted at the rounded corner of its box. One of another size than the box (by
    more than the pixel that rounding explains) is stretched to it, as the App shows it.

    Raises:
        DatasetError: box or mask is missing or unusable, or nothing of it is in the image.
    """
    inside, left, top = placed_mask(detection, image_size)
    full = np.zeros(image_size, dtype=bool)
    full[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return full


def placed_mask(detection: fo.Detection, image_size: tuple[int, int]) -> tuple[Array, int, int]:
    """The part of ``full_mask`` that a label's own mask covers, and its left and top pixel.

    Raises:
        DatasetError: as ``full_mask``.
    """
    height, width = image_size
    x1, y1, x2, y2 = pixel_box(detection, image_size)
    mask = _stored_mask(detection)
    left, top = round(x1), round(y1)
    box_size = max(1, round(y2 - y1)), max(1, round(x2 - x1))
    if max(abs(mask.shape[0] - box_size[0]), abs(mask.shape[1] - box_size[1])) > 1:
        mask = _stretch(mask, box_size)

    cut_top, cut_left = max(0, -top), max(0, -left)
    inside = mask[cut_top : max(0, height - top), cut_left : max(0, width - left)]
    if not inside.any():
        where = "lies outside the image" if mask.any() else "is empty"
        raise DatasetError(f"Its mask {where}; correct it or delete the label.")
    return inside, left + cut_left, top + cut_top


def _stored_mask(detection: fo.Detection) -> Array:
    try:
        mask = detection.get_mask()
    except Exception as error:
        raise DatasetError(f"Its mask {detection.mask_path} cannot be read ({error}).") from error
    if mask is None:
        raise DatasetError("It has no mask; draw one, or make it with masks_from_boxes().")
    mask = np.asarray(mask)
    if mask.ndim == 3:
        mask = mask[..., 0]
    if mask.ndim != 2 or mask.size == 0:
        raise DatasetError(f"Its mask has the shape {mask.shape}; it must be (height, width).")
    filled: Array = mask != 0
    return filled


def _stretch(mask: Array, size: tuple[int, int]) -> Array:
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(size, mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]
