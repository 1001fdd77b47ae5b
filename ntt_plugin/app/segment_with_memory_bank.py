"""Operator: find a memory bank's classes in images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators.types as types

from . import fields
from .operator import NttOperator
from .outcome import Outcome
from .progress import Report

_SELDOM = ("preset", "device", "batch_size", "mask_dir", "cache")

if TYPE_CHECKING:
    from ..dataset.bank_info import BankInfo


class SegmentWithMemoryBank(NttOperator):
    """Form of ``segment``."""

    uses = "segment"
    operator_name = "segment_with_memory_bank"
    title = "Segment with memory bank"
    about = (
        "Find the classes of a memory bank in images and write their masks as labels. Use it "
        "on unlabelled images; a run that was interrupted goes on where it stopped."
    )
    icon = "auto_awesome"
    risk = types.RiskLevel.HIGH
    parameters = (
        "bank",
        "label_field",
        "device",
        "batch_size",
        "overwrite",
        "bank_dataset",
        "preset",
        "group_slices",
        "mask_dir",
        "cache",
    )
    submit = "Segment"
    doing = "Segmenting"

    def form(self, ctx: Any, inputs: types.Object) -> None:
        """Add the fields to the form."""
        from ..dataset.estimates import estimate_segmentation
        from ..dataset.networks import networks_of
        from . import banks, running, samples

        images = samples.target(ctx, inputs, "Segment")
        info = banks.any_bank(ctx, inputs)
        field = fields.name_field(
            ctx, inputs, "label_field", "Write to", "The field for the labels.", "label field",
            default="ntt", required=False,
        )  # fmt: skip
        recipe = info.recipe if info else None
        if fields.advanced(ctx, inputs, _SELDOM):
            other = running.preset(
                ctx, inputs, "In place of the one that the bank was made with.", default=None
            )
            recipe = other or recipe
            running.device(ctx, inputs)
            running.batch_size(ctx, inputs)
            running.mask_dir(ctx, inputs)
            running.cache(inputs)
        if info is None or recipe is None or field is None:
            return
        to_do = _field(ctx, inputs, images, field, info, recipe)
        estimate = estimate_segmentation(ctx.dataset, recipe, ctx.params.get("device"), to_do)
        running.announce(
            inputs,
            f"Will write labels into {field!r} of {to_do:,} images.",
            networks_of(recipe),
            estimate,
        )

    def run(self, ctx: Any, progress: Report) -> Outcome:
        """Segment."""
        from .. import segment
        from . import samples

        report = segment(samples.target_of(ctx), **self.arguments(ctx), progress=progress)
        return reported(ctx, report)


def reported(ctx: Any, report: Any) -> Outcome:
    """The end of a run that wrote labels, from its report."""
    written = ctx.dataset.select(report.segmented_ids) if report.segmented_ids else None
    facts = {
        "Images labelled": report.segmented,
        "Labels written": report.instances,
        "From kept proposals": report.from_cache,
        "Done before": report.skipped,
        "Deleted meanwhile": report.deleted,
        "Failed": len(report.failed),
        "Seconds": round(report.seconds, 1),
        "Preset": report.preset,
        "Device": report.device,
    }
    return Outcome(
        f"{report.instances:,} labels in {report.segmented:,} images, in the field "
        f"{report.label_field!r}.",
        {name: value for name, value in facts.items() if value not in (0, "")},
        [f"{note.filepath}: {note.reason}" for note in (*report.failed, *report.notes)],
        view=written,
        view_label="Show these images",
        changed=True,
    )


def _field(
    ctx: Any, inputs: types.Object, images: Any, field: str, info: BankInfo, recipe: Any
) -> int:
    """Say what the field holds already, ask before it is replaced; how many images are to do."""
    from ..dataset.label_field import field_state, run_id

    state = field_state(images, field, run_id(info.digest, recipe))
    if state.foreign:
        fields.mark(
            inputs.properties["label_field"],
            f"{field!r} was not made by a segmentation, so it is not touched; choose another name.",
        )
        return 0
    total = len(state.to_do) + len(state.done) + len(state.others)
    if state.others:
        fields.overwrite(
            ctx,
            inputs,
            f"{len(state.others):,} of these {total:,} images hold labels in {field!r} that "
            "another memory bank, recipe or person made. They will be replaced, and the labels of "
            "this bank made anew.",
        )
        return total
    if state.done:
        inputs.bool(
            "overwrite",
            default=False,
            label="Start anew",
            description=f"{len(state.done):,} of these {total:,} images are done already, and stay "
            "as they are otherwise.",
            view=types.CheckboxView(),
        )
        if ctx.params.get("overwrite"):
            return total
    return len(state.to_do)
