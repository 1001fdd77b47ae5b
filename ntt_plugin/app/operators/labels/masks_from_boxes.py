"""Operator: compute masks for boxes, written to a new field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators.types as types

from ...forms import fields
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import number_of
from .segment_with_memory_bank import reported

if TYPE_CHECKING:
    from ....engine.recipe import Recipe
    from ...forms.output_field import Held


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
    downloads = True
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
    seldom = ("tag", "device", "batch_size", "mask_dir")
    submit = "Fill masks"
    doing = "Filling masks"

    def form(self, ctx: Any, inputs: types.Object) -> None:
        from ....dataset.networks import networks_of
        from ...forms import output_field, run_options, target

        images = target.target(ctx, inputs, "Fill masks in", labels=True)
        field, counts = target.label_field(
            ctx, inputs, images, "label_field", "Boxes", "The field with the boxes.",
            prefer=_bare_boxes(ctx, images),
        )  # fmt: skip
        if field is None:
            return
        new_field = fields.name_field(
            ctx, inputs, "new_field", "Write to", "The field for the masks.", "label field",
            default=f"{field}_masks",
        )  # fmt: skip
        fields.classes(ctx, inputs, counts.classes, "Only these; all if none is chosen.")
        recipe = run_options.preset(ctx, inputs, "The segmenter to use.")
        if fields.advanced(ctx, inputs, self.seldom):
            fields.choice(
                ctx,
                inputs,
                "tag",
                {name: f"{name} ({count:,})" for name, count in counts.tags.items()},
                "Label tag",
                "Only boxes with this tag.",
                required=False,
            )
            run_options.device(ctx, inputs)
            run_options.batch_size(ctx, inputs)
            run_options.mask_dir(ctx, inputs)
        if recipe is None or new_field is None or not counts.labels:
            return
        if new_field == field:
            fields.mark(
                inputs.properties["new_field"],
                f"{field!r} is the field of the boxes, which stays as it is; choose another name.",
            )
            return
        if inputs.properties["classes"].invalid:
            return
        classes = tuple(fields.value_of(ctx, "classes", ())) or None
        found, boxes_to_do, boxes = target.asked_once(
            ctx, images, _held, field, new_field, recipe, fields.value_of(ctx, "tag"), classes
        )
        others = "other boxes, another recipe or a person"
        to_do = output_field.ask(ctx, inputs, "new_field", new_field, found, others)
        if to_do is None:
            return
        if to_do == found.total:
            boxes_to_do = boxes
        run_options.announce(
            inputs,
            f"Will write up to {number_of('mask', boxes_to_do)} into {new_field!r} of "
            f"{number_of('image', to_do)}; "
            f"{field!r} stays as it is.",
            networks_of(recipe),
        )

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import masks_from_boxes
        from ...forms import target

        report = masks_from_boxes(target.target_of(ctx), **self.arguments(ctx), progress=progress)
        return reported(ctx, report)


def _bare_boxes(ctx: Any, images: Any) -> str:
    """The first field whose labels all lack a mask, ground truth before others."""
    from ....dataset.inspect.inventory import label_fields
    from ...forms import target

    for name in sorted(label_fields(ctx.dataset), key=lambda name: name != "ground_truth"):
        counts = target.counted(ctx, images, name)
        if counts.labels and not counts.masks:
            return name
    return "ground_truth"


def _held(
    images: Any,
    field: str,
    new_field: str,
    recipe: Recipe,
    tag: str | None,
    classes: tuple[str, ...] | None,
) -> tuple[Held, int, int]:
    """What the new field holds, seen from a run; how many boxes it would do, and all of them."""
    from ....dataset.labels.label_field import field_state
    from ....dataset.segmentation.masks_from_boxes import boxes_run_id, wanted_boxes
    from ...forms.output_field import counts

    wanted = wanted_boxes(images, field, tag, classes)
    runs = {sample: boxes_run_id(field, ids, recipe) for sample, ids in wanted.items()}
    state = field_state(images.select(list(wanted)), new_field, runs)
    to_do = sum(len(wanted[sample]) for sample in state.to_do)
    return counts(state), to_do, sum(map(len, wanted.values()))
