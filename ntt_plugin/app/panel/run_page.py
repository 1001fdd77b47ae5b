"""One run: what it did, what failed and why, its evaluations, how its scores spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fiftyone.operators.types as types

from ...dataset.banks.banks import list_memory_banks
from ...dataset.evaluation.coco_metrics import CocoFigures
from ...dataset.evaluation.evaluate import coco_figures
from ...dataset.inspect.runs import RunInfo
from ...dataset.segmentation.report import SampleNote
from ...errors import DatasetError
from ..runtime.result_page import MOST_BY_ID
from ..text import escaped
from . import operator_button, runs, score_histogram, widgets
from .events import Clicks
from .known_runs import known_runs
from .state import Place

_MOST_NOTES = 20


def draw(page: types.Object, dataset: Any, place: Place, clicks: Clicks) -> None:
    """The page of the last run into a field, or why it cannot be shown."""
    field = str(place.run)
    back = widgets.row(page, "back")
    widgets.button(back, "all", "All runs", clicks.go(tab="runs"), "arrow_back")
    run = next((run for run in known_runs(dataset) if run.label_field == field), None)
    if run is None:
        page.view("problem", types.Error(label=f"The field {field!r} is gone, or no run made it."))
        return
    widgets.heading(page, "facts", field, runs.summary(dataset, run))
    _use(page, dataset, run, place, clicks)
    if run.notes:
        _notes(page, run.notes)
    if run.failed:
        row = widgets.row(page, "failures")
        all_shown = run.failed <= MOST_BY_ID
        words = "failed images" if all_shown else f"first {MOST_BY_ID:,} failed images"
        widgets.button(row, "show", f"Show the {words}", clicks.show_failed(field), "error_outline")
    if run.kind == "segmentation":
        _evaluations(page, dataset, run, clicks)
    if place.shown == "scores":
        score_histogram.draw(page, dataset, run, place, clicks)


def figures_in_words(figures: CocoFigures) -> str:
    """The main figures of an evaluation in a line."""
    parts = []
    if figures.segm is not None:
        parts.append(f"mask AP {_said(figures.segm['AP'])}")
        parts.append(f"AP50 {_said(figures.segm['AP50'])}")
    parts.append(f"box AP {_said(figures.bbox['AP'])}")
    return ", ".join(parts)


def _use(page: types.Object, dataset: Any, run: RunInfo, place: Place, clicks: Clicks) -> None:
    field = run.label_field
    row = widgets.row(page, "use")
    words = "Show the suggestions" if run.kind == "suggestions" else "Show the images"
    widgets.button(row, "show", words, clicks.show_run(run), "photo_library", strong=True)
    if run.kind == "boxes":
        operator_button.draw(row, "build_memory_bank", clicks, label_field=field)
        return
    if run.kind == "suggestions":
        return
    operator_button.draw(row, "evaluate_segmentation", clicks, "Evaluate", label_field=field)
    if place.shown != "scores":
        click = clicks.go(shown="scores")
        widgets.button(row, "scores", "Scores by class", click, "bar_chart")
    if run.bank in list_memory_banks(dataset):
        operator_button.draw(row, "apply_thresholds", clicks, label_field=field, bank=run.bank)
        click = clicks.go(tab="banks", bank=run.bank)
        widgets.button(row, "bank", "Open its bank", click, "folder_open")


def _notes(page: types.Object, notes: Sequence[SampleNote]) -> None:
    lines = ["**Failed, or to note**", ""]
    for note in notes[:_MOST_NOTES]:
        where = f"{note.filepath.rpartition('/')[2]}: " if note.filepath else ""
        lines.append(f"- {escaped(where + note.reason)}")
    if len(notes) > _MOST_NOTES:
        lines.append(f"- and {len(notes) - _MOST_NOTES:,} more")
    widgets.text(page, "notes", "\n".join(lines))


def _evaluations(page: types.Object, dataset: Any, run: RunInfo, clicks: Clicks) -> None:
    if not run.evaluations:
        words = "**Not evaluated yet.** Where you have ground truth, Evaluate scores this run."
        widgets.text(page, "not_evaluated", words)
        return
    lines = ["**Evaluations**", ""]
    lines += [f"- {escaped(key)}: {_score(dataset, key)}" for key in run.evaluations]
    widgets.text(page, "evaluations", "\n".join(lines))
    row = widgets.row(page, "evaluation_buttons")
    click = clicks.open_evaluations()
    widgets.button(row, "open", "Open the evaluations", click, "query_stats")
    if run.bank in list_memory_banks(dataset):
        latest = run.evaluations[-1]
        operator_button.draw(row, "save_thresholds", clicks, bank=run.bank, eval_key=latest)


def _score(dataset: Any, key: str) -> str:
    try:
        return figures_in_words(coco_figures(dataset, key))
    except DatasetError:
        return "no figures of pycocotools"


def _said(figure: float) -> str:
    return "undefined" if figure < 0 else f"{figure:.3f}"
