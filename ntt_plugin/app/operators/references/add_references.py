"""Operator: mark selected labels as references, and those selected with Alt as negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators.types as types

from ....errors import DatasetError
from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import number_of
from . import learning_form

if TYPE_CHECKING:
    from ....dataset.banks.info import BankInfo


class AddReferences(NttOperator):
    """Form of ``add_references``, with ``add_negatives`` for what was selected with Alt."""

    operator_name = "add_references"
    title = "Add references"
    about = (
        "Tag labels as references, and what you selected with Alt as negatives. Use it on labels "
        "or samples that you selected, before you build a memory bank, or to teach one more."
    )
    icon = "add_task"
    parameters = learning_form.PARAMETERS
    seldom = learning_form.SELDOM
    submit = "Add"
    doing = "Adding the references"

    def resolve_placement(self, ctx: Any) -> types.Placement:
        """A button: in the sample viewer while a sample is open, else above the grid."""
        place = types.Places.SAMPLES_GRID_ACTIONS
        if ctx.current_sample is not None:
            place = types.Places.SAMPLES_VIEWER_ACTIONS
        button = types.Button(label=self.title, icon=self.icon, prompt=True)
        return types.Placement(place, button)

    def build_form(self, form: Form) -> None:
        from ....dataset.banks.banks import list_memory_banks
        from ...forms import target

        images = target.target(form, "Add", labels=True)
        what_for = "The field of the references."
        field, counts = target.labels_with_masks(form, images, what_for)
        if field is None:
            return
        names = list_memory_banks(form.dataset)
        info = None
        if names:
            info = learning_form.bank_that_learns(
                form, names, "A bank that learns them at once; none, to tag them alone."
            )
        learning_form.tag_and_seldom(form, "reference", counts)
        _say(form, field, info)

    def run(self, ctx: Any, progress: Report) -> Outcome:
        """Mark, and learn if a bank is given: references first, negatives of their classes then."""
        from .... import add_negatives, add_references
        from ....dataset.banks.add_references import mark_negatives

        given = self.arguments(ctx)
        parts = []
        plain = _part(ctx, given, alt=False)
        if plain is not None:
            view, arguments = plain
            parts.append(add_references(view, **arguments, progress=progress))
        with_alt = _part(ctx, given, alt=True)
        if with_alt is not None:
            view, arguments = with_alt
            del arguments["tag"]
            if "bank" in arguments:
                parts.append(add_negatives(view, **arguments, progress=progress))
            else:
                arguments.pop("device", None)
                parts.append(mark_negatives(view, **arguments))
        if not parts:
            raise DatasetError("No label of these classes is chosen; choose others.")
        return learning_form.taught(ctx, given["label_field"], parts)


def _part(ctx: Any, given: dict[str, Any], alt: bool) -> tuple[Any, dict[str, Any]] | None:
    """What was chosen with Alt or without it, with the arguments for it; None if nothing was."""
    from ....dataset.inspect.inventory import count_labels
    from ....dataset.samples.views import image_view
    from ...forms import selection, target

    view = selection.chosen_labels(ctx, alt)
    if view is None:
        return None
    arguments = {"tag": "reference", **target.without_slices(view, given)}
    arguments["label_field"] = _field(ctx, given["label_field"], alt)
    if "classes" in arguments:
        images = image_view(view, arguments.get("group_slices"))
        here = count_labels(images, arguments["label_field"]).classes
        arguments["classes"] = [name for name in arguments["classes"] if name in here]
        if not arguments["classes"]:
            return None
    return view, arguments


def _field(ctx: Any, field: str, alt: bool) -> str:
    """The field of the labels: predictions may be negatives beside references of another field."""
    from ...forms import selection

    return (selection.field_of_selection(ctx, alt=True) or field) if alt else field


def _counts(form: Form, field: str, alt: bool) -> dict[str, int]:
    from ....dataset.samples.views import image_view
    from ...forms import selection, target

    view = selection.chosen_labels(form.ctx, alt)
    if view is None:
        return {}
    images = image_view(view, target.without_slices(view, form.ctx.params).get("group_slices"))
    return learning_form.wanted(form, target.counted(form, images, _field(form.ctx, field, alt)))


def _say(form: Form, field: str, info: BankInfo | None) -> None:
    plain, with_alt = _counts(form, field, alt=False), _counts(form, field, alt=True)
    tag = form.value("tag", "reference")
    parts = [
        f"{number_of('label', sum(classes.values()))} with {name!r}{how}: "
        f"{learning_form.in_words(classes)}"
        for classes, name, how in (
            (plain, tag, ""),
            (with_alt, "negative", ", those selected with Alt"),
        )
        if classes
    ]
    kept = learning_form.where_copied(form.dataset, field)
    text = f"Will tag {'; and '.join(parts) or 'nothing'}.{kept}"
    if info is None:
        form.notice("will_do", text)
        return
    text += f" Will teach them to {info.name!r}."
    learning_form.announce_learning(form, text, info)
