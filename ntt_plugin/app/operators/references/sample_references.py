"""Operator: choose references at random."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types
from fiftyone import ViewField as F

from ...forms import fields
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import number_of

_PROTOCOLS = {
    "spread": "spread: from as many images as there are",
    "paper": "paper: the published protocol, one an image, none small or at the edge",
}


class SampleReferences(NttOperator):
    """Form of ``sample_references``."""

    uses = "sample_references"
    operator_name = "sample_references"
    title = "Sample references"
    about = (
        "Choose a few labels of each class at random and tag them as references. Use it when the "
        "dataset has many masks already and you want a small, repeatable set to build a memory "
        "bank from."
    )
    icon = "casino"
    risk = types.RiskLevel.MEDIUM
    parameters = ("label_field", "shots", "classes", "seed", "tag", "protocol", "group_slices")
    seldom = ("seed", "protocol")
    submit = "Sample"
    doing = "Sampling references"

    def form(self, ctx: Any, inputs: types.Object) -> None:
        from ...forms import target

        images = target.target(ctx, inputs, "Sample from")
        field, counts = target.labels_with_masks(ctx, inputs, images, "The field to choose from.")
        if field is None:
            return
        shots = fields.whole_number(
            ctx, inputs, "shots", "References a class",
            "1 to 10 are usual; more help little beyond 30.", default=10, least=1,
        )  # fmt: skip
        fields.classes(ctx, inputs, counts.classes, "Only these; all if none is chosen.")
        tag = fields.value_of(ctx, "tag", "reference")
        inputs.str(
            "tag",
            default="reference",
            label="Tag",
            description="The label tag that will mark what was chosen.",
        )
        if fields.advanced(ctx, inputs, self.seldom):
            fields.whole_number(ctx, inputs, "seed", "Seed", "Another draws others.", default=51)
            fields.choice(
                ctx,
                inputs,
                "protocol",
                _PROTOCOLS,
                "Protocol",
                "How they are drawn.",
                "spread",
                required=False,
            )
        if shots is not None:
            _say(ctx, inputs, counts, tag, shots)

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import sample_references
        from ...forms import target

        arguments = self.arguments(ctx)
        chosen = sample_references(target.target_of(ctx), **arguments)
        problems = [f"{label}: only {count} found" for label, count in chosen.short.items()]
        problems += [
            f"{number_of('label', count)} passed over: {why}"
            for why, count in chosen.passed_over.items()
        ]
        field = arguments["label_field"]
        return Outcome(
            f"{number_of('reference', len(chosen.label_ids))} tagged {chosen.tag!r}.",
            {"Classes": ", ".join(f"{name} ({n})" for name, n in chosen.counts.items())},
            problems,
            view=target.labels_view(ctx.dataset, field, F("tags").contains(chosen.tag)),
            view_label="Show the references",
            changed=True,
        )


def _say(ctx: Any, inputs: types.Object, counts: Any, tag: str, shots: int) -> None:
    wanted = fields.value_of(ctx, "classes", list(counts.classes))
    short = [name for name in wanted if counts.classes.get(name, 0) < shots]
    text = (
        f"Will tag up to {number_of('label', shots)} of each of "
        f"{number_of('class', len(wanted))} with {tag!r}."
    )
    if short:
        text += f" Fewer labels than that: {fields.listed_briefly(short)}."
    fields.notice(inputs, "will_do", text)
    tagged = counts.tags.get(tag, 0)
    if tagged:
        fields.overwrite(
            ctx,
            inputs,
            f"The tag {tag!r} is taken from {number_of('label', tagged)} that had it before.",
        )
