"""Operators: show what a memory bank is made of, and its references."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import fiftyone.operators.types as types

from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import number_of

if TYPE_CHECKING:
    from ....dataset.banks.info import BankInfo


class GetMemoryBankInfo(NttOperator):
    """Form of ``get_memory_bank_info``."""

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

    def build_form(self, form: Form) -> None:
        from ...forms import bank_choice

        bank_choice.bank_of_dataset(form)

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


class LoadReferencesView(NttOperator):
    """Form of ``load_references_view``."""

    operator_name = "load_references_view"
    title = "Load references view"
    about = (
        "Show the labels that a memory bank learned from, in their images. Use it to see why a "
        "bank finds what it finds."
    )
    icon = "photo_library"
    risk = types.RiskLevel.LOW
    parameters = ("name",)
    submit = "Show"
    doing = "Looking up the references"

    def build_form(self, form: Form) -> None:
        from ...forms import bank_choice

        bank_choice.bank_of_dataset(form)

    def watch(self, ctx: Any) -> Generator[Any, None, Outcome]:
        """Call the SDK without a progress bar, which would stay open over the view."""
        yield from ()
        return self.run(ctx, lambda _: None)

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import load_references_view

        arguments = self.arguments(ctx)
        view = load_references_view(ctx.dataset, **arguments)
        return Outcome(
            f"The references of {arguments['name']!r} are in {number_of('image', len(view))}.",
            {"Images": len(view)},
            view=view,
            open_view=True,
        )
