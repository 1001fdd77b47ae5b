"""Operator: take back the last change of a memory bank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import number_of
from ..references import learning_form

if TYPE_CHECKING:
    from ....dataset.banks.learn import BankChange


class UndoMemoryBank(NttOperator):
    """Form of ``undo_memory_bank``."""

    operator_name = "undo_memory_bank"
    title = "Undo memory bank"
    about = (
        "Take back the last change of a memory bank: what was added, removed or merged last, or "
        "its settings. Use it when a bank got worse; once more brings the change back."
    )
    icon = "undo"
    parameters = ("name",)
    submit = "Undo"
    doing = "Taking back the last change"

    def build_form(self, form: Form) -> None:
        from ...forms import bank_choice, target

        name = bank_choice.bank_of_dataset(form, "It becomes as it was before its last change.")
        if name is None:
            return
        change = target.asked_once(form, form.dataset, _preview, name)
        if change is None:
            form.mark(
                "name", f"No former state of {name!r} is kept: there is nothing to take back."
            )
            return
        form.notice("will_do", f"Will {_in_words(change)}; no label changes.")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import undo_memory_bank
        from ....dataset.banks.banks import get_memory_bank_info

        change = undo_memory_bank(ctx.dataset, **self.arguments(ctx))
        info = get_memory_bank_info(ctx.dataset, change.name)
        facts = {
            "References": sum(info.shots.values()),
            "Negatives": sum(info.negatives.values()),
            "Back again": learning_form.in_words(change.added),
            "Negatives back again": learning_form.in_words(change.negatives),
            "Taken away": learning_form.in_words(change.removed),
            "Settings changed": change.settings_in_words(),
        }
        return Outcome(
            f"The memory bank {change.name!r} is as it was before its last change: "
            f"{number_of('class', len(info.shots))}.",
            {name: value for name, value in facts.items() if value},
        )


def _preview(dataset: Any, name: str) -> BankChange | None:
    from ....dataset.banks.edit import preview_undo

    return preview_undo(dataset, name)


def _in_words(change: BankChange) -> str:
    """What comes and what goes, as a verb says it: after an undo it brings the change back."""
    parts = [
        f"{verb} {number_of(noun, sum(classes.values()))} ({learning_form.in_words(classes)})"
        for verb, noun, classes in (
            ("bring back", "reference", change.added),
            ("bring back", "negative", change.negatives),
            ("take away", "entry", change.removed),
        )
        if classes
    ]
    if change.settings:
        parts.append(f"change settings ({change.settings_in_words()})")
    if not parts:
        return f"take back the last change of {change.name!r}, of no reference"
    return f"{' and '.join(parts)} of {change.name!r}"
