"""Operator: build a memory bank from labels with masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone.operators.constants import ViewTarget

from ...forms.fields import Form, with_counts
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import NextStep, Outcome
from ...text import number_of
from ..references import learning_form

if TYPE_CHECKING:
    from ....dataset.inspect.inventory import FieldCounts


class BuildMemoryBank(NttOperator):
    """Form of ``build_memory_bank``."""

    operator_name = "build_memory_bank"
    title = "Build memory bank"
    about = (
        "Learn classes from labels with masks, without training: one feature for each reference. "
        "Use it once a few references of each class are selected or tagged."
    )
    icon = "library_add"
    parameters = (
        "label_field",
        "name",
        "tag",
        "classes",
        "preset",
        "device",
        "sample_tag",
        "group_slices",
        "estimate",
        "overwrite",
    )
    seldom = ("classes", "device", "sample_tag")
    submit = "Build"
    doing = "Building the memory bank"

    def build_form(self, form: Form) -> None:
        from ....dataset.banks.banks import list_memory_banks
        from ...forms import run_options, target

        images = target.target(form, "Learn from", labels=True)
        field, counts = target.labels_with_masks(form, images, "The field of the references.")
        if field is None:
            return
        name = form.name("name", "Name", "What to call the bank.", "memory bank", default="bank")
        tag = label_tag(form, counts)
        recipe = run_options.preset(form, "The networks and constants to use.")
        if form.advanced(self.seldom):
            form.classes(counts.classes, "Only these; all if none is chosen.")
            run_options.device(form)
            sample_tag(form, images)
        learning_form.estimate(form)
        if recipe is None or name is None:
            return
        number = references(form, counts, tag)
        run_options.announce(
            form,
            f"Will save the bank {name!r} with up to {number_of('reference', number)}.",
            recipe,
        )
        if name in list_memory_banks(form.dataset):
            form.overwrite(f"There is a memory bank {name!r} already.")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import build_memory_bank, load_references_view
        from ...forms import target

        view = target.target_of(ctx, labels=True)
        arguments = target.without_slices(view, self.arguments(ctx))
        bank = build_memory_bank(view, **arguments, progress=progress)
        return Outcome(
            f"The memory bank {arguments['name']!r} is ready: "
            f"{number_of('reference', len(bank))} of {number_of('class', len(bank.classes))}.",
            {"Classes": ", ".join(f"{label} ({bank.shots(label)})" for label in bank.classes)},
            learning_form.refused_in_words(bank.refused),
            view=load_references_view(ctx.dataset, arguments["name"]),
            view_label="Show the references",
            next_step=NextStep(
                "Segment images with it",
                "segment_with_memory_bank",
                # Not the few samples or labels that were selected as references.
                {"bank": arguments["name"], "view_target": ViewTarget.DATASET},
            ),
        )


def sample_tag(form: Form, images: Any) -> None:
    """Which samples' labels, by the samples' tags."""
    tags, what_for = (
        with_counts(images.count_sample_tags()),
        "Only labels of samples with this tag.",
    )
    form.choice("sample_tag", tags, "Sample tag", what_for, required=False)


def label_tag(form: Form, counts: FieldCounts) -> str | None:
    """Which labels, by their tags; those tagged as references at first."""
    words = with_counts(counts.tags)
    if not words and form.value("tag") is None:
        return None
    return form.choice(
        "tag",
        words,
        "Label tag",
        "Only labels with this tag; all labels if none is chosen.",
        required=False,
        suggested="reference" if "reference" in words else None,
    )


def references(form: Form, counts: FieldCounts, tag: str | None) -> int:
    """How many labels are asked for, at most."""
    wanted = form.value("classes", list(counts.classes))
    number = sum(counts.classes.get(name, 0) for name in wanted)
    return min(number, counts.tags.get(tag, 0)) if tag else number
