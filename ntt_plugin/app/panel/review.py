"""The page Review: labels judged in the grid, a page of patches at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import fiftyone.operators.types as types
from fiftyone.operators.constants import ViewTarget

from ...dataset.banks.banks import get_memory_bank_info, list_memory_banks
from ...dataset.database.run_record import read_facts
from ...dataset.inspect.inventory import label_fields
from ...dataset.inspect.runs import list_runs
from ...dataset.review.queue import PAGE_SIZE, ReviewQueue, review_queue
from ...dataset.review.steps import LabelName
from ...dataset.runtime.caching import remembered
from ...dataset.samples.views import all_images
from ...errors import DatasetError, NttError
from ..forms.bank_choice import maker_of_field
from ..request import unfit_text
from ..text import escaped, number_of
from . import widgets
from .events import Clicks
from .state import ALL_CLASSES, EVERYTHING, Place

SURE = 0.8
"""Where the slider stands at first with which one approves all of a class above it."""

_NOTHING = " "
_HOW = (
    "*Click in the grid what is **wrong**, then Next: the others of the page are approved. Most "
    "doubtful first.*"
)


def draw(
    page: types.Object,
    dataset: Any,
    place: Place,
    clicks: Clicks,
    state: Mapping[str, Any],
    clicked: int,
    in_grid: bool,
) -> None:
    """The review of a field, or the choice of one.

    Args:
        page: the panel.
        dataset: the dataset.
        place: where the person is; ``run`` is the field, ``label`` the class.
        clicks: the panel's events.
        state: values of the panel's state: what the grid shows, the slider.
        clicked: how many labels of the grid's page are selected.
        in_grid: whether the grid shows the page that is to be judged.
    """
    fields = reviewed_fields(dataset)
    if not fields:
        words = "**Nothing to review.** Segment a few images first; then judge here what was found."
        widgets.text(page, "nothing", words)
        widgets.operator_button(
            widgets.row(page, "actions"), "segment_with_memory_bank", clicks, strong=True
        )
        return
    field = place.run if place.run in fields else fields[0]
    if len(fields) > 1:
        names = {name: name for name in fields}
        widgets.choice(page, f"field_{place.visit}", names, field, clicks.events.choose_field)
    found = queue(dataset, field, place)
    _progress(page, field, found)
    _classes(page, found, place, clicks)
    _judge(page, dataset, field, found, place, clicks, state, clicked, in_grid)
    _hand_on(page, dataset, field, found, clicks)


def reviewed_fields(dataset: Any) -> list[str]:
    """The fields that can be reviewed: those of the latest runs first, then any of instances."""
    there, ran = label_fields(dataset), remembered(dataset, "", _ran)
    return [name for name in dict.fromkeys([*ran, *there]) if name in there]


def _ran(dataset: Any, name: str) -> list[str]:
    """The fields that runs wrote, the latest first; those whose boxes a person gave at the end."""
    runs = list_runs(dataset)
    return [
        run.label_field for kind in ("segmentation", "boxes") for run in runs if run.kind == kind
    ]


def queue(dataset: Any, field: str, place: Place) -> ReviewQueue:
    """The labels to judge at a place, cached until a label changes."""
    asked = json.dumps([field, place.label, place.shown != EVERYTHING])
    return remembered(dataset, asked, _queue, of_samples=True)


def _queue(dataset: Any, asked: str) -> ReviewQueue:
    field, label, above = json.loads(asked)
    images = all_images(dataset)
    # The last label of a class may just have got another one.
    known = not label or label in images.distinct(f"{field}.detections.label")
    return review_queue(images, field, [label] if label and known else None, only_above=above)


def shown_labels(state: Mapping[str, Any], field: str) -> list[tuple[str, str]]:
    """The labels of the page to judge: ids of sample and label, as the panel's state has them."""
    return [(sample, label_id) for sample, label_id, _ in _shown(state, field)]


def seen_classes(state: Mapping[str, Any], field: str) -> dict[LabelName, str]:
    """The classes of these labels when the grid got them, without those that had none."""
    return {(sample, label_id): label for sample, label_id, label in _shown(state, field) if label}


def _shown(state: Mapping[str, Any], field: str) -> list[tuple[str, str, str]]:
    kept = state.get("review")
    if not isinstance(kept, Mapping) or kept.get("field") != field:
        return []
    labels = kept.get("labels")
    entries = labels if isinstance(labels, list) else []
    known = [one for one in entries if isinstance(one, list) and len(one) == 3]
    return [(str(sample), str(label_id), str(label)) for sample, label_id, label in known]


def shown_ids(state: Mapping[str, Any], field: str) -> list[str]:
    """As ``shown_labels``, the labels' own ids."""
    return [label_id for _, label_id in shown_labels(state, field)]


def slider(place: Place) -> str:
    """The name that the slider of a visit has in the panel's state."""
    return f"sure_{place.visit}"


def _progress(page: types.Object, field: str, found: ReviewQueue) -> None:
    counts = found.counts
    done = counts.approved + counts.rejected
    share = done / counts.total if counts.total else 1.0
    words = f"{done:,} of {number_of('label', counts.total)} in {escaped(field)} reviewed"
    widgets.progress(page, "progress", words, share)
    left = len(found.items)
    page_words = f"**{left:,} to do** · {counts.approved:,} approved · {counts.rejected:,} rejected"
    hidden = counts.todo - left
    widgets.text(page, "counts", page_words + (f" · {hidden:,} others hidden" if hidden else ""))


