"""FiftyOne's COCO evaluation: the names it may take, its fields, and crowds it would misread."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fiftyone as fo
import fiftyone.utils.eval.coco as foc
from bson import ObjectId
from fiftyone import ViewField as F

from ...errors import DatasetError
from ..database.fiftyone_internals import attach_samples, has_sample, set_undeclared
from ..labels.convert import RESERVED_ATTRIBUTES
from ..labels.crowds import crowd_values, is_crowd, is_crowd_label
from ..labels.label_field import declare_fields
from ..runtime.progress_bar import Progress, reported_samples
from ..samples.checks import dataset_of, quoted
from .coco_metrics import CocoFigures
from .exclusions import LeftOut
from .freshness import KEPT_AS, labels_digest

# What FiftyOne writes for an evaluation, beside its record.
_OF_SAMPLES = ("_tp", "_fp", "_fn")
_OF_LABELS: dict[str, type[fo.Field]] = {
    "": fo.StringField,
    "_id": fo.StringField,
    "_iou": fo.FloatField,
}
_MARKS = ["tp", "fp", "fn", None]

# What FiftyOne says of an evaluation's record that is no longer there.
_GONE = re.compile("Failed to update document|has no evaluation|no evaluation run key")


def require_free_key(samples: Any, eval_key: str, label_field: str, gt_field: str) -> None:
    """Make sure that an evaluation of two fields can be written, and overwrites no other field.

    Looks at what the dataset declares and lists, and reads no label: a form asks this each time it
    changes. ``require_unmarked`` looks at the labels.

    Raises:
        DatasetError: the name is that of an evaluation of other fields or of another kind, of a
            sample field, or of an attribute of the labels; says what to do.
    """
    dataset = dataset_of(samples)
    _require_not_reserved(dataset, eval_key)
    if eval_key in dataset.list_evaluations():
        _require_same_fields(dataset, eval_key, label_field, gt_field)
        return
    for suffix in _OF_SAMPLES:
        name = eval_key + suffix
        field = dataset.get_field(name)
        if field is not None and not isinstance(field, fo.IntField):
            raise _taken(eval_key, f"the field {name!r} of the samples")
    for field_name in (label_field, gt_field):
        for suffix, kind in _OF_LABELS.items():
            name = eval_key + suffix
            declared = dataset.get_field(f"{field_name}.detections.{name}")
            # An IoU that is 1 everywhere may have been declared as a whole number.
            types = (kind, fo.IntField) if kind is fo.FloatField else kind
            if declared is not None and not isinstance(declared, types):
                raise _taken(eval_key, f"the attribute {name!r} of the labels in {field_name!r}")


def require_unmarked(samples: Any, eval_key: str, label_field: str, gt_field: str) -> None:
    """Make sure that an evaluation overwrites no attribute of labels that is not declared.

    Reads the labels of the whole dataset, unless the evaluation is there already.

    Raises:
        DatasetError: the name is that of an attribute of the labels; says what to do.
    """
    dataset = dataset_of(samples)
    if eval_key in dataset.list_evaluations():
        return
    for field in (label_field, gt_field):
        other = {"$elemMatch": {eval_key: {"$exists": True, "$nin": _MARKS}}}
        if has_sample(dataset, {f"{field}.detections": other}):
            raise _taken(eval_key, f"the attribute {eval_key!r} of the labels in {field!r}")


def _require_not_reserved(dataset: Any, eval_key: str) -> None:
    """Make sure that no mark goes into an attribute that has a meaning, present or not."""
    reserved = {*RESERVED_ATTRIBUTES, *fo.Detection().field_names}
    name = next((eval_key + suffix for suffix in _OF_LABELS if eval_key + suffix in reserved), None)
    if name is None:
        return
    remedy = "choose another name."
    if eval_key in dataset.list_evaluations():
        remedy += (
            f" {dataset.name!r} has an evaluation of that name, whose marks are in that attribute: "
            f"delete it with dataset.delete_evaluation({eval_key!r}), or, if it is complete, keep "
            f"it under another name with dataset.rename_evaluation({eval_key!r}, ...). The values "
            "that the labels had there before are gone; set them again."
        )
    raise DatasetError(
        f"An evaluation {quoted(eval_key)} would write over the attribute {name!r} of the labels, "
        f"which has a meaning of its own; {remedy}"
    )


def _require_same_fields(dataset: Any, eval_key: str, label_field: str, gt_field: str) -> None:
    """FiftyOne replaces an evaluation of the same kind and fields, and no other."""
    try:
        config = dataset.get_evaluation_info(eval_key).config
    except Exception:
        return  # as FiftyOne: one that cannot be read may be replaced
    kind = [getattr(config, name, None) for name in ("type", "method")]
    if kind != ["detection", "coco"]:
        what = f"of another kind ({' by '.join(str(part) for part in kind)})"
    elif (config.pred_field, config.gt_field) != (label_field, gt_field):
        what = f"of {config.pred_field!r} against {config.gt_field!r}"
    else:
        return
    raise DatasetError(
        f"{dataset.name!r} has an evaluation {quoted(eval_key)} {what}; choose another name, or "
        f"delete that one first with dataset.delete_evaluation({eval_key!r})."
    )


def _taken(eval_key: str, what: str) -> DatasetError:
    return DatasetError(
        f"An evaluation {quoted(eval_key)} would write over {what}, which is there already and "
        "was not made by an evaluation; choose another name."
    )


def evaluate_by_fiftyone(
    samples: Any,
    label_field: str,
    gt_field: str,
    eval_key: str,
    figures: CocoFigures,
    left_out: LeftOut,
    use_masks: bool,
    progress: Progress,
) -> Any:
    """Run FiftyOne's COCO evaluation, and save pycocotools' figures with it.

    Raises:
        DatasetError: the evaluation was replaced or deleted meanwhile, or FiftyOne refuses it.
    """
    try:
        _declare(samples, (gt_field, label_field), eval_key)
        with reported_samples(samples, progress) as (walked, drawn):
            results = walked.evaluate_detections(
                label_field,
                gt_field=gt_field,
                eval_key=eval_key,
                method=_coco_method(samples, gt_field),
                use_masks=use_masks,
                compute_mAP=True,
                classes=figures.classes,
                progress=drawn,
            )
        results.config.coco_figures = figures.to_dict()
        results.config.left_out = left_out.to_dict()
        scored = labels_digest(samples, eval_key, (label_field, gt_field))
        setattr(results.config, KEPT_AS, scored)
        results.save_config()
        results.custom_metrics = figures.for_panel()
        results.save()
    except (KeyError, ValueError) as error:
        if _GONE.search(str(error)):
            raise DatasetError(
                f"The evaluation {eval_key!r} was replaced or deleted while it was being made: "
                "another one may be running under that name, in another process or thread. Wait "
                "until it has ended and evaluate again, or choose another name."
            ) from error
        raise DatasetError(f"FiftyOne cannot evaluate under {eval_key!r}: {error}") from error
    return results


def _declare(samples: Any, fields: tuple[str, str], eval_key: str) -> None:
    """Declare an evaluation's fields ahead of FiftyOne, which would do it one by one, unlocked."""
    if eval_key in samples.list_evaluations():
        return  # FiftyOne takes away the former one's fields first
    schema: dict[str, fo.Field] = {eval_key + suffix: fo.IntField() for suffix in _OF_SAMPLES}
    for field in fields:
        for suffix, kind in _OF_LABELS.items():
            schema[f"{field}.detections.{eval_key}{suffix}"] = kind()
    declare_fields(dataset_of(samples), schema)


