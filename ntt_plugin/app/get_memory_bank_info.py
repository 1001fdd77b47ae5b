"""Operator: what a memory bank is made of."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from .operator import NttOperator
from .outcome import Outcome
from .progress import Report


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
        """Add the fields to the form."""
        from . import banks

        banks.bank_of_dataset(ctx, inputs)

    def run(self, ctx: Any, progress: Report) -> Outcome:
        """Read what is kept beside the bank."""
        from .. import get_memory_bank_info
        from ..dataset.networks import networks_of

        info = get_memory_bank_info(ctx.dataset, **self.arguments(ctx))
        segmenter, encoder = networks_of(info.recipe)
        facts = {
            "Made": info.created,
            "From": ", ".join(info.sources),
            "Changed since": f"{info.version} times",
            "Preset": info.recipe.name,
            "Segmenter": segmenter,
            "Encoder": encoder,
            "Left out": f"{info.refused} labels" if info.refused else "",
            "Size": f"{info.size / 1e6:.1f} MB",
        }
        facts |= {
            label: f"{shots} references" + _negatives(info.negatives.get(label, 0))
            for label, shots in info.shots.items()
        }
        return Outcome(
            f"{info.name}: {sum(info.shots.values()):,} references of {len(info.shots):,} classes.",
            {name: value for name, value in facts.items() if value},
            info.notes,
        )


def _negatives(count: int) -> str:
    return f", {count} negatives" if count else ""
