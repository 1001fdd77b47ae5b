"""The views that the panel opens in the grid."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...dataset.banks.banks import load_memory_bank, load_references_view
from ...dataset.samples.label_lookup import find_labels
from ...dataset.samples.label_selection import select_labels
from ...dataset.samples.views import all_images
from ...dataset.segmentation.report import load_segment_report
from ...errors import DatasetError
from ..runtime.result_page import MOST_BY_ID


def references(dataset: Any, bank: str, classes: Iterable[str] | None = None) -> Any:
    """The references of a bank in their images, of all classes or of some.

    Raises:
        DatasetError: there is no such bank, or none of its references is in this dataset.
    """
    view = load_references_view(dataset, bank)
    if classes is None:
        return view
    found = load_memory_bank(dataset, bank)
    wanted = [
        reference.provenance
        for label in dict.fromkeys(classes)
        if label in found.classes
        for reference in found.references(label)
    ]
    labels = [label for label in find_labels(wanted, dataset) if label is not None]
    return select_labels(view, labels)


def written(dataset: Any, field: str, patches: bool = False) -> Any:
    """The samples that a run looked at, or its labels as patches.

    Raises:
        DatasetError: the field is gone.
    """
    if dataset.get_field(field) is None:
        raise DatasetError(f"The field {field!r} of {dataset.name!r} is gone.")
    images = all_images(dataset)
    return images.to_patches(field) if patches else images.exists(field)


def failed(dataset: Any, field: str) -> Any:
    """The samples that the last run into a field could not do, at most ``MOST_BY_ID``.

    Raises:
        DatasetError: no run wrote that field, or the samples are gone.
    """
    ids = [note.sample for note in load_segment_report(dataset, field).failed if note.sample]
    view = all_images(dataset).select(ids[:MOST_BY_ID])
    if not ids or len(view) == 0:
        raise DatasetError(f"No sample that failed in the run into {field!r} is left.")
    return view