def _coco_method(samples: Any, gt_field: str) -> str | type[foc.COCOEvaluationConfig]:
    """The ``method`` to give to ``evaluate_detections``.

    FiftyOne takes any value of ``iscrowd`` that Python calls true for yes, such as the texts
    ``"0"`` and ``"False"``. Where it would be wrong of a label, its evaluation is wrapped.
    """
    values = crowd_values(samples, f"{gt_field}.detections")
    misread = any(bool(value) != is_crowd(value) for row in values for value in row or [])
    return _CrowdEvaluationConfig if misread else "coco"


class _CrowdEvaluationConfig(foc.COCOEvaluationConfig):  # type: ignore[misc]
    """The config of such an evaluation; it is saved and loaded as FiftyOne's own."""

    @property
    def cls(self) -> str:
        """The class that loads the saved config."""
        return f"{foc.COCOEvaluationConfig.__module__}.{foc.COCOEvaluationConfig.__name__}"

    @property
    def run_cls(self) -> type[foc.COCOEvaluation]:
        return _CrowdEvaluation


class _CrowdEvaluation(foc.COCOEvaluation):  # type: ignore[misc]
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
        plain = set_undeclared(samples, f"{path}.iscrowd", F("_id").is_in(crowds))
        results = super().generate_results(plain, *args, **kwargs)
        attach_samples(results, samples)
        return results


@contextmanager
def _plain_crowds(labels: fo.Detections | None) -> Iterator[None]:
    """Inside the block each ``iscrowd`` of the labels is True or False; then as it was again."""
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
