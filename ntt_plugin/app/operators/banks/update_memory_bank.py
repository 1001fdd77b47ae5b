"""Operator: teach a memory bank more labels."""

from __future__ import annotations

from typing import Any

from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import MOST_BY_ID, Outcome
from ...text import number_of
from ..references import learning_form
from .build_memory_bank import label_tag, references, sample_tag


class UpdateMemoryBank(NttOperator):
    """Form of ``update_memory_bank``."""

    operator_name = "update_memory_bank"
    title = "Update memory bank"
    about = (
        "Teach a memory bank labels that it does not hold yet: more references, or new classes. "
        "Use it when you have tagged more; what the bank holds is not computed again."
    )
    icon = "library_add_check"
    parameters = (
        "label_field",
        "name",
        "tag",
        "classes",
        "device",
        "negatives",
        "from_references",
        "sample_tag",
        "group_slices",
        "estimate",
    )
    seldom = ("device", "sample_tag", "negatives", "from_references")
    submit = "Update"
    doing = "Updating the memory bank"

    def build_form(self, form: Form) -> None:
        from ....dataset.banks.banks import get_memory_bank_info
        from ...forms import bank_choice, run_options, target

        images = target.target(form, "Learn from", labels=True)
        name = bank_choice.bank_of_dataset(form)
        what_for = "The field of the references."
        field, counts = target.labels_with_masks(form, images, what_for)
        if field is None:
            return
        tag = label_tag(form, counts)
        form.classes(counts.classes, "Only these; all if none is chosen.")
        if form.advanced(self.seldom):
            run_options.device(form)
            sample_tag(form, images)
            what_for = "They are taken for their class and are not of it."
            form.tick("negatives", "As negatives", what_for)
            what_for = "Else a label that the bank holds as a reference is left out of them."
            form.tick("from_references", "Negatives of its references too", what_for)
        learning_form.estimate(form)
        if name is None:
            return
        info = get_memory_bank_info(form.dataset, name)
        form.describe("name", bank_choice.in_words(info))
        number = references(form, counts, tag)
        what = "negatives" if form.ctx.params.get("negatives") else "references"
        text = f"Will teach {name!r} what it does not hold yet of {number:,} {what}."
        if learning_form.predicted(form.dataset, field):
            text += (
                f" The next run replaces {field!r}: with Promote to references copies would be "
                "kept."
            )
        learning_form.announce_learning(form, text, info)

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import update_memory_bank
        from ....dataset.samples.label_selection import select_labels
        from ....dataset.samples.views import all_images
        from ...forms import target

        view = target.target_of(ctx, labels=True)
        arguments = target.without_slices(view, self.arguments(ctx))
        change = update_memory_bank(view, **arguments, progress=progress)
        learnt = change.negatives or change.added
        facts = {
            "Learnt": learning_form.in_words(learnt),
            "Held before": change.already,
            "Taken away": learning_form.in_words(change.removed),
        }
        # Not all references: of a bank from elsewhere none may be a label of this dataset.
        shown = change.labels[:MOST_BY_ID]
        few = len(shown) == len(change.labels)
        return Outcome(
            f"The memory bank {change.name!r} learnt {number_of('label', sum(learnt.values()))}.",
            {name: value for name, value in facts.items() if value},
            learning_form.refused_in_words(change.refused),
            view=select_labels(all_images(ctx.dataset), shown) if shown else None,
            view_label="Show what it learnt" if few else f"Show the first {len(shown):,} it learnt",
            next_step=learning_form.segment_again(ctx, arguments["label_field"], change.name),
        )
