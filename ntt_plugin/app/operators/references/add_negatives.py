"""Operator: add wrong predictions to a memory bank as negatives."""

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


class AddNegatives(learning_form.TeachingOperator):
    """Form of ``add_negatives``."""

    uses = "add_negatives"
    operator_name = "add_negatives"
    title = "Add as negatives"
    about = (
        "Teach a memory bank what it takes for a class and is not, so that the like of it scores "
        "lower. Use it on wrong predictions that you selected after a first pass, then segment "
        "again."
    )
    icon = "thumb_down"
    risk = types.RiskLevel.MEDIUM
    downloads = True
    submit = "Add"
    doing = "Learning the negatives"
    action = "Take as negatives"
    kind = "wrong"
    tag = "negative"
    bank_required = True

    def announce(
        self, ctx: Any, inputs: types.Object, field: str, classes: dict[str, int], info: BankInfo
    ) -> None:
        known = {name: count for name, count in classes.items() if name in info.shots}
        unknown = [name for name in classes if name not in info.shots]
        if unknown:
            fields.notice(
                inputs,
                "unknown",
                f"{info.name!r} does not have the class {fields.listed_briefly(unknown)}; such "
                "labels are left out.",
                types.Warning,
            )
        number = sum(known.values())
        text = (
            f"Will teach {info.name!r} up to {number_of('negative', number)}, each of the "
            f"class that it "
            f"carries: {learning_form.in_words(known)}."
            f"{learning_form.where_copied(ctx.dataset, field)}"
        )
        learning_form.announce_learning(inputs, text, info)

    def teach(self, view: Any, arguments: dict[str, Any], progress: Report) -> AddedReferences:
        from .... import add_negatives

        return add_negatives(view, **arguments, progress=progress)
