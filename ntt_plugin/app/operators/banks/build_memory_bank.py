"""Operator: build a memory bank from labels with masks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import fiftyone.operators.types as types
from fiftyone.operators.constants import ViewTarget

from ...forms import fields
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import NextStep, Outcome
from ...text import number_of

if TYPE_CHECKING:
    from ....dataset.inspect.inventory import FieldCounts


class BuildMemoryBank(NttOperator):
    """Form of ``build_memory_bank``."""

    uses = "build_memory_bank"
    operator_name = "build_memory_bank"
    title = "Build memory bank"
    about = (
        "Learn classes from labels with masks, without training: one feature for each reference. "
        "Use it once a few references of each class are selected or tagged."
    )
    icon = "library_add"
    risk = types.RiskLevel.MEDIUM
    downloads = True
    parameters = (
        "label_field",
        "name",
        "tag",
        "classes",
        "preset",
        "device",
        "sample_tag",
        "group_slices",
        "overwrite",
    )
    seldom = ("classes", "device", "sample_tag")
    submit = "Build"
    doing = "Building the memory bank"

    def form(self, ctx: Any, inputs: types.Object) -> None:
        from ....dataset.banks.banks import list_memory_banks
        from ....dataset.networks import networks_of
        from ...forms import run_options, target

        images = target.target(ctx, inputs, "Learn from", labels=True)
        field, counts = target.labels_with_masks(
            ctx, inputs, images, "The field of the references."
        )
        if field is None:
            return
        name = fields.name_field(
            ctx, inputs, "name", "Name", "What to call the bank.", "memory bank", default="bank"
        )
        tag = label_tag(ctx, inputs, counts)
        recipe = run_options.preset(ctx, inputs, "The networks and constants to use.")
        if fields.advanced(ctx, inputs, self.seldom):
            fields.classes(ctx, inputs, counts.classes, "Only these; all if none is chosen.")
            run_options.device(ctx, inputs)
            sample_tag(ctx, inputs, images)
        if recipe is None or name is None:
            return
        number = references(ctx, counts, tag)
        run_options.announce(
            inputs,
            f"Will save the bank {name!r} with up to {number_of('reference', number)}.",
            networks_of(recipe),
        )
        if name in list_memory_banks(ctx.dataset):
            fields.overwrite(ctx, inputs, f"There is a memory bank {name!r} already.")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import build_memory_bank, load_references_view
        from ...forms import target

        view = target.target_of(ctx, labels=True)
        arguments = target.without_slices(view, self.arguments(ctx))
        bank = build_memory_bank(view, **arguments, progress=progress)
        reasons = Counter(refused.reason for refused in bank.refused)
        return Outcome(
            f"The memory bank {arguments['name']!r} is ready: "
            f"{number_of('reference', len(bank))} of "
            f"{number_of('class', len(bank.classes))}.",
            {"Classes": ", ".join(f"{label} ({bank.shots(label)})" for label in bank.classes)},
            [f"{number_of('label', count)}: {reason}" for reason, count in reasons.items()],
            view=load_references_view(ctx.dataset, arguments["name"]),
            view_label="Show the references",
            next_step=NextStep(
                "Segment images with it",
                "segment_with_memory_bank",
                # Not the few samples or labels that were selected as references.
                {"bank": arguments["name"], "view_target": ViewTarget.DATASET},
            ),
        )


def sample_tag(ctx: Any, inputs: types.Object, images: Any) -> None:
    """Which samples' labels, by the samples' tags."""
    counts = images.count_sample_tags()
    fields.choice(
        ctx,
        inputs,
        "sample_tag",
        {name: f"{name} ({count:,})" for name, count in counts.items()},
        "Sample tag",
        "Only labels of samples with this tag.",
        required=False,
    )


def label_tag(ctx: Any, inputs: types.Object, counts: FieldCounts) -> str | None:
    """Which labels, by their tags; those tagged as references at first."""
    words = {name: f"{name} ({count:,})" for name, count in counts.tags.items()}
    if not words and fields.value_of(ctx, "tag") is None:
        return None
    return fields.choice(
        ctx,
        inputs,
        "tag",
        words,
        "Label tag",
        "Only labels with this tag; all labels if none is chosen.",
        required=False,
        suggested="reference" if "reference" in words else None,
    )


def references(ctx: Any, counts: FieldCounts, tag: str | None) -> int:
    """How many labels are asked for, at most."""
    wanted = fields.value_of(ctx, "classes", list(counts.classes))
    number = sum(counts.classes.get(name, 0) for name in wanted)
    return min(number, counts.tags.get(tag, 0)) if tag else number
