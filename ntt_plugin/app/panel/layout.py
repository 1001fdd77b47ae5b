"""The panel as a whole: the way to its parts, the open one, and the views it opens in the grid."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import fiftyone.operators.types as types

from ...dataset.banks.banks import load_memory_bank, load_references_view
from ...dataset.samples.label_lookup import find_labels
from ...dataset.samples.label_selection import select_labels
from ...dataset.samples.views import all_images
from ...dataset.segmentation.report import load_segment_report
from ...errors import DatasetError, NttError
from ..runtime.result_page import MOST_BY_ID
from ..text import show_as_written
from . import banks, charts, runs, selected_label, widgets
from .events import Clicks
from .state import TABS, Place

if TYPE_CHECKING:
    from .panel import MemoryBanks


_SELECTION = (
    "*While this panel is open: click selects references (green tick), Alt+click negatives (red).*"
)


def draw(ctx: Any, place: Place, events: MemoryBanks) -> types.Property:
    """Draw the panel's page for a place."""
    page, clicks = types.Object(), Clicks(events)
    if ctx.dataset is None:
        banks.no_dataset(page)
    else:
        _ways(page, place, clicks)
        try:
            selected_label.draw(page, ctx, clicks)
            _part(page, ctx, place, clicks)
        except NttError as error:
            page.view("problem", types.Error(label=str(error)))
        widgets.text(page, "selection", _SELECTION)
    show_as_written(page)
    return types.Property(page, view=types.GridView(orientation="vertical", gap=2, pad=2))


def shown_class(dataset: Any, place: Place) -> str:
    """The class that the field for classes has at a place; empty for all."""
    if place.tab == "runs" and place.shown == "scores":
        return charts.shown_class(dataset, place)
    return place.label


def _ways(page: types.Object, place: Place, clicks: Clicks) -> None:
    row = widgets.row(page, "ways")
    for tab, words in TABS.items():
        widgets.button(row, tab, words, clicks.go(tab=tab), strong=tab == place.tab)
    widgets.button(row, "refresh", "Refresh", clicks.refresh(), "refresh")


def _part(page: types.Object, ctx: Any, place: Place, clicks: Clicks) -> None:
    if place.tab == "runs":
        draw_runs = runs.draw if place.run is None else runs.draw_run
        draw_runs(page, ctx.dataset, place, clicks)
    else:
        draw_banks = banks.draw if place.bank is None else banks.draw_bank
        draw_banks(page, ctx.dataset, place, clicks)


def references_view(dataset: Any, bank: str, classes: Iterable[str] | None = None) -> Any:
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


def written_view(dataset: Any, field: str, patches: bool = False) -> Any:
    """The samples that a run looked at, or its labels as patches.

    Raises:
        DatasetError: the field is gone.
    """
    if dataset.get_field(field) is None:
        raise DatasetError(f"The field {field!r} of {dataset.name!r} is gone.")
    images = all_images(dataset)
    return images.to_patches(field) if patches else images.exists(field)


def failed_view(dataset: Any, field: str) -> Any:
    """The samples that the last run into a field could not do, at most ``MOST_BY_ID``.

    Raises:
        DatasetError: no run wrote that field, or the samples are gone.
    """
    ids = [note.sample for note in load_segment_report(dataset, field).failed if note.sample]
    view = all_images(dataset).select(ids[:MOST_BY_ID])
    if not ids or len(view) == 0:
        raise DatasetError(f"No sample that failed in the run into {field!r} is left.")
    return view
