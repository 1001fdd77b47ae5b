"""Operator: score labels against ground truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators.types as types

from ....errors import DatasetError
from ...forms.fields import Form
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

    def build_form(self, form: Form) -> None:
        from ....dataset.evaluation.fiftyone_evaluation import require_free_key
        from ...forms import target
        from ...forms.first_choice import Wanted

        images = target.target(form, "Score")
        field, predicted = target.label_field(
            form, images, "Predictions", "The labels to score.", wanted=Wanted.PREDICTIONS
        )
        if field is None:
            return
        truth, counts = target.label_field(
            form, images, "Ground truth", "The true labels.", "gt_field", leave_out=field
        )
        if truth is None:
            return
        listed_as = "Under which the App lists it."
        key = form.name("eval_key", "Evaluation's name", listed_as, "evaluation", f"{field}_eval")
        form.inputs.bool(
            "masks",
            default=True,
            label="Score masks",
            description="Beside boxes. Labels without a mask are left out then.",
        )
        if form.advanced(self.seldom):
            # Predictions can be of classes that no true label has.
            offered = {**dict.fromkeys(predicted.classes, 0), **counts.classes}
            form.classes(dict(sorted(offered.items())), "Only these; all if none is chosen.")
            target.include_missing(form, "Score samples in which a field was never written")
        target.say_missing(form, images, {field: "segmented", truth: "labelled"})
        predicted = target.of_wanted_classes(form, images, field, predicted)
        counts = target.of_wanted_classes(form, images, truth, counts)
        if form.ctx.params.get("masks", True):
            _say_without_mask(form, {field: predicted, truth: counts})
        if key is None:
            return
        try:
            require_free_key(images, key, field, truth)
        except DatasetError as error:
            form.mark("eval_key", str(error))
            return
        form.notice(
            "will_do",
            f"Will compare {number_of('label', predicted.labels)} with {counts.labels:,} true ones "
            f"in {number_of('image', len(images))} and mark each in {field!r} and {truth!r} under "
            f"{key!r}.",
        )
        if key in form.dataset.list_evaluations():
            form.overwrite(f"There is an evaluation {key!r} already.")

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


def _say_without_mask(form: Form, held: dict[str, FieldCounts]) -> None:
    """Warn of labels that have no mask to be scored; mark where a field has none at all."""
    for name, counts in held.items():
        if counts.labels and not counts.masks:
            form.mark(
                "masks",
                f"No label to score in {name!r} has a mask: switch this off to score boxes alone.",
            )
            return
    bare = sum(counts.labels - counts.masks for counts in held.values())
    if bare:
        form.notice(
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
