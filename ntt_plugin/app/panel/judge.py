"""The steps of a review, as a person takes them in the panel and the grid."""

from __future__ import annotations

import uuid
from typing import Any

from ...dataset.inspect.colours import colour_by_class
from ...dataset.labels.annotation_schema import set_up_annotation
from ...dataset.review.steps import ReviewStep, approve_above, review_labels, undo_review
from ...dataset.samples.checks import quoted
from ...dataset.samples.label_selection import LabelKey, select_labels
from ...dataset.samples.views import all_images
from ...errors import DatasetError
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
    above, who = place.shown != EVERYTHING, _reviewer(ctx)
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
    classes: dict[str | tuple[str, str], str] = {key: label for key in page if key[1] in clicked}
    _tell(ctx, review_labels(images, field, change=classes, reviewer=_reviewer(ctx)))
    left = [key for key in page if key not in classes]
    if left:
        _show(ctx, field, left)
    else:
        _show_page(ctx, place, field)


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
    images = all_images(ctx.dataset)
    done = review_labels(images, field, right, wrong, reviewer=_reviewer(ctx))
    _tell(ctx, done)
    return True


def _undo(ctx: Any, field: str) -> None:
    undone = undo_review(all_images(ctx.dataset), field, reviewer=_reviewer(ctx))
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
    page = [list(item.key) for item in found.page()]
    ctx.panel.set_state("review", {"field": field, "labels": page})
    if page:
        ctx.ops.set_view(found.patches())
        _tidy(ctx, field)
        return
    ctx.ops.set_view(layout.written_view(ctx.dataset, field))
    _tidy(ctx, field)
    ctx.ops.notify("All of these are reviewed.", variant="success")


def _show(ctx: Any, field: str, page: list[tuple[str, str]]) -> None:
    ctx.panel.set_state("review", {"field": field, "labels": [list(key) for key in page]})
    images = all_images(ctx.dataset).select_fields(field)
    keys = [LabelKey(sample, field, label_id) for sample, label_id in page]
    shown = select_labels(images, keys).to_patches(field)
    ctx.ops.set_view(shown.select([label_id for _, label_id in page], ordered=True))
    _tidy(ctx, field)


def _tidy(ctx: Any, field: str) -> None:
    ctx.ops.clear_selected_samples()
    ctx.ops.clear_selected_labels()
    # What is clicked is wrong.
    ctx.ops.set_sample_selection_style(default="red-checkmark", alt="red-checkmark")
    # The App shows a field that was switched off before by nothing but a bare crop.
    ctx.ops.set_active_fields([field])


def _tell(ctx: Any, done: ReviewStep) -> None:
    if done.left_alone:
        number = number_of("label", len(done.left_alone))
        ctx.ops.notify(f"{number} left alone: somebody else judged or changed them.")


def _reviewer(ctx: Any) -> str:
    """Names whoever works in this panel, so that nobody takes back another one's steps."""
    name = ctx.panel.get_state("reviewer")
    if not isinstance(name, str) or not name:
        name = uuid.uuid4().hex[:8]
        ctx.panel.set_state("reviewer", name)
    return name
