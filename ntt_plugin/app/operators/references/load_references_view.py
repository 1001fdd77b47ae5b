"""Operator: show the references of a memory bank."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import fiftyone.operators.types as types

from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import number_of


class LoadReferencesView(NttOperator):
    """Form of ``load_references_view``."""

    uses = "load_references_view"
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

    def form(self, ctx: Any, inputs: types.Object) -> None:
        from ...forms import bank_choice

        bank_choice.bank_of_dataset(ctx, inputs)

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
