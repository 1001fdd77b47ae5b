"""Whether the labels that an evaluation scored are still the ones that are there."""

from __future__ import annotations

import hashlib
from typing import Any

from fiftyone import ViewExpression
from fiftyone import ViewField as F

from ..samples.checks import dataset_of
from ..samples.views import all_images

KEPT_AS = "labels_digest"
"""In an evaluation's config: the digest of the labels that it scored."""

# Of a mask in the database its size, by the database.
_IN_DATABASE = ViewExpression({"$eq": [{"$type": F("mask")}, "binData"]})
_SIZE = ViewExpression({"$cond": [_IN_DATABASE, {"$binarySize": F("mask")}, None]})
_MASKS = (_SIZE, F("mask_path"))


def labels_digest(samples: Any, eval_key: str, fields: tuple[str, ...]) -> str:
    """A digest of the labels of the samples that an evaluation scored, 16 hex digits.

    It changes with their ids, classes, boxes and confidences, and with their masks: by the size
    of what is stored, or the path, so that no mask is read. An edit that leaves the box and
    compresses to as many bytes is missed. Tags and attributes do not count.
    """
    images = all_images(dataset_of(samples)).exists(f"{eval_key}_tp")
    names = ("id", "label", "bounding_box", "confidence")
    columns = images.values(
        [
            "id",
            *(f"{field}.detections.{name}" for field in fields for name in names),
            *(F(f"{field}.detections").map(one) for field in fields for one in _MASKS),
        ]
    )
    digest = hashlib.sha256()
    for row in sorted(zip(*columns, strict=True)):
        digest.update(repr(row).encode())
    return digest.hexdigest()[:16]


def scored_labels_changed(dataset: Any, eval_key: str) -> bool:
    """Whether labels that an evaluation scored have changed, came or went since.

    False for an evaluation of a former version, which kept no digest, and for one that is gone.
    """
    dataset = dataset_of(dataset)
    if eval_key not in dataset.list_evaluations():
        return False
    config = dataset.get_evaluation_info(eval_key).config
    kept = getattr(config, KEPT_AS, None)
    fields = (config.pred_field, config.gt_field)
    if kept is None or any(dataset.get_field(f"{field}.detections") is None for field in fields):
        return False
    return bool(kept != labels_digest(dataset, eval_key, fields))
