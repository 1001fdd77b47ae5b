"""Operator: several memory banks become one."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from . import fields, teaching
from .operator import NttOperator
from .outcome import Outcome
from .progress import Report


class MergeMemoryBanks(NttOperator):
    """Form of ``merge_memory_banks``."""

    uses = "merge_memory_banks"
    operator_name = "merge_memory_banks"
    title = "Merge memory banks"
    about = (
        "Save what several memory banks hold as one bank. Use it to find the classes of all of "
        "them in one run; the banks themselves stay."
    )
    icon = "merge"
    risk = types.RiskLevel.MEDIUM
    parameters = ("names", "new_name", "overwrite")
    submit = "Merge"
    doing = "Merging"

    def form(self, ctx: Any, inputs: types.Object) -> None:
        """Add the fields to the form."""
        from ..dataset.banks import get_memory_bank_info, list_memory_banks
        from . import banks

        found = list_memory_banks(ctx.dataset)
        if not found:
            raise banks.no_bank(ctx.dataset.name)
        infos = {name: get_memory_bank_info(ctx.dataset, name) for name in found}
        words = {name: f"{name} ({len(info.shots)} classes)" for name, info in infos.items()}
        fields.several(
            inputs, "names", words, "Memory banks", "Two or more; the first gives its recipe.",
            required=True,
        )  # fmt: skip
        new_name = fields.name_field(
            ctx, inputs, "new_name", "New name", "What to call the new one.", "memory bank"
        )
        if len(found) == 1:
            fields.mark(
                inputs.properties["names"],
                f"{found[0]!r} is the only memory bank here; build or import another to merge it "
                "with.",
            )
            return
        chosen = list(dict.fromkeys(fields.value_of(ctx, "names", [])))
        if len([name for name in chosen if name in infos]) < max(2, len(chosen)):
            fields.mark(inputs.properties["names"], "Choose two or more of these banks.")
            return
        makers = {infos[name].made_by for name in chosen}
        if len(makers) > 1:
            fields.mark(
                inputs.properties["names"],
                "Different encoders made these banks, so their features cannot be compared; "
                "choose banks of one encoder.",
            )
            return
        shots: dict[str, int] = {}
        for name in chosen:
            for label, count in infos[name].shots.items():
                shots[label] = shots.get(label, 0) + count
        fields.notice(inputs, "will_do", f"Will hold up to {teaching.in_words(shots)}.")
        if new_name in found:
            fields.overwrite(ctx, inputs, f"There is a memory bank {new_name!r} already.")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        """Merge the banks."""
        from .. import merge_memory_banks

        arguments = self.arguments(ctx)
        bank = merge_memory_banks(ctx.dataset, **arguments)
        return Outcome(
            f"The memory bank {arguments['new_name']!r} is ready: {len(bank):,} references of "
            f"{len(bank.classes):,} classes.",
            {"Classes": ", ".join(f"{label} ({bank.shots(label)})" for label in bank.classes)},
        )
