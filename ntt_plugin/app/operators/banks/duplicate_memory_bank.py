"""Operator: copy a memory bank."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome


class DuplicateMemoryBank(NttOperator):
    """Form of ``duplicate_memory_bank``."""

    uses = "duplicate_memory_bank"
    operator_name = "duplicate_memory_bank"
    title = "Duplicate memory bank"
    about = (
        "Save a copy of a memory bank under another name. Use it before you try a change, to "
        "compare the two."
    )
    icon = "content_copy"
    risk = types.RiskLevel.MEDIUM
    parameters = ("name", "new_name")
    submit = "Duplicate"
    doing = "Copying"

    def form(self, ctx: Any, inputs: types.Object) -> None:
        from ...forms import bank_choice

        bank_choice.bank_of_dataset(ctx, inputs)
        bank_choice.new_name(ctx, inputs)

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import duplicate_memory_bank

        arguments = self.arguments(ctx)
        duplicate_memory_bank(ctx.dataset, **arguments)
        return Outcome(
            f"The memory bank {arguments['new_name']!r} is a copy of {arguments['name']!r}."
        )
