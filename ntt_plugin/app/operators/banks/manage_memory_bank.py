"""Operators: rename, duplicate, merge and delete memory banks."""

from __future__ import annotations

from collections import Counter
from typing import Any

import fiftyone.operators.types as types

from ....errors import BankError
from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import number_of
from ..references import learning_form


class _UnderNewName(NttOperator):
    """What the forms of a new name share: a bank of the dataset, and the name."""

    parameters = ("name", "new_name")

    def build_form(self, form: Form) -> None:
        from ...forms import bank_choice

        bank_choice.bank_of_dataset(form)
        bank_choice.new_name(form)


class RenameMemoryBank(_UnderNewName):
    """Form of ``rename_memory_bank``."""

    operator_name = "rename_memory_bank"
    title = "Rename memory bank"
    about = "Give a memory bank another name. Labels that were made with it keep the old one."
    icon = "drive_file_rename_outline"
    submit = "Rename"
    doing = "Renaming"

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import rename_memory_bank

        arguments = self.arguments(ctx)
        rename_memory_bank(ctx.dataset, **arguments)
        return Outcome(
            f"The memory bank {arguments['name']!r} is now called {arguments['new_name']!r}."
        )


class DuplicateMemoryBank(_UnderNewName):
    """Form of ``duplicate_memory_bank``."""

    operator_name = "duplicate_memory_bank"
    title = "Duplicate memory bank"
    about = (
        "Save a copy of a memory bank under another name. Use it before you try a change, to "
        "compare the two."
    )
    icon = "content_copy"
    submit = "Duplicate"
    doing = "Copying"

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


class MergeMemoryBanks(NttOperator):
    """Form of ``merge_memory_banks``."""

    operator_name = "merge_memory_banks"
    title = "Merge memory banks"
    about = (
        "Save what several memory banks hold as one bank. Use it to find the classes of all of "
        "them in one run; the banks themselves stay."
    )
    icon = "merge"
    parameters = ("names", "new_name", "overwrite")
    submit = "Merge"
    doing = "Merging"

    def build_form(self, form: Form) -> None:
        from ....dataset.banks.banks import memory_bank_infos
        from ...forms import bank_choice

        found = memory_bank_infos(form.dataset)
        if not found:
            raise bank_choice.no_bank(form.dataset.name)
        infos = {name: info for name, info in found.items() if not isinstance(info, BankError)}
        damaged = [str(error) for error in found.values() if isinstance(error, BankError)]
        words = {
            name: f"{name} ({number_of('class', len(info.shots))})" for name, info in infos.items()
        }
        what_for = "Two or more; the first gives its recipe."
        form.several("names", words, "Memory banks", what_for, required=True)
        if damaged:
            form.notice("damaged", "\n".join(damaged), types.Warning)
        new_name = form.name("new_name", "New name", "What to call the new one.", "memory bank")
        if len(infos) < 2:
            there = f"{next(iter(infos))!r} is the only" if infos else "There is no"
            form.mark(
                "names",
                f"{there} {'whole ' if damaged else ''}memory bank here; build or import another "
                "to merge it with.",
            )
            return
        chosen = list(dict.fromkeys(form.value("names", [])))
        if len([name for name in chosen if name in infos]) < max(2, len(chosen)):
            form.mark("names", "Choose two or more of these banks.")
            return
        makers = {infos[name].made_by for name in chosen}
        if len(makers) > 1:
            form.mark(
                "names",
                "Different encoders made these banks, so their features cannot be compared; "
                "choose banks of one encoder.",
            )
            return
        shots: Counter[str] = Counter()
        for name in chosen:
            shots.update(infos[name].shots)
        form.notice("will_do", f"Will hold up to {learning_form.in_words(shots)}.")
        if new_name in found:
            form.overwrite(f"There is a memory bank {new_name!r} already.")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import merge_memory_banks

        arguments = self.arguments(ctx)
        bank = merge_memory_banks(ctx.dataset, **arguments)
        return Outcome(
            f"The memory bank {arguments['new_name']!r} is ready: "
            f"{number_of('reference', len(bank))} of {number_of('class', len(bank.classes))}.",
            {"Classes": ", ".join(f"{label} ({bank.shots(label)})" for label in bank.classes)},
        )
