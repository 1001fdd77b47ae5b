"""Operator: add right predictions to a memory bank as references."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators.types as types

from ...forms import fields
from ...runtime.progress import Report
from ...text import number_of
from . import learning_form

if TYPE_CHECKING:
    from ....dataset.banks.add_references import AddedReferences
    from ....dataset.banks.info import BankInfo


class PromoteReferences(learning_form.TeachingOperator):
    """Form of ``add_references`` for predictions."""

    uses = "add_references"
    operator_name = "promote_references"
    title = "Promote to references"
    about = (
        "Teach predictions that are right to the memory bank that made them, or to another. Use "
        "it on the good ones that you selected after a first pass, then segment again."
    )
    icon = "thumb_up"
    risk = types.RiskLevel.MEDIUM
    downloads = True
    submit = "Promote"
    doing = "Learning the references"
    action = "Promote"
    kind = "right"
    tag = "reference"
    bank_required = False

    def announce(
        self, ctx: Any, inputs: types.Object, field: str, classes: dict[str, int], info: BankInfo
    ) -> None:
        number = sum(classes.values())
        text = (
            f"Will teach {info.name!r} up to {number_of('reference', number)}: "
            f"{learning_form.in_words(classes)}."
        )
        new = [name for name in classes if name not in info.shots]
        if new:
            text += f" New to it: {fields.listed_briefly(new)}."
        text += learning_form.where_copied(ctx.dataset, field)
        learning_form.announce_learning(inputs, text, info)

    def teach(self, view: Any, arguments: dict[str, Any], progress: Report) -> AddedReferences:
        from .... import add_references

        return add_references(view, **arguments, progress=progress)
