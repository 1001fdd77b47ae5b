"""Operator: rename a memory bank."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome


class RenameMemoryBank(NttOperator):
    """Form of ``rename_memory_bank``."""

    uses = "rename_memory_bank"
    operator_name = "rename_memory_bank"
    title = "Rename memory bank"
    about = "Give a memory bank another name. Labels that were made with it keep the old one."
    icon = "drive_file_rename_outline"
    risk = types.RiskLevel.MEDIUM
    parameters = ("name", "new_name")
    submit = "Rename"
    doing = "Renaming"

    def form(self, ctx: Any, inputs: types.Object) -> None:
        from ...forms import bank_choice

        bank_choice.bank_of_dataset(ctx, inputs)
        bank_choice.new_name(ctx, inputs)

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import rename_memory_bank

        arguments = self.arguments(ctx)
        rename_memory_bank(ctx.dataset, **arguments)
        return Outcome(
            f"The memory bank {arguments['name']!r} is now called {arguments['new_name']!r}."
        )
