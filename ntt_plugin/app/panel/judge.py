"""The steps of a review, as a person takes them in the panel and the grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...dataset.class_names import look_alikes
from ...dataset.inspect.colours import colour_by_class
from ...dataset.labels.annotation_schema import set_up_annotation
from ...dataset.review.open_panels import is_closed, is_of_a_panel, is_open, reviewer_name
from ...dataset.review.steps import LabelName, ReviewStep, approve_above, review_labels, undo_review
from ...dataset.samples.checks import listed, quoted
from ...dataset.samples.label_selection import LabelKey, select_labels
from ...dataset.samples.views import all_images
from ...errors import DatasetError
from ..request import unfit_text
from ..text import number_of
from . import layout, review
from .events import REVIEW_STEPS
from .state import EVERYTHING, Place


def step(ctx: Any, place: Place, do: str, field: str) -> None:
    """Take one of ``REVIEW_STEPS``, and show the next page of labels in the grid.

    Raises:
        DatasetError: there is no such step or field.
    """
    if do not in REVIEW_STEPS:
        raise DatasetError(f"A review has no step {quoted(do)}.")
    if do == "annotate":
        _annotate(ctx, field)
        return
    if do == "undo":
        _undo(ctx, field)
    page = review.shown_labels(ctx.panel_state or {}, field)
    if do == "show" and page:
        _show(ctx, field, page)
        return
    if do == "next" and not _judge(ctx, field):
        ctx.ops.notify("The grid shows something else; here is the page. Nothing was judged.")
        _show(ctx, field, page)
        return
    if do == "start":
        colour_by_class(ctx.dataset, in_app=True)
    _show_page(ctx, place, field)


def approve(ctx: Any, place: Place, field: str, label: str, confidence: float) -> None:
    """Approve the labels to do of a class from a confidence on, and show the next page.

    Those below their thresholds stay to do while they are hidden.

    Raises:
        DatasetError: there is no such field or class.
    """
    images = all_images(ctx.dataset)
    above, who = place.shown != EVERYTHING, _reviewer(ctx, field)
    _tell(ctx, approve_above(images, field, label, confidence, reviewer=who, only_above=above))
    _show_page(ctx, place, field)


def change(ctx: Any, place: Place, label: str) -> None:
    """Give the clicked labels another class; they leave the page.

    Raises:
        DatasetError: the field is gone.
    """
    field = layout.reviewed_field(ctx.dataset, place)
    clicked = set(layout.clicked_labels(ctx, field))
    if not clicked:
        return
    images, page = all_images(ctx.dataset), review.shown_labels(ctx.panel_state or {}, field)
    classes: dict[LabelName, str] = {key: label for key in page if key[1] in clicked}
    seen, who = review.seen_classes(ctx.panel_state or {}, field), _reviewer(ctx, field)
    _tell(ctx, review_labels(images, field, change=classes, reviewer=who, expected=seen))
    for group in look_alikes([*_known_classes(ctx, field), label]):
        if label in group:
            words = f"The classes {listed(group)} look alike, and are kept apart."
            ctx.ops.notify(f"{words} Undo, if they are one class.", variant="warning")
    left = [key for key in page if key not in classes]
    if left:
        _show(ctx, field, left)
    else:
        _show_page(ctx, place, field)


def _known_classes(ctx: Any, field: str) -> list[str]:
    labels = all_images(ctx.dataset).distinct(f"{field}.detections.label")
    return [*labels, *review.classes_of_bank(ctx.dataset, field)]


def _judge(ctx: Any, field: str) -> bool:
    """Reject what is clicked of the page and approve the rest; False if the grid shows others."""
    page = review.shown_labels(ctx.panel_state or {}, field)
    if not page:
        return True
    if not layout.is_in_grid(ctx, field, [label_id for _, label_id in page]):
        return False
    clicked = set(layout.clicked_labels(ctx, field))
    wrong = [key for key in page if key[1] in clicked]
    right = [key for key in page if key[1] not in clicked]
    images, who = all_images(ctx.dataset), _reviewer(ctx, field)
    # Somebody may have given a label another class since it was shown.
    seen = review.seen_classes(ctx.panel_state or {}, field)
    _tell(ctx, review_labels(images, field, right, wrong, reviewer=who, expected=seen))
    return True


def _undo(ctx: Any, field: str) -> None:
    undone = undo_review(all_images(ctx.dataset), field, reviewer=_reviewer(ctx, field))
    if undone is None:
        ctx.ops.notify("There is no step left to take back.")
        return
    number = undone.reset or undone.approved + undone.rejected + undone.changed
    if number:
        ctx.ops.notify(f"Taken back: {number_of('label', number)}.", variant="success")
    _tell(ctx, undone)


def _annotate(ctx: Any, field: str) -> None:
    classes = set_up_annotation(ctx.dataset, field)
    ctx.ops.reload_dataset()
    ctx.ops.notify(
        f"Annotate is set up for {field!r} ({number_of('class', len(classes))}). Open a sample, "
        "and choose Annotate above its fields; an edited label counts as approved.",
        variant="success",
    )


def _show_page(ctx: Any, place: Place, field: str) -> None:
    """Show the next labels to judge in the grid; the whole images where none is left."""
    found = review.queue(ctx.dataset, field, place)
    page = [[*item.key, item.label] for item in found.page()]
    ctx.panel.set_state("review", {"field": field, "labels": page})
    if page:
        ctx.ops.set_view(found.patches())
        _tidy(ctx, field)
        return
    ctx.ops.set_view(layout.written_view(ctx.dataset, field))
    _tidy(ctx, field)
    ctx.ops.notify("All of these are reviewed.", variant="success")


def _show(ctx: Any, field: str, page: list[tuple[str, str]]) -> None:
    images = all_images(ctx.dataset).select_fields(field)
    keys = [LabelKey(sample, field, label_id) for sample, label_id in page]
    shown = select_labels(images, keys).to_patches(field)
    shown = shown.select([label_id for _, label_id in page], ordered=True)
    # As the grid is about to show them: a class may be another one than the last time.
    classes = dict(zip(*shown.values(["id", f"{field}.label"]), strict=True))
    labels = [[*key, classes.get(key[1]) or ""] for key in page]
    ctx.panel.set_state("review", {"field": field, "labels": labels})
    ctx.ops.set_view(shown)
    _tidy(ctx, field)


def _tidy(ctx: Any, field: str) -> None:
    if ctx.selected:
        ctx.ops.clear_selected_samples()
    if ctx.selected_labels:
        ctx.ops.clear_selected_labels()
    layout.style_selection(ctx, judging=True)
    # The App shows a field that was switched off before by nothing but a bare crop.
    ctx.ops.set_active_fields([field])


def _tell(ctx: Any, done: ReviewStep) -> None:
    if done.left_alone:
        number = number_of("label", len(done.left_alone))
        ctx.ops.notify(f"{number} left alone: somebody else judged or changed them.")


_REVIEWERS = "reviewers"


def is_here(ctx: Any) -> None:
    """Tell that the panel is open: nobody else goes on with its steps."""
    is_open(ctx.dataset, ctx.params["panel_id"], dict.fromkeys(_names(ctx).values()))


def has_left(ctx: Any) -> None:
    """Tell that the panel is closed: whoever opens it next can take its steps back."""
    if ctx.dataset is not None:
        is_closed(ctx.dataset, ctx.params["panel_id"])


def _reviewer(ctx: Any, field: str) -> str:
    """Names whoever works in this panel, so that nobody takes back another one's steps."""
    names = _names(ctx)
    name = reviewer_name(ctx.dataset, field, ctx.params["panel_id"], names)
    if names.get(field) != name:
        ctx.panel.set_state(_REVIEWERS, {**names, field: name})
    return name


def _names(ctx: Any) -> dict[str, str]:
    """The panel's names by field, as its state has them: the browser sends it."""
    kept = (ctx.panel_state or {}).get(_REVIEWERS)
    pairs = kept.items() if isinstance(kept, Mapping) else ()
    return {
        field: name
        for field, name in pairs
        if not unfit_text(field) and not unfit_text(name) and is_of_a_panel(name)
    }
