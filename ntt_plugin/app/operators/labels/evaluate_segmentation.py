"""Operator: score labels against ground truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators.types as types

from ....errors import DatasetError
from ...forms import fields
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import NextStep, Outcome, PanelButton
from ...text import number_of

if TYPE_CHECKING:
    from ....dataset.inspect.inventory import FieldCounts

_FIGURES = {"AP": "AP", "AP50": "AP at IoU 0.50", "AP75": "AP at IoU 0.75"}


class EvaluateSegmentation(NttOperator):
    """Form of ``evaluate``."""

    uses = "evaluate"
    operator_name = "evaluate_segmentation"
    title = "Evaluate segmentation"
    about = (
        "Score labels against ground truth with COCO's average precision, by pycocotools and for "
        "the Model Evaluation panel. Use it wherever part of the dataset has true masks."
    )
    icon = "query_stats"
    risk = types.RiskLevel.MEDIUM
    parameters = (
        "label_field",
        "gt_field",
        "eval_key",
        "masks",
        "classes",
        "group_slices",
        "include_missing",
    )
    seldom = ("classes", "include_missing")
    submit = "Evaluate"
    doing = "Evaluating"

    def form(self, ctx: Any, inputs: types.Object) -> None:
        from ....dataset.evaluation.fiftyone_evaluation import require_free_key
        from ...forms import target

        images = target.target(ctx, inputs, "Score")
        field, predicted = target.label_field(
            ctx, inputs, images, "label_field", "Predictions", "The labels to score.", prefer="ntt"
        )
        if field is None:
            return
        truth, counts = target.label_field(
            ctx, inputs, images, "gt_field", "Ground truth", "The true labels.", leave_out=field
        )
        if truth is None:
            return
        key = fields.name_field(
            ctx, inputs, "eval_key", "Evaluation's name", "Under which the App lists it.",
            "evaluation", default=f"{field}_eval",
        )  # fmt: skip
        inputs.bool(
            "masks",
            default=True,
            label="Score masks",
            description="Beside boxes. Labels without a mask are left out then.",
        )
        if fields.advanced(ctx, inputs, self.seldom):
            # Predictions can be of classes that no true label has.
            offered = {**dict.fromkeys(predicted.classes, 0), **counts.classes}
            fields.classes(
                ctx, inputs, dict(sorted(offered.items())), "Only these; all if none is chosen."
            )
            target.include_missing(inputs, "Score samples in which a field was never written")
        target.say_missing(ctx, inputs, images, {field: "segmented", truth: "labelled"})
        predicted = target.of_wanted_classes(ctx, images, field, predicted)
        counts = target.of_wanted_classes(ctx, images, truth, counts)
        if ctx.params.get("masks", True):
            _say_without_mask(inputs, {field: predicted, truth: counts})
        if key is None:
            return
        try:
            require_free_key(images, key, field, truth)
        except DatasetError as error:
            fields.mark(inputs.properties["eval_key"], str(error))
            return
        text = (
            f"Will compare {number_of('label', predicted.labels)} with {counts.labels:,} true "
            f"ones in "
            f"{number_of('image', len(images))} and mark each in {field!r} and {truth!r} under "
            f"{key!r}."
        )
        fields.notice(inputs, "will_do", text)
        if key in ctx.dataset.list_evaluations():
            fields.overwrite(ctx, inputs, f"There is an evaluation {key!r} already.")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import LeftOut, coco_figures, evaluate
        from ...forms import target

        arguments = self.arguments(ctx)
        results = evaluate(target.target_of(ctx), **arguments, progress=progress)
        left_out = LeftOut.from_dict(results.config.left_out)
        figures = coco_figures(ctx.dataset, arguments["eval_key"])
        facts = {
            f"{words}, {kind}": f"{getattr(figures, kind)[name]:.3f}"
            for kind in ("segm", "bbox")
            if getattr(figures, kind) is not None
            for name, words in _FIGURES.items()
        }
        return Outcome(
            f"The evaluation {arguments['eval_key']!r} is in the Model Evaluation panel.",
            facts,
            str(left_out).splitlines(),
            changed=True,
            panel=PanelButton("Open the Model Evaluation panel", "model_evaluation_panel_builtin"),
            next_step=_thresholds(ctx, arguments),
        )


def _say_without_mask(inputs: types.Object, held: dict[str, FieldCounts]) -> None:
    """Warn of labels that have no mask to be scored; mark where a field has none at all."""
    for name, counts in held.items():
        if counts.labels and not counts.masks:
            fields.mark(
                inputs.properties["masks"],
                f"No label to score in {name!r} has a mask: switch this off to score boxes alone.",
            )
            return
    bare = sum(counts.labels - counts.masks for counts in held.values())
    if bare:
        fields.notice(
            inputs,
            "left_out",
            f"Left out of all scores: {number_of('label', bare)} without a mask. Switch Score "
            "masks off to score boxes alone, or make masks first with the operator Masks from "
            "boxes.",
            types.Warning,
        )


def _thresholds(ctx: Any, arguments: dict[str, Any]) -> NextStep | None:
    """Save thresholds, where the dataset keeps the memory bank that made the predictions."""
    from ...forms.bank_choice import maker_of_field

    bank = maker_of_field(ctx.dataset, arguments["label_field"]).now
    if bank is None:
        return None
    params = {"bank": bank, "eval_key": arguments["eval_key"]}
    return NextStep("Save thresholds", "save_thresholds", params)
