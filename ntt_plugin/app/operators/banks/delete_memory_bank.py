"""Operator: delete a memory bank."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ....errors import BankError
from ...forms import fields
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome


class DeleteMemoryBank(NttOperator):
    """Form of ``delete_memory_bank``."""

    uses = "delete_memory_bank"
    operator_name = "delete_memory_bank"
    title = "Delete memory bank"
    about = (
        "Delete a memory bank from this dataset. Labels that were made with it stay, and so do "
        "its references. Export it first if you may want it back."
    )
    icon = "delete_outline"
    risk = types.RiskLevel.HIGH
    parameters = ("name",)
    submit = "Delete"
    doing = "Deleting"

    def form(self, ctx: Any, inputs: types.Object) -> None:
        from ....dataset.banks.banks import get_memory_bank_info
        from ...forms import bank_choice

        name = bank_choice.bank_of_dataset(ctx, inputs)
        if name is None:
            return
        try:
            told = bank_choice.in_words(get_memory_bank_info(ctx.dataset, name))
        except BankError as error:  # a damaged one can still be deleted
            told = str(error)
        fields.notice(
            inputs,
            "will_do",
            f"Will delete for good: {told} What was segmented with it stays.",
            types.Warning,
        )
        fields.confirm(ctx, inputs, "Delete it for good")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import delete_memory_bank

        arguments = self.arguments(ctx)
        delete_memory_bank(ctx.dataset, **arguments)
        return Outcome(f"The memory bank {arguments['name']!r} is deleted.")
