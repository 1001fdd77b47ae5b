"""FiftyOne's own *Annotate* set up for a field: its class and mask, without our attributes."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import fiftyone as fo

from ...errors import DatasetError
from ..database.errors import database_errors
from ..samples.checks import dataset_of, quoted, require_detections
from ..samples.views import all_images
from .convert import RESERVED_ATTRIBUTES

_OF_A_REVIEW = frozenset({"review", "review_of", "review_step"})
_NOT_EDITED = frozenset({"id", "confidence", "index", "mask_path"})
_MOST_RADIO_BUTTONS = 5
# FiftyOne offers no longer lists.
_MOST_CLASSES = 1000


@database_errors("nothing was changed; start again when it is back.")
def set_up_annotation(dataset: Any, label_field: str) -> list[str]:
    """Let people edit the labels of a field in the App's *Annotate*, with few questions.

    The form there asks for the class, of those that the field holds, and shows the tags and
    whatever attributes are the person's own. FiftyOne would list all of ours, a dozen or more.

    A schema that the field has already stays as it is: only our attributes are taken out, and
    what it lacks is added (classes that the field holds, attributes of the person's own).

    Args:
        dataset: the dataset, or a view of it.
        label_field: a field of ``Detections``.

    Returns:
        The classes that can be chosen.

    Raises:
        DatasetError: the field is of another type, or FiftyOne cannot annotate it.
    """
    require_detections(dataset, label_field)
    dataset = dataset_of(dataset)
    known = dataset.label_schemas.get(label_field) or {}
    try:
        schema = dataset.generate_label_schemas(fields=label_field)
    except ValueError as error:
        raise DatasetError(
            f"FiftyOne cannot annotate the field {quoted(label_field)}: {error}"
        ) from error
    fresh = schema.get(label_field, schema)
    # FiftyOne lists them only where the field declares its classes, which runs do not.
    held = [one for one in all_images(dataset).distinct(f"{label_field}.detections.label") if one]
    ours = RESERVED_ATTRIBUTES | _OF_A_REVIEW | _of_evaluations(dataset)
    schema = {**fresh, "component": _component(len(held)), **known}
    added = [one for one in _without(fresh, ours | _NOT_EDITED) if one["name"] not in _names(known)]
    schema["attributes"] = [*_without(known, ours), *added]
    classes = list(dict.fromkeys([*known.get("classes", []), *held]))
    schema.pop("classes", None)
    if schema.get("component") in _WITH_CLASSES:
        schema["classes"] = classes
    # A person may have planned attributes that no label has yet.
    dataset.update_label_schema(label_field, schema, allow_new_attrs=bool(known))
    dataset.activate_label_schemas(label_field, prepend=True)
    return classes


_WITH_CLASSES = ("dropdown", "radio")


def _component(number: int) -> str:
    """How a person chooses one of so many classes; a text where there is none, or too many."""
    if not 0 < number <= _MOST_CLASSES:
        return "text"
    return "dropdown" if number > _MOST_RADIO_BUTTONS else "radio"


def _without(schema: dict[str, Any], hidden: Set[str]) -> list[dict[str, Any]]:
    return [one for one in schema.get("attributes", []) if one["name"] not in hidden]


def _names(schema: dict[str, Any]) -> set[str]:
    return {one["name"] for one in schema.get("attributes", [])}


def _of_evaluations(dataset: fo.Dataset) -> set[str]:
    keys = dataset.list_evaluations()
    return {f"{key}{suffix}" for key in keys for suffix in ("", "_id", "_iou")}
