"""The attribute ``iscrowd`` of labels, read by one rule everywhere."""

from __future__ import annotations

import math
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone import ViewField as F

from ...errors import DatasetError
from ..samples.checks import quoted

IS_CROWD = "It is marked as a crowd (iscrowd), which is not one instance."

_YES = {"1", "1.0", "true", "t", "yes", "y", "on"}
_NO = {"0", "0.0", "false", "f", "no", "n", "off", "", "none", "null", "nan"}
# What FiftyOne's evaluations write into the attribute of their name.
_MARKS = ("tp", "fp", "fn")


def is_crowd(value: Any) -> bool:
    """Whether a value of ``iscrowd`` says that a label is a crowd.

    Tables and annotation tools give attributes as text: ``"0"`` and ``"False"`` say no. None,
    NaN and an empty text say nothing, and count as no.

    Raises:
        DatasetError: the value is neither yes nor no.
    """
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return False
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return bool(value)
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if isinstance(text, str):
        word = text.strip().casefold()
        if word in _YES or word in _NO:
            return word in _YES
    problem = f"Its attribute iscrowd is {quoted(value)}, which is neither yes nor no"
    if isinstance(text, str) and text in _MARKS:
        raise DatasetError(
            f"{problem}: an evaluation of that name wrote its mark there. Delete it with "
            "dataset.delete_evaluation('iscrowd'), or rename it with "
            "dataset.rename_evaluation('iscrowd', ...)."
        )
    raise DatasetError(f"{problem}; set it to 0 or 1.")


def is_crowd_label(label: fo.Detection | fo.Polyline) -> bool:
    """Whether a label is marked as a crowd; errors as for ``is_crowd``."""
    value = getattr(label, "iscrowd", None)
    if value is None:
        # The other place where FiftyOne has attributes.
        value = getattr((label.attributes or {}).get("iscrowd"), "value", None)
    return is_crowd(value)


def crowd_values(samples: Any, path: str) -> list[list[Any] | None]:
    """The ``iscrowd`` of each label as it is stored, by sample, without loading the labels.

    ``path`` is ``<field>.detections`` or ``<field>.polylines``.
    """
    direct, nested = samples.values(
        [F(path).map(F("iscrowd")), F(path).map(F("attributes.iscrowd.value"))]
    )
    return [
        None if new is None else [b if a is None else a for a, b in zip(new, old, strict=True)]
        for new, old in zip(direct, nested, strict=True)
    ]
