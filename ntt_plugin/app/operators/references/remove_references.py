"""Operator: take references or classes out of a memory bank."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import fiftyone.operators.types as types

from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import listed_briefly, number_of
from . import learning_form

if TYPE_CHECKING:
    from ....engine.bank.memory_bank import MemoryBank


class RemoveReferences(NttOperator):
    """Form of ``remove_references``."""

    operator_name = "remove_references"
    title = "Remove references"
    about = (
        "Take references, negatives or whole classes out of a memory bank. Use it when one of "
        "them is bad; nothing is computed again, and the labels stay."
    )
    icon = "remove_circle_outline"
    risk = types.RiskLevel.HIGH
    parameters = ("name", "references", "classes")
    submit = "Remove"
    doing = "Removing"

    def build_form(self, form: Form) -> None:
        from ....dataset.banks.banks import load_memory_bank
        from ....dataset.banks.learn import is_label
        from ...forms import bank_choice
        from ...forms.selection import selected_keys

        name = bank_choice.bank_of_dataset(form)
        if name is None:
            return
        bank = load_memory_bank(form.dataset, name)
        words = _in_words(form.dataset, bank)
        selected = selected_keys(form.ctx)
        known = set(form.dataset.get_field_schema())
        first = [
            entry.stored.id
            for entry in bank.entries()
            if any(is_label(entry.stored.provenance, key, known) for key in selected)
        ]
        at_first = "Those whose labels are selected, at first."
        form.several("references", words, "References", at_first, default=first)
        counts = {label: bank.shots(label) for label in bank.classes}
        form.classes(counts, "Whole classes, with their negatives.")
        chosen = list(form.at_first("references", first) or [])
        classes = list(form.value("classes", []))
        unknown = [key for key in chosen if key not in words]
        if unknown:
            form.mark(
                "references", "The bank no longer holds one of these; take it out of the list."
            )
        elif not chosen and not classes:
            form.mark("references", "Choose references or classes.")
        else:
            what = [words[key] for key in chosen] + [f"all of {label}" for label in classes]
            form.notice(
                "will_do",
                f"Will take out of {name!r}: {listed_briefly(what)}. The labels stay.",
                types.Warning,
            )
            form.confirm("Take them out of the bank")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import remove_references

        change = remove_references(ctx.dataset, **self.arguments(ctx))
        return Outcome(
            f"{number_of('reference', sum(change.removed.values()))} taken out of the memory bank "
            f"{change.name!r}.",
            {"Removed": learning_form.in_words(change.removed)},
            next_step=learning_form.segment_again(ctx, "", change.name),
        )


def _in_words(dataset: Any, bank: MemoryBank) -> dict[str, str]:
    from ....dataset.samples.label_lookup import database_ids
    from ....dataset.samples.views import all_images

    samples = database_ids(entry.stored.provenance.sample for entry in bank.entries())
    found = all_images(dataset).select(samples)
    files = dict(zip(*found.values(["id", "filepath"]), strict=True))
    words = {}
    for label in bank.classes:
        for kind, entries in (
            ("", bank.references(label)),
            (" (negative)", bank.negative_references(label)),
        ):
            for number, entry in enumerate(entries, start=1):
                source = files.get(entry.provenance.sample)
                where = f", {Path(source).name}" if source else ""
                words[entry.id] = f"{label} {number}{kind}{where}"
    return words
