"""Operator: show the content of a memory bank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators.types as types

from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import number_of

if TYPE_CHECKING:
    from ....dataset.banks.info import BankInfo


class GetMemoryBankInfo(NttOperator):
    """Form of ``get_memory_bank_info``."""

    uses = "get_memory_bank_info"
    operator_name = "get_memory_bank_info"
    title = "Get memory bank info"
    about = (
        "Show what a memory bank is made of: classes, references, networks, when and from what it "
        "was made. Use it before you use a bank that you did not make."
    )
    icon = "info"
    risk = types.RiskLevel.LOW
    parameters = ("name",)
    submit = "Show"
    doing = "Reading"

    def form(self, ctx: Any, inputs: types.Object) -> None:
        from ...forms import bank_choice

        bank_choice.bank_of_dataset(ctx, inputs)

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import get_memory_bank_info
        from ....dataset.networks import networks_of

        info = get_memory_bank_info(ctx.dataset, **self.arguments(ctx))
        segmenter, encoder = networks_of(info.recipe)
        facts = {
            "Classes": ", ".join(_class(info, label) for label in info.shots),
            "Made": f"{info.created[:19].replace('T', ' ')} UTC",
            "From": ", ".join(info.sources),
            "Preset": info.recipe.name,
            "Segmenter": segmenter,
            "Encoder": encoder,
            "Left out": number_of("label", info.refused) if info.refused else "",
            "Size": f"{info.size / 1000:,.0f} KB",
        }
        return Outcome(
            f"{info.name}: {number_of('reference', sum(info.shots.values()))} of "
            f"{number_of('class', len(info.shots))}.",
            {name: value for name, value in facts.items() if value},
            info.notes,
        )


def _class(info: BankInfo, label: str) -> str:
    negatives = info.negatives.get(label, 0)
    beside = f", {number_of('negative', negatives)}" if negatives else ""
    return f"{label} ({info.shots[label]}{beside})"
