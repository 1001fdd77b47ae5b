"""Operator: compute proposals ahead of time."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo

from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome, notes_in_words
from ...text import number_of


class ComputeProposals(NttOperator):
    """Form of ``propose``."""

    uses = "propose"
    operator_name = "compute_proposals"
    title = "Compute proposals"
    about = (
        "Compute ahead of time all that segmenting needs of images whatever the memory bank, and "
        "keep it on disk. Use it before you try several banks or settings on the same images: "
        "each then takes milliseconds an image."
    )
    icon = "grain"
    parameters = ("preset", "device", "batch_size", "group_slices")
    seldom = ("device", "batch_size")
    submit = "Compute"
    doing = "Computing proposals"

    @property
    def config(self) -> foo.OperatorConfig:
        config = super().config
        # Delegated by default: it takes long and nobody waits for its result.
        config.default_choice_to_delegated = True
        return config

    def build_form(self, form: Form) -> None:
        from ...forms import run_options, target

        images = target.target(form, "Compute proposals of")
        recipe = run_options.preset(form, "The one that the memory bank is to be used with.")
        if form.advanced(self.seldom):
            run_options.device(form)
            run_options.batch_size(form)
        if recipe is None:
            return
        run_options.announce(
            form,
            f"Will keep the proposals of {number_of('image', len(images))} on disk; the dataset "
            "stays as it is. Images whose proposals are kept already are passed over.",
            recipe,
            run_options.estimate_images(form, images, recipe, len(images)),
        )

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import propose
        from ...forms import target

        report = propose(target.target_of(ctx), **self.arguments(ctx), progress=progress)
        facts = {
            "Computed": report.computed,
            "Kept before": report.from_cache,
            "Deleted meanwhile": report.deleted,
            "Failed": len(report.failed),
            "Seconds": round(report.seconds, 1),
            "Preset": report.preset,
            "Device": report.device,
        }
        return Outcome(
            f"The proposals of {number_of('image', report.computed + report.from_cache)} are kept; "
            f"{report.computed:,} were computed now.",
            {name: value for name, value in facts.items() if value not in (0, "")},
            notes_in_words(report),
        )
