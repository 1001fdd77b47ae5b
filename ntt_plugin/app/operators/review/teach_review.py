"""Operator: teach a memory bank what a review says."""

from __future__ import annotations

from typing import Any

from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import number_of
from ..references import learning_form

_KINDS = {
    "negatives": "rejected labels become negatives",
    "references": "approved labels become references",
}
_TAKEN = {"negatives": "rejected", "references": "approved"}


class TeachReview(NttOperator):
    """Form of ``teach_review``."""

    operator_name = "teach_review"
    title = "Teach review"
    about = (
        "Teach a memory bank the labels that a review rejected, as negatives, or approved, as "
        "references; a few of each class. Use it after a review, then segment again."
    )
    icon = "school"
    parameters = ("label_field", "bank", "kind", "most", "classes", "group_slices", "device")
    seldom = ("most", "classes", "device")
    submit = "Teach"
    doing = "Teaching the review"

    def build_form(self, form: Form) -> None:
        from ....dataset.banks.banks import get_memory_bank_info
        from ....dataset.review.teach import MOST_TAUGHT
        from ...forms import bank_choice, first_choice, run_options, target

        images = target.target(form, "Take labels of")
        predictions = first_choice.Wanted.PREDICTIONS
        field, counts = target.label_field(
            form, images, "Reviewed labels", "The field that was reviewed.", wanted=predictions
        )
        if field is None:
            return
        maker = bank_choice.maker_of_field(form.dataset, field)
        bank = bank_choice.bank_of_dataset(form, "The bank that learns them.", "bank", maker)
        kind = form.choice("kind", _KINDS, "What to teach", "Of what was reviewed.", "negatives")
        most: int | None = MOST_TAUGHT
        if form.advanced(self.seldom):
            most = form.whole_number(
                "most", "Most of a class", "So that a bank does not drown.", MOST_TAUGHT, least=1
            )
            form.classes(counts.classes, "Only these; all if none is chosen.")
            run_options.device(form)
        if bank is None or kind is None or most is None:
            return
        judged = target.asked_once(form, images, _judged, field, _TAKEN[kind])
        if not judged:
            form.mark("kind", f"No label in {field!r} is {_TAKEN[kind]} here; review it first.")
            return
        text = (
            f"{number_of('label', judged)} {_TAKEN[kind]}; will teach {bank!r} at most {most:,} of "
            "each class."
        )
        info = get_memory_bank_info(form.dataset, bank)
        learning_form.announce_learning(form, text, info)

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import teach_review
        from ...forms import target

        arguments = self.arguments(ctx)
        added = teach_review(target.target_of(ctx), **arguments, progress=progress)
        return learning_form.taught(ctx, arguments["label_field"], [added])


def _judged(images: Any, field: str, state: str) -> int:
    from ....dataset.review.queue import review_queue

    counts = review_queue(images, field).counts
    return int(getattr(counts, state))
