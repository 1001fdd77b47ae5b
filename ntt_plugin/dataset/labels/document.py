"""A label that is to be written, without the weight of FiftyOne's own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import fiftyone as fo
from bson import ObjectId

from ...engine.typing import Array


@dataclass
class NewLabel:
    """What an ``fo.Detection`` would hold, made and encoded in an eighth of the time.

    Attributes:
        label: its class.
        bounding_box: x y w h in [0, 1].
        mask: bool, as large as the box in pixels; None if it is a file.
        confidence: in [0, 1]; None if there is none.
        tags: its tags.
        attributes: all else, by name: texts, numbers or None.
        mask_path: the file of its mask, in place of the mask; None if there is none.
    """

    label: str
    bounding_box: list[float]
    mask: Array | None
    confidence: float | None = None
    tags: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    mask_path: str | None = None

    def document(self) -> dict[str, Any]:
        """The label as the database keeps it, with a new id: what FiftyOne would make of it."""
        own = {
            "label": self.label,
            "bounding_box": self.bounding_box,
            "mask": None if self.mask is None else _mask_field().to_mongo(self.mask),
            "mask_path": self.mask_path,
            "confidence": self.confidence,
        }
        return {
            "_id": ObjectId(),
            **copy.deepcopy(_defaults()),
            "tags": list(self.tags),
            # FiftyOne leaves out its own fields that are None, not those of others.
            **{name: value for name, value in own.items() if value is not None},
            **self.attributes,
        }


@cache
def _defaults() -> Mapping[str, Any]:
    """What every label has, as the installed FiftyOne writes it; not to be changed."""
    empty = fo.Detection().to_dict()
    return {name: value for name, value in empty.items() if name != "_id"}


@cache
def _mask_field() -> Any:
    return fo.Detection._fields["mask"]