def _classes(page: types.Object, found: ReviewQueue, place: Place, clicks: Clicks) -> None:
    choices = {ALL_CLASSES: "All classes"}
    for name, counts in found.by_class.items():
        if name:
            words = f"{name}: {counts.todo:,} to do, {counts.approved:,} right"
            choices[name] = f"{words}, {counts.rejected:,} wrong"
    if len(choices) > 2:
        chosen = place.label or ALL_CLASSES
        widgets.class_choice(page, place.visit, choices, chosen, clicks.events.choose_class)


def _judge(
    page: types.Object,
    dataset: Any,
    field: str,
    found: ReviewQueue,
    place: Place,
    clicks: Clicks,
    state: Mapping[str, Any],
    clicked: int,
    in_grid: bool,
) -> None:
    ids = shown_ids(state, field)
    row = widgets.row(page, "judge")
    if ids and not in_grid:
        # It is on its way to the grid, or the person went elsewhere: nothing unseen is judged.
        words = f"Show these {len(ids)} in the grid"
        # Of the same name as the next ones: it keeps the keyboard's focus, and Enter presses it.
        widgets.button(row, "next", words, clicks.review("show", field), "rule")
    elif ids:
        right = len(ids) - clicked
        words = f"Next: {right} right, {clicked} wrong"
        widgets.button(row, "next", words, clicks.review("next", field), "done_all", strong=True)
    elif found.items:
        words = f"Show the first {min(PAGE_SIZE, len(found.items))}"
        widgets.button(row, "next", words, clicks.review("start", field), "rule", strong=True)
    widgets.button(row, "undo", "Undo", clicks.review("undo", field), "undo")
    everything = place.shown == EVERYTHING
    words = "Only above the thresholds" if everything else "Also what is below the thresholds"
    to = "" if everything else EVERYTHING
    widgets.button(row, "below", words, clicks.go(tab="review", run=field, shown=to), "filter_alt")
    if ids and in_grid:
        widgets.text(page, "how", _HOW)
        if clicked:
            classes = {*found.by_class, *classes_of_bank(dataset, field)}
            _other_class(page, sorted(classes - {""}), place, clicks, state)
    if place.label and found.items:
        sure = widgets.as_share(state.get(slider(place)), SURE)
        widgets.slider(page, slider(place), "Confidence", sure, clicks.events.move_confidence)
        row = widgets.row(page, "above")
        number = sum(
            1 for item in found.items if item.confidence is not None and item.confidence >= sure
        )
        words = f"All {number:,} of {place.label} from {sure:.2f} on are right"
        click = clicks.review_above(field, place.label, sure)
        widgets.button(row, "sure", words, click, "verified", disabled=not number)


def classes_of_bank(dataset: Any, field: str) -> list[str]:
    """The classes of the bank that a field was segmented with; none where it is gone."""
    bank = maker_of_field(dataset, field).now
    try:
        return [] if bank is None else list(get_memory_bank_info(dataset, bank).shots)
    except NttError:
        return []  # a damaged bank does not hinder the review of what it found


def _other_class(
    page: types.Object, classes: list[str], place: Place, clicks: Clicks, state: Mapping[str, Any]
) -> None:
    """The choice of the class that the clicked labels are of; they are approved with it."""
    choices = {_NOTHING: "The clicked ones are right, and of another class: …"}
    choices |= {name: name for name in classes}
    widgets.choice(
        page, _field("other", place, state), choices, _NOTHING, clicks.events.review_change
    )
    view = types.TextFieldView(label="… or of a class that is not in the list: type its name")
    page.str(_field("typed", place, state), view=view)
    row = widgets.row(page, "typed")
    widgets.button(row, "typed", "Give this class", clicks.review_typed(), "new_label")


def typed_class(state: Mapping[str, Any], place: Place) -> str:
    """The class that was typed for the clicked labels; empty if none was.

    Raises:
        DatasetError: no database takes the text.
    """
    typed = state.get(_field("typed", place, state))
    if typed is None:
        return ""
    problem = unfit_text(typed)
    if problem:
        raise DatasetError(f"The class is {problem}; type another name.")
    return str(typed).strip()


def _field(what: str, place: Place, state: Mapping[str, Any]) -> str:
    """A name of its own for a field after each step: the App keeps a field's value."""
    steps = state.get("steps")
    return f"{what}_{place.visit}_{steps if isinstance(steps, int) else 0}"


def _hand_on(
    page: types.Object, dataset: Any, field: str, found: ReviewQueue, clicks: Clicks
) -> None:
    counts = found.counts
    bank = read_facts(dataset, field).get("bank")
    # The grid shows a page of patches: what is handed on is of all images.
    everything: dict[str, Any] = {"view_target": ViewTarget.DATASET}
    known = {"bank": bank} if bank in list_memory_banks(dataset) else {}
    row = widgets.row(page, "teach")
    for kind, words, number in (
        ("negatives", "Negatives from rejected", counts.rejected),
        ("references", "References from approved", counts.approved),
    ):
        if number and list_memory_banks(dataset):
            line = widgets.column(row, kind)
            widgets.operator_button(
                line,
                "teach_review",
                clicks,
                words,
                label_field=field,
                kind=kind,
                **known,
                **everything,
            )
    row = widgets.row(page, "hand_on")
    widgets.operator_button(row, "accept_labels", clicks, "Accept", label_field=field, **everything)
    widgets.operator_button(
        row, "export_labels", clicks, field=field, only_approved=True, **everything
    )
    widgets.button(row, "annotate", "Edit masks", clicks.review("annotate", field), "edit")
