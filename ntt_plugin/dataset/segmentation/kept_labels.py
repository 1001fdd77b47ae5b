"""The labels of people in a field that a run writes, as they travel with the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fiftyone as fo
import numpy as np

from ...engine.images.load import shown_size
from ...errors import DatasetError, ImageError
from ...worker.labels.label_bytes import encode_mask
from ..labels.overlap import outline
from ..labels.review_marks import REJECTED, REVIEW
from .fetching import fetch_samples


def kept_labels(
    dataset: Any, field: str, sample_ids: Sequence[str]
) -> dict[str, list[dict[str, Any]] | Exception]:
    """The labels that stay in some samples, by id; an error for a sample that cannot be read."""
    found: dict[str, Any] = {}
    for sample_id, sample in fetch_samples(dataset, [field], sample_ids).items():
        if isinstance(sample, Exception):
            found[sample_id] = sample
            continue
        try:
            size = shown_size(sample.filepath)
        except ImageError as error:
            found[sample_id] = error
            continue
        labels = sample[field].detections if sample[field] else []
        found[sample_id] = [_described(label, size) for label in labels]
    return found


def _described(label: fo.Detection, size: tuple[int, int]) -> dict[str, Any]:
    try:
        shape = outline(label, size)
        mask, box = shape.mask, [int(edge) for edge in shape.window]
    except DatasetError:  # it covers nothing, but it stays
        mask, box = np.zeros((1, 1), dtype=bool), [0, 0, 1, 1]
    return {
        "label": label.label,
        "box": box,
        "mask": encode_mask(np.ascontiguousarray(mask)),
        "rejected": getattr(label, REVIEW, None) == REJECTED,
    }
