"""Operator: thresholds of a memory bank, estimated on its own reference images."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import NextStep, Outcome, notes_of
from ...text import Table, listed_briefly, number_of


class EstimateThresholds(NttOperator):
    """Form of ``estimate_thresholds``."""

    operator_name = "estimate_thresholds"
    title = "Estimate thresholds"
    about = (
        "Find a confidence threshold for each class without ground truth: each reference image is "
        "matched with a memory bank that does not know it. Use it before you review a run."
    )
    icon = "auto_graph"
    parameters = ("bank", "save", "overwrite", "device", "cache")
    seldom = ("save", "device", "cache")
    submit = "Estimate"
    doing = "Estimating thresholds"

    def build_form(self, form: Form) -> None:
        from ....dataset.banks.banks import get_memory_bank_info
        from ...forms import bank_choice, run_options

        bank = bank_choice.bank_of_dataset(form, "Its references are asked.", "bank")
        if form.advanced(self.seldom):
            form.tick("save", "Keep them", "With the bank, marked as estimated.", default=True)
            run_options.device(form)
            run_options.cache(form)
        if bank is None:
            return
        info = get_memory_bank_info(form.dataset, bank)
        what = f"Will match the images of {number_of('reference', sum(info.shots.values()))}"
        kept = form.ctx.params.get("save", True)
        others = [label for label in info.thresholds if label not in info.expected_recalls]
        replaced = info.expected_recalls or (others and form.ctx.params.get("overwrite"))
        end = f"; the thresholds of {bank!r} are replaced." if replaced else "."
        end = end if kept else "; nothing is kept."
        run_options.announce(form, f"{what}, each without its own{end}", info.recipe)
        if kept and others:
            form.notice(
                "replaces",
                f"{bank!r} keeps thresholds of {number_of('class', len(others))} that are not "
                "estimated, but from ground truth or from a person. They stay, unless you tick.",
                types.Warning,
            )
            form.tick("overwrite", "Replace those too")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import estimate_thresholds

        found = estimate_thresholds(ctx.dataset, **self.arguments(ctx), progress=progress)
        rows = [
            [label, entry.value, entry.recall, entry.objects, "yes" if entry.pooled else "no"]
            for label, entry in found.thresholds.items()
        ]
        columns = ["Class", "Threshold", "Expected recall", "Objects", "Of all classes"]
        return Outcome(
            f"Thresholds of {number_of('class', len(found.thresholds))} of {found.bank!r}, "
            f"estimated on {number_of('image', found.images)}.",
            problems=[*_kept(found.kept), *found.without.values(), *notes_of(found.failed)],
            table=Table(columns, rows) if rows else None,
            next_step=NextStep("Apply thresholds", "apply_thresholds", {"bank": found.bank}),
        )


def _kept(classes: list[str]) -> list[str]:
    """What is said of the classes whose threshold in the bank is no estimate, and stays."""
    if not classes:
        return []
    one = len(classes) == 1
    return [
        f"{number_of('class', len(classes))} {'keeps its threshold' if one else 'keep theirs'}, "
        f"from an evaluation or from a person: {listed_briefly(classes, 10)}. Tick Replace those "
        "too to take the estimates."
    ]
