"""What was segmented, with which bank, when; and runs that a worker has or had."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ...dataset.inspect.runs import RunInfo
from ..number_words import number_of
from ..text import escaped
from . import operator_button, pages, scheduled_runs, widgets
from .bank_in_words import bank_in_words
from .events import Clicks
from .known_runs import known_runs
from .state import Place

_A_PAGE = 10
_STATES = {"running": "**running**", "stopped": "**stopped; run it again to go on**"}
_WITH = {"segmentation": "bank", "boxes": "masks of the boxes in", "suggestions": "suggestions for"}


def draw(page: types.Object, dataset: Any, place: Place, clicks: Clicks) -> None:
    """All runs, a card each, or what to do while there is none."""
    found = known_runs(dataset)
    if not found:
        widgets.text(
            page,
            "no_runs",
            "**Nothing was segmented yet.** Segment a few images first: select them in the grid. "
            "What a run did, and what failed in it, shows up here.",
        )
    row = widgets.row(page, "actions")
    operator_button.draw(row, "segment_with_memory_bank", clicks, strong=not found)
    if found:
        operator_button.draw(row, "evaluate_segmentation", clicks)
    if len(found) > 1:
        operator_button.draw(row, "compare_segmentations", clicks)
    for number, run in enumerate(pages.part(found, place, _A_PAGE)):
        _card(page, f"run_{number}", dataset, run, clicks)
    pages.draw(page, len(found), place, _A_PAGE, clicks)
    scheduled_runs.draw(page, dataset)


def summary(dataset: Any, run: RunInfo) -> str:
    """A run in a line: with what, when, how much."""
    bank = bank_in_words(dataset, run.bank, run.bank_version)
    parts = [f"{_WITH[run.kind]} {bank}", f"preset {escaped(run.preset)}"]
    if run.started:
        parts.append(f"{widgets.moment(run.started)}, {run.seconds:,.0f} s")
    labels, images = number_of("label", run.instances), number_of("image", run.segmented)
    parts.append(f"{labels} in {images}")
    if run.failed:
        parts.append(f"**{run.failed:,} failed**")
    if run.state in _STATES:
        parts.append(_STATES[run.state])
    return " · ".join(parts)


def _card(page: types.Object, name: str, dataset: Any, run: RunInfo, clicks: Clicks) -> None:
    card, field = widgets.card(page, name), run.label_field
    widgets.text(card, "facts", f"**{escaped(field)}**\n\n{summary(dataset, run)}")
    row = widgets.row(card, "buttons")
    widgets.button(
        row, "open", "Open", clicks.go(tab="runs", run=field), "folder_open", strong=True
    )
    widgets.button(row, "show", "Show", clicks.show_run(run), "photo_library")
