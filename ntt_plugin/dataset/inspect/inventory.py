"""What a dataset has to offer to a form: fields, classes, tags, banks, counted, never loaded."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Literal

import fiftyone as fo
import fiftyone.core.media as fom
from fiftyone.core.odm import get_db_conn

from ...errors import DatasetError
from ..banks.bank_runs import KEY_PREFIX
from ..banks.banks import list_memory_banks
from ..labels.label_field import segmentation_fields
from ..samples.checks import dataset_of
from ..segmentation.report import read_report


@dataclass(frozen=True)
class FieldCounts:
    """The labels of a field in some samples.

    Attributes:
        classes: number of labels by class, by name; labels without a name are not counted.
        tags: number of labels by label tag.
        labels: number of labels.
        masks: number of labels that hold a mask.
    """

    classes: dict[str, int]
    tags: dict[str, int]
    labels: int
    masks: int


def label_fields(dataset: Any, polylines: bool = False) -> list[str]:
    """Fields of ``Detections``, and of ``Polylines`` if wanted, in the dataset's order."""
    dataset = dataset_of(dataset)
    wanted = (fo.Detections, fo.Polylines) if polylines else (fo.Detections,)
    # Of a grouped dataset the schema holds the fields of all slices.
    return list(dataset.get_field_schema(embedded_doc_type=wanted))


def count_labels(samples: Any, field: str) -> FieldCounts:
    """Count a field's labels by class, by tag and by what they hold; one pass over the samples.

    Args:
        samples: a dataset or view, not grouped.
        field: a field of ``Detections`` or ``Polylines``.
    """
    kind = samples.get_field(field).document_type
    path = f"{field}.{kind._LABEL_LIST_FIELD}"
    masks = ["mask", "mask_path"] if kind is fo.Detections else ["points"]
    classes, tags, labels, *held = samples.aggregate(
        [
            fo.CountValues(f"{path}.label"),
            fo.CountValues(f"{path}.tags"),
            fo.Count(path),
            *(fo.Count(f"{path}.{name}") for name in masks),
        ]
    )
    named = {name: count for name, count in classes.items() if name and name.strip()}
    return FieldCounts(dict(sorted(named.items())), dict(sorted(tags.items())), labels, sum(held))


def banks_named(samples: Any, field: str) -> list[str]:
    """The memory banks that a field's labels say made them, sorted; none of a person's labels."""
    path = f"{field}.detections.bank"
    return [] if samples.get_field(path) is None else list(samples.distinct(path))


def fields_of_bank(dataset: Any, bank: str) -> list[str]:
    """The fields whose last run segmented with a bank of that name, in the dataset's order."""
    dataset = dataset_of(dataset)
    found = []
    for field in segmentation_fields(dataset):
        attributes = dataset.get_field(f"{field}.detections").field.get_field_schema()
        # Masks of boxes are like no reference, and suggestions are no segmentation.
        if "reference" not in attributes or "suggested" in attributes:
            continue
        with contextlib.suppress(DatasetError):
            if read_report(dataset, field).bank == bank:
                found.append(field)
    return found


def evaluations(dataset: Any) -> dict[str, str]:
    """The evaluations by COCO's rules, in the order of their making, with the field each scored."""
    dataset = dataset_of(dataset)
    keys = dataset.list_evaluations(type="detection", method="coco")
    made = {key: dataset.get_evaluation_info(key) for key in keys}
    ordered = sorted(made, key=lambda key: made[key].timestamp)
    return {key: str(made[key].config.pred_field) for key in ordered}


def image_slices(dataset: Any) -> list[str]:
    """Slices of a grouped dataset that hold images, the active one first; none if not grouped."""
    dataset = dataset_of(dataset)
    if dataset.media_type != fom.GROUP:
        return []
    slices = [name for name, kind in dataset.group_media_types.items() if kind == fom.IMAGE]
    return sorted(slices, key=lambda name: (name != dataset.group_slice, name))


def datasets_with_banks() -> list[str]:
    """Names of the datasets that keep memory banks, sorted; asks the database once."""
    documents = get_db_conn().datasets.find({"runs": {"$ne": {}}}, {"name": 1, "runs": 1})
    return sorted(
        document["name"]
        for document in documents
        if any(key.startswith(KEY_PREFIX) for key in document.get("runs") or {})
    )


def banks_of(dataset_name: str) -> list[str]:
    """Names of a dataset's banks; none if there is no such dataset."""
    if not fo.dataset_exists(dataset_name):
        return []
    return list_memory_banks(fo.load_dataset(dataset_name))


def what_labels_hold(dataset: Any) -> Literal["masks", "boxes", "nothing"]:
    """The most that a label of a dataset, in any field and slice, has to offer as a reference.

    Asks the database for one label of each kind; passes over no sample in Python.
    """
    fields = label_fields(dataset, polylines=True)
    if any(_has_mask(dataset, field) for field in fields):
        return "masks"
    boxes = [{f"{field}.detections.0": {"$exists": True}} for field in label_fields(dataset)]
    return "boxes" if boxes and _finds(dataset, {"$or": boxes}) else "nothing"


def _has_mask(dataset: Any, field: str) -> bool:
    kind = dataset_of(dataset).get_field(field).document_type
    if kind is fo.Polylines:
        wanted: dict[str, Any] = {"$or": [{"filled": True}, {"closed": True}]}
    else:
        wanted = {"$or": [{"mask": {"$ne": None}}, {"mask_path": {"$ne": None}}]}
    return _finds(dataset, {f"{field}.{kind._LABEL_LIST_FIELD}": {"$elemMatch": wanted}})


def _finds(dataset: Any, wanted: dict[str, Any]) -> bool:
    return dataset_of(dataset)._sample_collection.find_one(wanted, {"_id": 1}) is not None
