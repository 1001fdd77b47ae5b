"""The panel as a whole: the way to its parts, the part that is open, what a selection means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators.types as types

from ...errors import NttError
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
