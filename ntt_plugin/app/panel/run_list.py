"""What was segmented, with which bank, when; and runs that a worker has or had."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ...dataset.label_field import segmentation_fields
from ...dataset.report import SegmentReport, load_segment_report
from ...errors import NttError
from . import operator_button, pages, pieces, scheduled_runs
from .clicks import Clicks
from .place import Place

_A_PAGE = 10


def draw(page: types.Object, dataset: Any, place: Place, clicks: Clicks) -> None:
    """All runs, a card each, or what to do while there is none."""
    found = segmentation_fields(dataset)
    if not found:
        pieces.text(
            page,
            "no_runs",
            "**Nothing was segmented yet.** Segment a few images first: select them in the grid. "
            "What a run did, and what failed in it, shows up here.",
        )
    row = pieces.row(page, "actions")
    operator_button.draw(row, "segment_with_memory_bank", clicks, strong=not found)
    if found:
        operator_button.draw(row, "evaluate_segmentation", clicks)
    for number, field in enumerate(pages.part(found, place, _A_PAGE)):
        _card(page, f"run_{number}", dataset, field, clicks)
    pages.draw(page, len(found), place, _A_PAGE, clicks)
    scheduled_runs.draw(page, dataset)


def summary(report: SegmentReport) -> str:
    """A run in a line: with what, when, how much."""
    with_what = f"boxes of {report.bank}" if not report.bank_version else f"bank {report.bank}"
    parts = [
        pieces.escaped(with_what),
        f"preset {pieces.escaped(report.preset)}",
        f"{pieces.moment(report.started)}, {report.seconds:,.0f} s",
        f"{pieces.counted(report.instances, 'label')} in "
        f"{pieces.counted(report.segmented, 'image')}",
    ]
    if report.skipped:
        parts.append(f"{report.skipped:,} done before")
    if report.failed:
        parts.append(f"**{len(report.failed):,} failed**")
    if report.state != "finished":
        parts.append(_STATES.get(report.state, report.state))
    return " · ".join(parts)


_STATES = {"running": "**still running, or killed**", "stopped": "**stopped**"}


def _card(page: types.Object, name: str, dataset: Any, field: str, clicks: Clicks) -> None:
    card = pieces.card(page, name)
    title = f"**{pieces.escaped(field)}**"
    try:
        words = summary(load_segment_report(dataset, field))
    except NttError as error:
        words = pieces.escaped(error)
    pieces.text(card, "facts", f"{title}\n\n{words}")
    row = pieces.row(card, "buttons")
    pieces.button(row, "open", "Open", clicks.go(tab="runs", run=field), "folder_open", strong=True)
    pieces.button(row, "show", "Show", clicks.show_run(field), "photo_library")
