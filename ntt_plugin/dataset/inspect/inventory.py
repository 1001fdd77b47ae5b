"""The fields, classes, tags and banks of a dataset, for forms; no sample is loaded."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Literal

import fiftyone as fo
import fiftyone.core.media as fom

from ...errors import DatasetError
from ..banks.bank_runs import KEY_PREFIX
from ..banks.banks import list_memory_banks
from ..database.fiftyone_internals import datasets_with_runs, has_sample
from ..labels.label_field import segmentation_fields
from ..samples.checks import dataset_of, require_labels
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
    """Count the labels of a field of ``Detections`` or ``Polylines``; one pass over the samples."""
    path = require_labels(samples, field)
    masks = ["points"] if path.endswith(".polylines") else ["mask", "mask_path"]
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
    """The memory banks that the labels of a field name as their source, sorted."""
    path = f"{field}.detections.bank"
    return [] if samples.get_field(path) is None else list(samples.distinct(path))


def fields_of_bank(dataset: Any, bank: str) -> list[str]:
    """The fields whose last run segmented with a bank of that name, in the dataset's order."""
    dataset = dataset_of(dataset)
    found = []
    for field in segmentation_fields(dataset):
        attributes = dataset.get_field(f"{field}.detections").field.get_field_schema()
        # Masks from boxes name no reference, and suggestions are no segmentation.
        if "reference" not in attributes or "suggested" in attributes:
            continue
        with contextlib.suppress(DatasetError):
            if read_report(dataset, field).bank == bank:
                found.append(field)
    return found


def evaluations(dataset: Any) -> dict[str, str]:
    """The field that each evaluation by COCO's rules scored, by its key, the oldest first."""
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
    return datasets_with_runs(KEY_PREFIX)


def banks_of(dataset_name: str) -> list[str]:
    """Names of a dataset's banks; none if there is no such dataset."""
    if not fo.dataset_exists(dataset_name):
        return []
    return list_memory_banks(fo.load_dataset(dataset_name))


def fields_with_masks(dataset: Any) -> list[str]:
    """The fields in which a label has a mask or a polygon, in the dataset's order."""
    fields = label_fields(dataset, polylines=True)
    return [field for field in fields if _has_mask(dataset, field)]


def what_labels_hold(dataset: Any) -> Literal["masks", "boxes", "nothing"]:
    """What the labels of a dataset hold, in any field and slice; a mask or polygon counts first.

    Asks the database for one label of each kind.
    """
    if fields_with_masks(dataset):
        return "masks"
    boxes = [{f"{field}.detections.0": {"$exists": True}} for field in label_fields(dataset)]
    return "boxes" if boxes and has_sample(dataset, {"$or": boxes}) else "nothing"


def _has_mask(dataset: Any, field: str) -> bool:
    path = require_labels(dataset, field)
    if path.endswith(".polylines"):
        wanted: dict[str, Any] = {"$or": [{"filled": True}, {"closed": True}]}
    else:
        wanted = {"$or": [{"mask": {"$ne": None}}, {"mask_path": {"$ne": None}}]}
    return has_sample(dataset, {path: {"$elemMatch": wanted}})
