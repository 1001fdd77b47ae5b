"""Operator: masks from boxes, into a field of their own."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from . import fields
from .operator import NttOperator
from .outcome import Outcome
from .progress import Report
from .segment_with_memory_bank import reported

_SELDOM = ("tag", "device", "batch_size", "mask_dir")


class MasksFromBoxes(NttOperator):
    """Form of ``masks_from_boxes``."""

    uses = "masks_from_boxes"
    operator_name = "masks_from_boxes"
    title = "Masks from boxes"
    about = (
        "Cut the object out of each box and write the masks into a new field. Use it when your "
        "labels are boxes only: look at the masks, then build a memory bank from the good ones."
    )
    icon = "highlight_alt"
    risk = types.RiskLevel.HIGH
    parameters = (
        "label_field",
        "new_field",
        "preset",
        "device",
        "batch_size",
        "overwrite",
        "tag",
        "classes",
        "group_slices",
        "mask_dir",
    )
    submit = "Fill masks"
    doing = "Filling masks"

    def form(self, ctx: Any, inputs: types.Object) -> None:
        """Add the fields to the form."""
        from ..dataset.estimates import estimate_boxes
        from ..dataset.networks import networks_of
        from . import running, samples

        images = samples.target(ctx, inputs, "Fill masks in", labels=True)
        field, counts = samples.label_field(
            ctx, inputs, images, "label_field", "Boxes", "The field with the boxes."
        )
        if field is None:
            return
        new_field = fields.name_field(
            ctx, inputs, "new_field", "Write to", "The field for the masks.", "label field",
            default=f"{field}_masks",
        )  # fmt: skip
        fields.classes(ctx, inputs, counts.classes, "Only these; all if none is chosen.")
        recipe = running.preset(ctx, inputs, "The segmenter to use.")
        if fields.advanced(ctx, inputs, _SELDOM):
            fields.choice(
                ctx,
                inputs,
                "tag",
                {name: f"{name} ({count:,})" for name, count in counts.tags.items()},
                "Label tag",
                "Only boxes with this tag.",
                required=False,
            )
            running.device(ctx, inputs)
            running.batch_size(ctx, inputs)
            running.mask_dir(ctx, inputs)
        if recipe is None or new_field is None:
            return
        wanted = fields.value_of(ctx, "classes", list(counts.classes))
        boxes = sum(counts.classes.get(name, 0) for name in wanted)
        running.announce(
            inputs,
            f"Will write up to {boxes:,} masks into {new_field!r}; {field!r} stays as it is.",
            networks_of(recipe),
            estimate_boxes(recipe, ctx.params.get("device"), len(images), boxes),
        )
        if ctx.dataset.has_field(new_field) and images.exists(new_field).limit(1):
            fields.overwrite(ctx, inputs, f"The field {new_field!r} holds labels already.")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        """Fill the masks."""
        from .. import masks_from_boxes
        from . import samples

        report = masks_from_boxes(samples.target_of(ctx), **self.arguments(ctx), progress=progress)
        return reported(ctx, report)
