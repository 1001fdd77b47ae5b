"""One run: what it did, what failed and why, its evaluations."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ...dataset.coco_figures import CocoFigures
from ...dataset.evaluation import coco_figures
from ...dataset.report import SampleNote, load_segment_report
from ...errors import DatasetError, NttError
from . import operator_button, pieces, run_list
from .clicks import Clicks
from .place import Place

_MOST_NOTES = 20


def draw(page: types.Object, dataset: Any, place: Place, clicks: Clicks) -> None:
    """The page of the last run into a field, or why it cannot be shown."""
    field = str(place.run)
    back = pieces.row(page, "back")
    pieces.button(back, "all", "All runs", clicks.go(tab="runs"), "arrow_back")
    try:
        report = load_segment_report(dataset, field)
    except NttError as error:
        page.view("problem", types.Error(label=str(error)))
        return
    pieces.text(page, "facts", f"### {pieces.escaped(field)}\n\n{run_list.summary(report)}")
    row = pieces.row(page, "use")
    pieces.button(
        row, "show", "Show the images", clicks.show_run(field), "photo_library", strong=True
    )
    operator_button.draw(row, "evaluate_segmentation", clicks, "Evaluate", label_field=field)
    if report.failed:
        _notes(page, "failed", "Failed", report.failed)
        buttons = pieces.row(page, "failures")
        pieces.button(
            buttons, "show", "Show the failed images", clicks.show_failed(field), "error_outline"
        )
    if report.notes:
        _notes(page, "notes", "To note", report.notes)
    _evaluations(page, dataset, field, clicks)


def evaluations_of(dataset: Any, field: str) -> list[str]:
    """Keys of the evaluations that scored a field, sorted."""
    keys = dataset.list_evaluations()
    return [
        key
        for key in sorted(keys)
        if getattr(dataset.get_evaluation_info(key).config, "pred_field", None) == field
    ]


def _notes(page: types.Object, name: str, title: str, notes: list[SampleNote]) -> None:
    lines = [f"**{title}** ({len(notes):,})", ""]
    for note in notes[:_MOST_NOTES]:
        where = f"{note.filepath.rpartition('/')[2]}: " if note.filepath else ""
        lines.append(f"- {pieces.escaped(where + ' '.join(note.reason.split()))}")
    if len(notes) > _MOST_NOTES:
        lines.append(f"- and {len(notes) - _MOST_NOTES:,} more")
    pieces.text(page, name, "\n".join(lines))


def _evaluations(page: types.Object, dataset: Any, field: str, clicks: Clicks) -> None:
    keys = evaluations_of(dataset, field)
    if not keys:
        words = "**Not evaluated yet.** Where you have ground truth, Evaluate scores this run."
        pieces.text(page, "not_evaluated", words)
        return
    lines = ["**Evaluations**", ""]
    lines += [f"- {pieces.escaped(key)}: {_score(dataset, key)}" for key in keys]
    pieces.text(page, "evaluations", "\n".join(lines))
    row = pieces.row(page, "evaluation_buttons")
    pieces.button(row, "open", "Open the evaluations", clicks.open_evaluations(), "query_stats")


def _score(dataset: Any, key: str) -> str:
    try:
        figures = coco_figures(dataset, key)
    except DatasetError:
        return "no figures of pycocotools"
    return figures_in_words(figures)


def figures_in_words(figures: CocoFigures) -> str:
    """The main figures of an evaluation in a line."""
    parts = []
    if figures.segm is not None:
        parts.append(f"mask AP {_said(figures.segm['AP'])}")
        parts.append(f"AP50 {_said(figures.segm['AP50'])}")
    parts.append(f"box AP {_said(figures.bbox['AP'])}")
    return ", ".join(parts)


def _said(figure: float) -> str:
    return "undefined" if figure < 0 else f"{figure:.3f}"
