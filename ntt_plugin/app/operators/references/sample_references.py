"""Operator: choose references at random."""

from __future__ import annotations

from typing import Any

from fiftyone import ViewField as F

from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import listed_briefly, number_of

_PROTOCOLS = {
    "spread": "spread: from as many images as there are",
    "paper": "paper: the published protocol, one an image, none small or at the edge",
}


class SampleReferences(NttOperator):
    """Form of ``sample_references``."""

    operator_name = "sample_references"
    title = "Sample references"
    about = (
        "Choose a few labels of each class at random and tag them as references. Use it when the "
        "dataset has many masks already and you want a small, repeatable set to build a memory "
        "bank from."
    )
    icon = "casino"
    parameters = ("label_field", "shots", "classes", "seed", "tag", "protocol", "group_slices")
    seldom = ("seed", "protocol")
    submit = "Sample"
    doing = "Sampling references"

    def build_form(self, form: Form) -> None:
        from ...forms import target

        images = target.target(form, "Sample from")
        field, counts = target.labels_with_masks(form, images, "The field to choose from.")
        if field is None:
            return
        usual = "1 to 10 are usual; more help little beyond 30."
        shots = form.whole_number("shots", "References a class", usual, default=10, least=1)
        form.classes(counts.classes, "Only these; all if none is chosen.")
        tag = form.value("tag", "reference")
        form.text("tag", "Tag", "The label tag that will mark what was chosen.", "reference")
        if form.advanced(self.seldom):
            form.whole_number("seed", "Seed", "Another draws others.", default=51)
            form.choice(
                "protocol", _PROTOCOLS, "Protocol", "How they are drawn.", "spread", required=False
            )
        if shots is not None:
            _say(form, counts, tag, shots)

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


def _say(form: Form, counts: Any, tag: str, shots: int) -> None:
    wanted = form.value("classes", list(counts.classes))
    short = [name for name in wanted if counts.classes.get(name, 0) < shots]
    text = (
        f"Will tag up to {number_of('label', shots)} of each of "
        f"{number_of('class', len(wanted))} with {tag!r}."
    )
    if short:
        text += f" Fewer labels than that: {listed_briefly(short)}."
    form.notice("will_do", text)
    tagged = counts.tags.get(tag, 0)
    if tagged:
        form.overwrite(
            f"The tag {tag!r} is taken from {number_of('label', tagged)} that had it before."
        )
