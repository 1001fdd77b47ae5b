"""Whether an evaluation may be made under a name, asked before anything is computed."""

from __future__ import annotations

from typing import Any

import fiftyone as fo

from ...errors import DatasetError
from ..labels.convert import RESERVED_ATTRIBUTES
from ..samples.checks import dataset_of, quoted

# What FiftyOne writes of an evaluation, beside its record.
_OF_SAMPLES = ("_tp", "_fp", "_fn")
_OF_LABELS: dict[str, tuple[type[fo.Field], ...]] = {
    "": (fo.StringField,),
    "_id": (fo.StringField,),
    "_iou": (fo.FloatField, fo.IntField),
}
_MARKS = ["tp", "fp", "fn", None]


def require_free_key(samples: Any, eval_key: str, label_field: str, gt_field: str) -> None:
    """Make sure that an evaluation of two fields can be written, and writes over no other field.

    Looks at what the dataset declares and lists, and reads no label: a form asks this each time it
    changes. ``require_unmarked`` looks at the labels.

    Raises:
        DatasetError: the name is that of an evaluation of other fields or of another kind, of a
            sample field, or of an attribute of the labels; says what to do.
    """
    _require_not_reserved(eval_key)
    dataset = dataset_of(samples)
    if eval_key in dataset.list_evaluations():
        _require_same_fields(dataset, eval_key, label_field, gt_field)
        return
    for suffix in _OF_SAMPLES:
        name = eval_key + suffix
        field = dataset.get_field(name)
        if field is not None and not isinstance(field, fo.IntField):
            raise _taken(eval_key, f"the field {name!r} of the samples")
    for field_name in (label_field, gt_field):
        for suffix, types in _OF_LABELS.items():
            name = eval_key + suffix
            path = f"{field_name}.detections"
            declared = dataset.get_field(f"{path}.{name}")
            if declared is not None and not isinstance(declared, types):
                raise _taken(eval_key, f"the attribute {name!r} of the labels in {field_name!r}")


def require_unmarked(samples: Any, eval_key: str, label_field: str, gt_field: str) -> None:
    """Make sure that an evaluation writes over no attribute of labels that is not declared.

    Reads the labels of the whole dataset, unless the evaluation is there already.

    Raises:
        DatasetError: the name is that of an attribute of the labels; says what to do.
    """
    dataset = dataset_of(samples)
    if eval_key in dataset.list_evaluations():
        return
    for field in (label_field, gt_field):
        other = {"$elemMatch": {eval_key: {"$exists": True, "$nin": _MARKS}}}
        found = dataset._sample_collection.find_one({f"{field}.detections": other}, {"_id": 1})
        if found is not None:
            raise _taken(eval_key, f"the attribute {eval_key!r} of the labels in {field!r}")


def _require_not_reserved(eval_key: str) -> None:
    """Marks in an attribute that has a meaning would change it, whether it is there yet or not."""
    reserved = {*RESERVED_ATTRIBUTES, *fo.Detection().field_names}
    for suffix in _OF_LABELS:
        if eval_key + suffix in reserved:
            raise DatasetError(
                f"An evaluation {quoted(eval_key)} would write over the attribute "
                f"{eval_key + suffix!r} of the labels, which has a meaning of its own; choose "
                "another name."
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
