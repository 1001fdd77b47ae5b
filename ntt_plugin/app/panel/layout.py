"""The panel as a whole: the way to its parts, the open one, and the views it opens in the grid."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import fiftyone.operators.types as types

from ...dataset.banks.banks import load_memory_bank, load_references_view
from ...dataset.banks.thresholds import apply_thresholds
from ...dataset.database.fiftyone_internals import stored_dataset
from ...dataset.inspect.runs import RunInfo
from ...dataset.runtime.caching import state_stamp
from ...dataset.samples.label_lookup import find_labels
from ...dataset.samples.label_selection import select_labels
from ...dataset.samples.views import all_images
from ...dataset.segmentation.report import load_segment_report
from ...errors import DatasetError, NttError
from ..operators import OPERATORS
from ..runtime.result_page import MOST_BY_ID
from ..text import escaped, show_as_written
from . import (
    banks,
    charts,
    review,
    runs,
    selected_label,
    trial,
    widgets,
)
from .events import Clicks
from .state import TABS, Place

if TYPE_CHECKING:
    from .panel import MemoryBanks


_SOON, _SOMETIMES = 1000, 4000
_RIGHT, _WRONG = "green-checkmark", "red-checkmark"
"""Milliseconds between two looks: while something runs on the page, and otherwise."""

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
            if place.tab in ("banks", "runs"):
                selected_label.draw(page, ctx, clicks)
            _part(page, ctx, place, clicks)
        except NttError as error:
            page.view("problem", types.Error(label=str(error)))
        if place.tab != "review":
            widgets.text(page, "selection", _SELECTION)
        _look_again(page, ctx.dataset, place, events)
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
    state = ctx.panel_state or {}
    if place.tab == "actions":
        _actions(page, clicks)
    elif place.tab == "review":
        field = reviewed_field(ctx.dataset, place)
        clicked = len(clicked_labels(ctx, field))
        in_grid = is_in_grid(ctx, field, review.shown_ids(state, field))
        review.draw(page, ctx.dataset, place, clicks, state, clicked, in_grid)
    elif place.tab == "runs" and place.run is not None and place.shown == "thresholds":
        runs.draw_thresholds(page, ctx.dataset, place, clicks, state)
    elif place.tab == "banks" and place.bank is not None and place.shown == "try":
        banks.draw_trial(page, ctx.dataset, place, clicks, state)
    elif place.tab == "runs":
        draw_runs = runs.draw if place.run is None else runs.draw_run
        draw_runs(page, ctx.dataset, place, clicks)
    else:
        draw_banks = banks.draw if place.bank is None else banks.draw_bank
        draw_banks(page, ctx.dataset, place, clicks)


def _actions(page: types.Object, clicks: Clicks) -> None:
    """A button and a sentence for each operator: above the grid the App hides some of them."""
    widgets.text(page, "words", "**Everything that there is to do**, in the order of use.")
    for operator in OPERATORS:
        name = operator.operator_name
        widgets.operator_button(widgets.row(page, f"row_{name}"), name, clicks)
        widgets.text(page, f"about_{name}", escaped(operator.about))


def _look_again(page: types.Object, dataset: Any, place: Place, events: MemoryBanks) -> None:
    """A clock that asks every few seconds whether what is shown has changed."""
    busy = trial.is_running(dataset, place.bank)
    view = types.TimerView(interval=_SOON if busy else _SOMETIMES, on_interval=events.look)
    page.view("clock", view)


def stamp(ctx: Any, place: Place) -> str:
    """A text that changes when the page of a place has to be drawn anew."""
    dataset = ctx.dataset
    of_samples = place.tab in ("runs", "review")
    stored = stored_dataset(dataset, "evaluations", "sample_fields.name")
    fields = sorted(entry["name"] for entry in stored["sample_fields"])
    parts = [
        state_stamp(dataset, of_samples),
        sorted(map(str, (stored.get("evaluations") or {}).items())),
        fields,
        runs.latest(dataset) if place.tab == "runs" else "",
        trial.state_of(dataset, place.bank),
        _page_in_grid(ctx, place),
        place,
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _page_in_grid(ctx: Any, place: Place) -> tuple[list[str], bool]:
    """The labels to judge, and whether the grid shows them."""
    if place.tab != "review":
        return [], False
    field = reviewed_field(ctx.dataset, place)
    ids = review.shown_ids(ctx.panel_state or {}, field)
    return ids, is_in_grid(ctx, field, ids)


def is_judging(ctx: Any, place: Place) -> bool:
    """Whether the grid shows a page to judge, at a place."""
    return ctx.dataset is not None and _page_in_grid(ctx, place)[1]


def style_selection(ctx: Any, judging: bool, anew: bool = False) -> None:
    """Make a selection show what it stands for: a page to judge is clicked where it is wrong.

    A style that the grid has is not sent again. Each change paints all tiles anew, and the App
    can lose their masks where one change follows another closely.

    Args:
        ctx: of an event.
        judging: whether the grid shows a page to judge, or is about to.
        anew: the panel was just opened, and the grid has FiftyOne's own style.
    """
    default = _WRONG if judging else _RIGHT
    if anew or (ctx.panel_state or {}).get("tick") != default:
        ctx.ops.set_sample_selection_style(default=default, alt=_WRONG)
        ctx.panel.set_state("tick", default)


def clicked_labels(ctx: Any, field: str) -> list[str]:
    """The labels of the page of a field's review that are selected in the grid."""
    state = ctx.panel_state or {}
    selected = set(ctx.selected or [])
    selected |= {entry.get("label_id") for entry in ctx.selected_labels or []}
    return [one for one in review.shown_ids(state, field) if one in selected]


def reviewed_field(dataset: Any, place: Place) -> str:
    """The field that is reviewed at a place; empty where there is none."""
    fields = review.reviewed_fields(dataset)
    return place.run if place.run in fields else next(iter(fields), "")


def is_in_grid(ctx: Any, field: str, ids: list[str]) -> bool:
    """Whether the grid shows the patches of these labels of a field, and no others."""
    if not ids or getattr(ctx.view, "patches_field", None) != field:
        return False
    # Counted first: the panel's clock asks, and a view of all patches has many ids.
    return len(ctx.view) == len(ids) and set(ctx.view.values("id")) == set(ids)


def kept_view(dataset: Any, field: str, limits: dict[str, float]) -> Any:
    """The images of a field, without the labels below the thresholds.

    Raises:
        DatasetError: the field is gone.
    """
    images = written_view(dataset, field)
    if not limits:
        return images
    return apply_thresholds(images, field, thresholds=limits, action="hide").view


def open_run(dataset: Any, place: Place) -> RunInfo:
    """The run that is open.

    Raises:
        DatasetError: none is open, or its field is gone.
    """
    for run in runs.known_runs(dataset):
        if run.label_field == place.run:
            return run
    raise DatasetError("This run is gone; open another.")


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
