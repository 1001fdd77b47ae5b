"""FiftyOne's COCO evaluation of ground truth whose ``iscrowd`` it would misread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fiftyone as fo
import fiftyone.utils.eval.coco as foc
from bson import ObjectId
from fiftyone import ViewField as F

from ..labels.crowds import crowd_values, is_crowd, is_crowd_label


def coco_method(samples: Any, gt_field: str) -> str | type[foc.COCOEvaluationConfig]:
    """The ``method`` to give to ``evaluate_detections``.

    FiftyOne takes any value of ``iscrowd`` that Python calls true for yes, such as the texts
    ``"0"`` and ``"False"``. Where it would be wrong of a label, its evaluation is wrapped.

    Args:
        samples: the samples to evaluate; each ``iscrowd`` in them can be read.
        gt_field: the field of the ground truth.
    """
    values = crowd_values(samples, f"{gt_field}.detections")
    misread = any(bool(value) != is_crowd(value) for row in values for value in row or [])
    return CrowdEvaluationConfig if misread else "coco"


class CrowdEvaluationConfig(foc.COCOEvaluationConfig):  # type: ignore[misc]
    """The config of such an evaluation; it is saved and loaded as FiftyOne's own."""

    @property
    def cls(self) -> str:
        """The class that loads the saved config."""
        return f"{foc.COCOEvaluationConfig.__module__}.{foc.COCOEvaluationConfig.__name__}"

    @property
    def run_cls(self) -> type[foc.COCOEvaluation]:
        """The class that evaluates."""
        return CrowdEvaluation


class CrowdEvaluation(foc.COCOEvaluation):  # type: ignore[misc]
    """FiftyOne's COCO evaluation, to which ``iscrowd`` is given as True and False."""

    def evaluate(self, sample_or_frame: Any, eval_key: str | None = None) -> Any:
        """Match the labels of one sample, which are left as they were but for the marks."""
        with _plain_crowds(sample_or_frame[self.gt_field]):
            return super().evaluate(sample_or_frame, eval_key=eval_key)

    def generate_results(self, samples: Any, *args: Any, **kwargs: Any) -> Any:
        """The results, whose sweep over IoUs reads the samples a second time."""
        path = f"{self.config.gt_field}.detections"
        crowds = [
            ObjectId(label)
            for ids, values in zip(
                samples.values(f"{path}.id"), crowd_values(samples, path), strict=True
            )
            for label, value in zip(ids or [], values or [], strict=True)
            if is_crowd(value)
        ]
        # A view: nothing of it is saved.
        plain = samples.set_field(f"{path}.iscrowd", F("_id").is_in(crowds), _allow_missing=True)
        results = super().generate_results(plain, *args, **kwargs)
        results._samples = samples
        return results


@contextmanager
def _plain_crowds(labels: fo.Detections | None) -> Iterator[None]:
    """Labels whose ``iscrowd`` is True or False inside the block, and what it was behind it."""
    kept = []
    for label in labels.detections if labels is not None else []:
        holder, name = label, "iscrowd"
        if not hasattr(label, "iscrowd") and "iscrowd" in (label.attributes or {}):
            holder, name = label.attributes["iscrowd"], "value"
        if hasattr(holder, name):
            kept.append((holder, name, getattr(holder, name)))
            setattr(holder, name, is_crowd_label(label))
    try:
        yield
    finally:
        for holder, name, value in kept:
            setattr(holder, name, value)
