"""Operator: take back the last change of a memory bank."""

from __future__ import annotations

from typing import Any

from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import number_of
from ..references import learning_form


class UndoMemoryBank(NttOperator):
    """Form of ``undo_memory_bank``."""

    operator_name = "undo_memory_bank"
    title = "Undo memory bank"
    about = (
        "Take back the last change of a memory bank: what was added, removed or merged last. Use "
        "it when a bank got worse; once more brings the change back."
    )
    icon = "undo"
    parameters = ("name",)
    submit = "Undo"
    doing = "Taking back the last change"

    def build_form(self, form: Form) -> None:
        from ...forms import bank_choice

        name = bank_choice.bank_of_dataset(form, "It becomes as it was before its last change.")
        if name is not None:
            form.notice("will_do", f"Will take back the last change of {name!r}, no label.")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import undo_memory_bank
        from ....dataset.banks.banks import get_memory_bank_info

        change = undo_memory_bank(ctx.dataset, **self.arguments(ctx))
        info = get_memory_bank_info(ctx.dataset, change.name)
        facts = {
            "References": sum(info.shots.values()),
            "Negatives": sum(info.negatives.values()),
            "Back again": learning_form.in_words(change.added),
            "Taken away": learning_form.in_words(change.removed),
        }
        return Outcome(
            f"The memory bank {change.name!r} is as it was before its last change: "
            f"{number_of('class', len(info.shots))}.",
            {name: value for name, value in facts.items() if value},
        )
