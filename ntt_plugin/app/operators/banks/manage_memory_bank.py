"""Operators: rename, duplicate and delete a memory bank."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ....errors import BankError
from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome


class RenameMemoryBank(NttOperator):
    """Form of ``rename_memory_bank``."""

    operator_name = "rename_memory_bank"
    title = "Rename memory bank"
    about = "Give a memory bank another name. Labels that were made with it keep the old one."
    icon = "drive_file_rename_outline"
    parameters = ("name", "new_name")
    submit = "Rename"
    doing = "Renaming"

    def build_form(self, form: Form) -> None:
        from ...forms import bank_choice

        bank_choice.bank_of_dataset(form)
        bank_choice.new_name(form)

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import rename_memory_bank

        arguments = self.arguments(ctx)
        rename_memory_bank(ctx.dataset, **arguments)
        return Outcome(
            f"The memory bank {arguments['name']!r} is now called {arguments['new_name']!r}."
        )


class DuplicateMemoryBank(NttOperator):
    """Form of ``duplicate_memory_bank``."""

    operator_name = "duplicate_memory_bank"
    title = "Duplicate memory bank"
    about = (
        "Save a copy of a memory bank under another name. Use it before you try a change, to "
        "compare the two."
    )
    icon = "content_copy"
    parameters = ("name", "new_name")
    submit = "Duplicate"
    doing = "Copying"

    def build_form(self, form: Form) -> None:
        from ...forms import bank_choice

        bank_choice.bank_of_dataset(form)
        bank_choice.new_name(form)

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import duplicate_memory_bank

        arguments = self.arguments(ctx)
        duplicate_memory_bank(ctx.dataset, **arguments)
        return Outcome(
            f"The memory bank {arguments['new_name']!r} is a copy of {arguments['name']!r}."
        )


class DeleteMemoryBank(NttOperator):
    """Form of ``delete_memory_bank``."""

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

    def build_form(self, form: Form) -> None:
        from ....dataset.banks.banks import get_memory_bank_info
        from ...forms import bank_choice

        name = bank_choice.bank_of_dataset(form)
        if name is None:
            return
        try:
            told = bank_choice.in_words(get_memory_bank_info(form.dataset, name))
        except BankError as error:  # a damaged one can still be deleted
            told = str(error)
        form.notice(
            "will_do",
            f"Will delete for good: {told} What was segmented with it stays.",
            types.Warning,
        )
        form.confirm("Delete it for good")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import delete_memory_bank

        arguments = self.arguments(ctx)
        delete_memory_bank(ctx.dataset, **arguments)
        return Outcome(f"The memory bank {arguments['name']!r} is deleted.")
