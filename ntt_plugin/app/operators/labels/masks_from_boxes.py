"""Operator: compute masks for boxes, written to a new field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import fiftyone.operators.types as types

from ...forms.fields import Form, with_counts
from ...request import is_app
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import MOST_BY_ID, NextStep, Outcome
from ...text import Table, number_of
from .segment_with_memory_bank import reported

if TYPE_CHECKING:
    from ....dataset.inspect.box_masks import BoxMask
    from ....engine.recipe import Recipe
    from ...forms.run_options import Held


_MOST_WORST = 8


class MasksFromBoxes(NttOperator):
    """Form of ``masks_from_boxes``."""

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
        "workers",
    )
    seldom = ("tag", "device", "batch_size", "mask_dir", "workers")
    submit = "Fill masks"
    doing = "Filling masks"

    def build_form(self, form: Form) -> None:
        from ...forms import run_options, target

        images = target.target(form, "Fill masks in", labels=True)
        field, counts = target.label_field(
            form, images, "Boxes", "The field with the boxes.", prefer=_bare_boxes(form, images)
        )
        if field is None:
            return
        new_field = form.name(
            "new_field", "Write to", "The field for the masks.", "label field", f"{field}_masks"
        )
        form.classes(counts.classes, "Only these; all if none is chosen.")
        recipe = run_options.preset(form, "The segmenter to use.", run_options.segmenter_alone)
        if form.advanced(self.seldom):
            tags, what_for = with_counts(counts.tags), "Only boxes with this tag."
            form.choice("tag", tags, "Label tag", what_for, required=False)
            run_options.device(form)
            run_options.batch_size(form)
            run_options.mask_dir(form)
            run_options.workers(form)
        if recipe is None or new_field is None or not counts.labels:
            return
        if new_field == field:
            form.mark(
                "new_field",
                f"{field!r} is the field of the boxes, which stays as it is; choose another name.",
            )
            return
        if form.inputs.properties["classes"].invalid:
            return
        classes = tuple(form.value("classes", ())) or None
        found, boxes_to_do, boxes = target.asked_once(
            form, images, _held, field, new_field, recipe, form.value("tag"), classes
        )
        others = "other boxes, another recipe or a person"
        to_do = run_options.ask_to_replace(form, images, "new_field", new_field, found, others)
        if to_do is None:
            return
        if to_do == found.total:
            boxes_to_do = boxes
        run_options.announce(
            form,
            f"Will write up to {number_of('mask', boxes_to_do)} into {new_field!r} of "
            f"{number_of('image', to_do)}; {field!r} stays as it is.",
            recipe,
            needed=run_options.segmenter_alone,
        )

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import masks_from_boxes
        from ....dataset.inspect.box_masks import worst_box_masks
        from ....dataset.inspect.colours import colour_by_class
        from ....dataset.samples.views import all_images
        from ...forms import target

        report = masks_from_boxes(target.target_of(ctx), **self.arguments(ctx), progress=progress)
        outcome = reported(ctx, report)
        colour_by_class(ctx.dataset, in_app=is_app(ctx))
        worst = worst_box_masks(ctx.dataset, report.label_field)
        outcome.table = _worst_first(worst)
        if outcome.view is not None and len(report.segmented_ids) <= MOST_BY_ID:
            written = set(report.segmented_ids)
            worst_first = [mask.key.sample for mask in worst if mask.key.sample in written]
            ids = list(dict.fromkeys([*worst_first, *report.segmented_ids]))
            outcome.view = all_images(ctx.dataset).select(ids, ordered=True)
        outcome.next_step = NextStep(
            "Build a memory bank", "build_memory_bank", {"label_field": report.label_field}
        )
        return outcome


def _worst_first(worst: Sequence[BoxMask]) -> Table | None:
    rows = [[mask.filename, mask.label, mask.box_iou] for mask in worst[:_MOST_WORST]]
    return (
        Table(["Worst fits: image", "Class", "IoU with its box"], rows, texts=2) if rows else None
    )


def _bare_boxes(form: Form, images: Any) -> str:
    """The first field whose labels all lack a mask, ground truth before others."""
    from ....dataset.inspect.inventory import label_fields
    from ...forms import target

    for name in sorted(label_fields(form.dataset), key=lambda name: name != "ground_truth"):
        counts = target.counted(form, images, name)
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
    from ...forms.run_options import counts

    wanted = wanted_boxes(images, field, tag, classes)
    runs = {sample: boxes_run_id(field, ids, recipe) for sample, ids in wanted.items()}
    state = field_state(images.select(list(wanted)), new_field, runs)
    to_do = sum(len(wanted[sample]) for sample in state.to_do)
    return counts(state), to_do, sum(map(len, wanted.values()))
