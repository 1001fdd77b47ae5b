"""The list of runs, one run's page, and the runs scheduled for a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import fiftyone as fo
import fiftyone.operators.types as types

from ...dataset.banks.banks import list_memory_banks
from ...dataset.database.fiftyone_internals import database, dataset_id
from ...dataset.evaluation.coco_metrics import CocoFigures
from ...dataset.evaluation.evaluate import coco_figures
from ...dataset.evaluation.freshness import scored_labels_changed
from ...dataset.inspect.box_masks import POOR, worst_box_masks
from ...dataset.inspect.runs import RunInfo, list_runs
from ...dataset.runtime.caching import remembered
from ...dataset.samples.sample_notes import SampleNote
from ...dataset.samples.views import all_images
from ...errors import DatasetError
from ..operators import OPERATORS
from ..request import PLUGIN
from ..runtime.result_page import MOST_BY_ID
from ..text import bullets, escaped, number_of
from . import charts, thresholds, widgets
from .banks import bank_in_words
from .events import Clicks
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
    widgets.operator_button(row, "segment_with_memory_bank", clicks, strong=not found)
    if found:
        widgets.operator_button(row, "evaluate_segmentation", clicks)
    if len(found) > 1:
        widgets.operator_button(row, "compare_segmentations", clicks)
    for number, run in enumerate(widgets.page_of(found, place, _A_PAGE)):
        _card(page, f"run_{number}", dataset, run, clicks)
    widgets.page_buttons(page, len(found), place, _A_PAGE, clicks)
    draw_scheduled(page, dataset)


def summary(dataset: Any, run: RunInfo) -> str:
    """A run in a line: with what, when, how much."""
    bank = bank_in_words(dataset, run.bank, run.bank_version)
    parts = [f"{_WITH[run.kind]} {bank}", f"preset {escaped(run.preset)}"]
    if run.started:
        parts.append(f"{widgets.moment(run.started)}, {run.seconds:,.0f} s")
    labels, images = remembered(dataset, run.label_field, _held, of_samples=True)
    parts.append(f"{number_of('label', labels)} in {number_of('image', images)}")
    if run.failed:
        parts.append(f"**{run.failed:,} failed**")
    if run.state in _STATES:
        parts.append(_STATES[run.state])
    return " · ".join(parts)


def _held(dataset: Any, field: str) -> tuple[int, int]:
    """How many labels a field holds, and in how many images: runs that went on add up."""
    images = all_images(dataset)
    if images.get_field(field) is None:
        return 0, 0
    labels, samples = images.aggregate([fo.Count(f"{field}.detections"), fo.Count(field)])
    return int(labels), int(samples)


def _card(page: types.Object, name: str, dataset: Any, run: RunInfo, clicks: Clicks) -> None:
    card, field = widgets.card(page, name), run.label_field
    widgets.text(card, "facts", f"**{escaped(field)}**\n\n{summary(dataset, run)}")
    row = widgets.row(card, "buttons")
    widgets.button(
        row, "open", "Open", clicks.go(tab="runs", run=field), "folder_open", strong=True
    )
    widgets.button(row, "show", "Show", clicks.show_run(run), "photo_library")


def known_runs(dataset: Any) -> list[RunInfo]:
    """The last run of each field that is still there, the latest first."""
    runs = remembered(dataset, "", _all)
    if any(run.state == "running" for run in runs):
        # It may have been killed meanwhile, which changes nothing of what is kept.
        runs = list_runs(dataset)
    return [run for run in runs if dataset.get_field(run.label_field) is not None]


def _all(dataset: Any, name: str) -> list[RunInfo]:
    return list_runs(dataset)


_MOST_NOTES = 20
_MOST_WORST = 10
_AGAIN = "evaluate again"


def draw_run(page: types.Object, dataset: Any, place: Place, clicks: Clicks) -> None:
    """The page of the last run into a field, or why it cannot be shown."""
    field = str(place.run)
    back = widgets.row(page, "back")
    widgets.button(back, "all", "All runs", clicks.go(tab="runs"), "arrow_back")
    run = next((run for run in known_runs(dataset) if run.label_field == field), None)
    if run is None:
        page.view("problem", types.Error(label=f"The field {field!r} is gone, or no run made it."))
        return
    widgets.heading(page, "facts", field, summary(dataset, run))
    _use(page, dataset, run, place, clicks)
    if run.notes:
        _notes(page, run.notes)
    if run.failed:
        row = widgets.row(page, "failures")
        all_shown = run.failed <= MOST_BY_ID
        words = "failed images" if all_shown else f"first {MOST_BY_ID:,} failed images"
        widgets.button(row, "show", f"Show the {words}", clicks.show_failed(field), "error_outline")
    if run.kind == "boxes":
        _worst_masks(page, dataset, field)
    if run.kind == "segmentation":
        _evaluations(page, dataset, run, clicks)
    if place.shown == "scores":
        charts.draw_scores(page, dataset, run, place, clicks)


def draw_thresholds(
    page: types.Object, dataset: Any, place: Place, clicks: Clicks, state: Mapping[str, Any]
) -> None:
    """The page on which the thresholds of a run are moved."""
    field = str(place.run)
    back = widgets.row(page, "back")
    to = clicks.go(tab="runs", run=field)
    widgets.button(back, "run", f"Back to {field}", to, "arrow_back")
    run = next((run for run in known_runs(dataset) if run.label_field == field), None)
    if run is None:
        page.view("problem", types.Error(label=f"The field {field!r} is gone, or no run made it."))
        return
    thresholds.draw(page, dataset, run, place, clicks, state)


def _worst_masks(page: types.Object, dataset: Any, field: str) -> None:
    poor = [mask for mask in worst_box_masks(dataset, field) if mask.box_iou < POOR]
    if poor:
        lines = [f"{mask.filename}, {mask.label}: {mask.box_iou:.2f}" for mask in poor]
        words = f"**{number_of('mask', len(poor))} fit their box badly** (IoU, the worst first)"
        widgets.text(page, "worst", f"{words}\n\n{bullets(lines, _MOST_WORST)}")


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
        widgets.operator_button(row, "build_memory_bank", clicks, label_field=field)
        return
    if run.kind == "suggestions":
        return
    to = clicks.go(tab="review", run=field)
    widgets.button(row, "review", "Review", to, "rule")
    to = clicks.go(tab="runs", run=field, shown="thresholds")
    widgets.button(row, "thresholds", "Thresholds", to, "tune")
    widgets.operator_button(row, "evaluate_segmentation", clicks, "Evaluate", label_field=field)
    if place.shown != "scores":
        click = clicks.go(shown="scores")
        widgets.button(row, "scores", "Scores by class", click, "bar_chart")
    there = run.bank in list_memory_banks(dataset)
    # Without the bank that made the labels the form asks for another.
    bank: dict[str, Any] = {"bank": run.bank} if there else {}
    widgets.operator_button(row, "apply_thresholds", clicks, label_field=field, **bank)
    if there:
        click = clicks.go(tab="banks", bank=run.bank)
        widgets.button(row, "bank", "Open its bank", click, "folder_open")


def _notes(page: types.Object, notes: Sequence[SampleNote]) -> None:
    words = [f"{note.filepath.rpartition('/')[2]}: {note.reason}" for note in notes]
    told = bullets([line.removeprefix(": ") for line in words], _MOST_NOTES)
    widgets.text(page, "notes", f"**Failed, or to note**\n\n{told}")


def _evaluations(page: types.Object, dataset: Any, run: RunInfo, clicks: Clicks) -> None:
    if not run.evaluations:
        words = "**Not evaluated yet.** Where you have ground truth, Evaluate scores this run."
        widgets.text(page, "not_evaluated", words)
        return
    lines = ["**Evaluations**", ""]
    for key in run.evaluations:
        # While it is written each look would compare all labels anew.
        changed = run.state == "running" or remembered(dataset, key, _changed, of_samples=True)
        mark = f" · **labels changed since: {_AGAIN}**" if changed else ""
        lines.append(f"- {escaped(key)}: {_score(dataset, key)}{mark}")
    widgets.text(page, "evaluations", "\n".join(lines))
    row = widgets.row(page, "evaluation_buttons")
    click = clicks.open_evaluations()
    widgets.button(row, "open", "Open the evaluations", click, "query_stats")
    if run.bank in list_memory_banks(dataset):
        latest = run.evaluations[-1]
        widgets.operator_button(row, "save_thresholds", clicks, bank=run.bank, eval_key=latest)


def _changed(dataset: Any, key: str) -> bool:
    return scored_labels_changed(dataset, key)


def _score(dataset: Any, key: str) -> str:
    try:
        return figures_in_words(coco_figures(dataset, key))
    except DatasetError:
        return "no figures of pycocotools"


def _said(figure: float) -> str:
    return "undefined" if figure < 0 else f"{figure:.3f}"


_MOST = 10
_TITLES = {operator.operator_name: operator.title for operator in OPERATORS}
_SCHEDULED_STATES = {
    "scheduled": "scheduled",
    "queued": "waiting for a worker",
    "running": "running",
    "completed": "done",
    "failed": "**failed**",
}
# Not the parameters: a run of many selected samples holds their ids.
_WANTED = {
    "operator": 1,
    "run_state": 1,
    "queued_at": 1,
    "status": 1,
    "result.error": 1,
    "result.error_message": 1,
    "result.result.message": 1,
}


def draw_scheduled(page: types.Object, dataset: Any) -> None:
    """The latest scheduled runs on the dataset; nothing where there is none."""
    found = latest(dataset)
    if not found:
        return
    lines = ["**Scheduled runs**", ""]
    lines += [f"- {_in_words(operation)}" for operation in found]
    if any(operation["run_state"] == "queued" for operation in found):
        lines += ["", "A worker runs them: `fiftyone delegated launch -m`."]
    widgets.text(page, "scheduled", "\n".join(lines))


def latest(dataset: Any) -> list[dict[str, Any]]:
    """The latest scheduled runs of this plugin's operators on a dataset, the last one first."""
    wanted = {
        "dataset_id": dataset_id(dataset),
        "operator": {"$regex": f"^{PLUGIN}/"},
        "archived": {"$ne": True},
    }
    operations = database().delegated_ops.find(wanted, _WANTED)
    return list(operations.sort("queued_at", -1).limit(_MOST))


def _in_words(operation: dict[str, Any]) -> str:
    state = _SCHEDULED_STATES.get(operation["run_state"], operation["run_state"])
    name = operation["operator"].removeprefix(f"{PLUGIN}/")
    parts = [f"{_TITLES.get(name, escaped(name))}: {state}"]
    if operation.get("queued_at") is not None:
        parts.append(widgets.moment(operation["queued_at"].isoformat()))
    result = operation.get("result") or {}
    error = result.get("error_message") or _last_line(result.get("error"))
    done = (result.get("result") or {}).get("message")
    progress = operation.get("status") or {}
    if error:
        parts.append(escaped(error))
    elif done:
        parts.append(escaped(done))
    elif progress.get("label"):
        parts.append(escaped(progress["label"]))
    return " · ".join(parts)


def _last_line(traceback: str | None) -> str:
    return (traceback or "").strip().rpartition("\n")[2]
