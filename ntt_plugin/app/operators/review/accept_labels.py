"""Operator: copy approved labels into a field of the user's."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types
from fiftyone.operators.constants import ViewTarget

from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import MOST_BY_ID, NextStep, Outcome, notes_in_words
from ...text import number_of
from ..references import learning_form


class AcceptLabels(NttOperator):
    """Form of ``accept_labels``."""

    operator_name = "accept_labels"
    title = "Accept labels"
    about = (
        "Copy approved labels, or all above their thresholds, into a field of your own, as plain "
        "detections. Use it after a review; once more copies only what is new."
    )
    icon = "verified"
    parameters = ("label_field", "into", "thresholds", "classes", "clean", "group_slices")
    seldom = ("thresholds", "classes", "clean")
    submit = "Accept"
    doing = "Accepting labels"

    def build_form(self, form: Form) -> None:
        from ....dataset.labels.label_field import segmentation_fields
        from ...forms import first_choice, target

        images = target.target(form, "Accept labels of")
        predictions = first_choice.Wanted.PREDICTIONS
        field, counts = target.label_field(
            form, images, "Labels", "The field that was reviewed.", wanted=predictions
        )
        if field is None:
            return
        into = form.name(
            "into",
            "Write to",
            "A field of your own; it is made, or gets what is new.",
            "label field",
            form.last_used("into") or "accepted",
        )
        by_threshold = False
        if form.advanced(self.seldom):
            what_for = "Not only approved ones: all that no one rejected, above their thresholds."
            form.tick("thresholds", "All above their thresholds", what_for)
            by_threshold = bool(form.ctx.params.get("thresholds"))
            form.classes(counts.classes, "Only these; all if none is chosen.")
            clean(form)
        if into is None:
            return
        if into == field or into in segmentation_fields(form.dataset):
            form.mark("into", f"Runs write {into!r}; choose a name of your own.")
            return
        queue = target.asked_once(form, images, _counts, field)
        which = "approved labels, and all above their thresholds," if by_threshold else "approved"
        what = which if by_threshold else f"{number_of('label', queue.approved)} {which}"
        form.notice("will_do", f"Will copy {what} into {into!r}; {field!r} stays as it is.")
        if not queue.approved and not by_threshold:
            form.notice(
                "none_approved",
                f"No label in {field!r} is approved yet. Review it in the panel Memory banks, or "
                "take all above their thresholds (Advanced settings).",
                types.Warning,
            )

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import accept_labels
        from ....dataset.samples.label_selection import select_labels
        from ....dataset.samples.views import all_images
        from ...forms import target

        arguments = self.arguments(ctx)
        # The SDK takes thresholds by class too; a form has the bank's, or none.
        arguments["thresholds"] = True if arguments.get("thresholds") is True else None
        found = accept_labels(target.target_of(ctx), **arguments, progress=progress)
        total = sum(found.accepted.values())
        facts = {
            "Accepted": learning_form.in_words(found.accepted),
            "There before": found.already,
            "Corrected in the copy": len(found.updated),
        }
        view = None
        if 0 < total <= MOST_BY_ID:
            ids = set(found.label_ids)
            view = select_labels(all_images(ctx.dataset), _keys(ctx.dataset, found.into, ids))
        elif total:
            view = all_images(ctx.dataset).exists(found.into)
        return Outcome(
            f"{number_of('label', total)} copied from {found.label_field!r} into {found.into!r}.",
            {name: value for name, value in facts.items() if value},
            notes_in_words(found),
            view=view,
            view_label="Show the accepted labels",
            changed=True,
            next_step=NextStep(
                "Export labels",
                "export_labels",
                {"field": found.into, "view_target": ViewTarget.DATASET},
            ),
        )


def clean(form: Form) -> float | None:
    """Add the cleaning of masks: a size; None for none, and marked, for one that is no number."""
    form.inputs.float(
        "clean",
        required=False,
        label="Clean masks",
        description="Remove specks and fill holes below this size: pixels from 1 on, else a share "
        "of the mask. Empty: masks stay as they are.",
    )
    value = form.value("clean")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        form.mark("clean", "Give a size of 0 or more, or leave it empty.")
        return None
    return float(value)


def _counts(images: Any, field: str) -> Any:
    from ....dataset.review.queue import review_queue

    return review_queue(images, field).counts


def _keys(dataset: Any, field: str, ids: set[str]) -> list[Any]:
    from ....dataset.samples.label_selection import labels_in
    from ....dataset.samples.views import all_images

    return [key for key in labels_in(all_images(dataset), field) if key.label in ids]
