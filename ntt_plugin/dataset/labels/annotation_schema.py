"""FiftyOne's own *Annotate* set up for a field: its class and mask, without our attributes."""

from __future__ import annotations

from typing import Any

import fiftyone as fo

from ...errors import DatasetError
from ..database.errors import database_errors
from ..samples.checks import dataset_of, quoted, require_detections
from .convert import RESERVED_ATTRIBUTES

_NOT_EDITED = frozenset({"id", "confidence", "index", "mask_path", "review", "review_of"})


@database_errors("nothing was changed; start again when it is back.")
def set_up_annotation(dataset: Any, label_field: str) -> list[str]:
    """Let people edit the labels of a field in the App's *Annotate*, with few questions.

    The form there asks for the class, of those that the field holds, and shows the tags and
    whatever attributes are the person's own. FiftyOne would list all of ours, a dozen or more.

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
    schema = schema.get(label_field, schema)
    hidden = RESERVED_ATTRIBUTES | _NOT_EDITED | _of_evaluations(dataset)
    schema["attributes"] = [
        attribute for attribute in schema.get("attributes", []) if attribute["name"] not in hidden
    ]
    # Classes that a person added to the schema stay.
    classes = list(dict.fromkeys([*schema.get("classes", []), *known.get("classes", [])]))
    if classes:
        schema |= {"classes": classes, "component": "dropdown" if len(classes) > 5 else "radio"}
    dataset.update_label_schema(label_field, schema)
    dataset.activate_label_schemas(label_field, prepend=True)
    return classes


def _of_evaluations(dataset: fo.Dataset) -> set[str]:
    keys = dataset.list_evaluations()
    return {f"{key}{suffix}" for key in keys for suffix in ("", "_id", "_iou")}
