"""Operator: save confidence thresholds with a memory bank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....errors import NttError
from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import NextStep, Outcome
from ...text import Table, listed_briefly, number_of

if TYPE_CHECKING:
    from ....dataset.banks.best_threshold import Threshold


class SaveThresholds(NttOperator):
    """Form of ``save_thresholds``."""

    operator_name = "save_thresholds"
    title = "Save thresholds"
    about = (
        "Find for each class the confidence that maximises F1 in an evaluation, and keep it with "
        "the memory bank. Use it after an evaluation, before Apply thresholds."
    )
    icon = "tune"
    parameters = ("bank", "eval_key")
    submit = "Save"
    doing = "Finding thresholds"

    def build_form(self, form: Form) -> None:
        from ....dataset.inspect.inventory import evaluations
        from ...forms import bank_choice, target

        scored = evaluations(form.dataset)
        key = _evaluation(form, scored)
        maker = bank_choice.maker_of_field(form.dataset, scored.get(key or "", ""))
        bank = bank_choice.bank_of_dataset(form, "It keeps the thresholds.", "bank", maker)
        if key is None or bank is None:
            return
        try:
            values, without = target.asked_once(form, form.dataset, _found, key, bank)
        except NttError as error:
            form.mark("eval_key", str(error))
            return
        if not values:
            form.mark(
                "bank",
                f"{key!r} has no threshold for any class of {bank!r}; choose another evaluation, "
                "or the bank that made its predictions.",
            )
            return
        shown = listed_briefly(f"{label} {value:.2f}" for label, value in values.items())
        left = f" {without:,} other classes have none there." if without else ""
        form.notice("will_do", f"Will keep with {bank!r}: {shown}.{left}")
        kept = bank_choice.thresholds_of(form.dataset, bank)
        if kept and kept != values:
            form.overwrite(f"{bank!r} keeps thresholds of {number_of('class', len(kept))} already.")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import save_thresholds
        from ....dataset.banks.thresholds import find_thresholds
        from ....dataset.inspect.inventory import evaluations

        arguments = self.arguments(ctx)
        saved = save_thresholds(ctx.dataset, **arguments)
        found, without = find_thresholds(ctx.dataset, arguments["eval_key"])
        others = [f"{label!r} is no class of the bank." for label in found if label not in saved]
        params = {
            "bank": arguments["bank"],
            "label_field": evaluations(ctx.dataset)[arguments["eval_key"]],
        }
        return Outcome(
            f"The memory bank {arguments['bank']!r} keeps thresholds of "
            f"{number_of('class', len(saved))}.",
            table=_table({label: found[label] for label in saved}),
            problems=[*without.values(), *others],
            next_step=NextStep("Apply thresholds", "apply_thresholds", params),
        )


def _evaluation(form: Form, scored: dict[str, str]) -> str | None:
    """The choice of an evaluation, the latest at first; None while there is none."""
    if not scored:
        form.problem(
            "no_evaluation",
            f"{form.dataset.name!r} has no evaluation by COCO's rules yet. Make one with the "
            "operator Evaluate segmentation.",
        )
        return None
    return form.choice(
        "eval_key",
        {name: f"{name} (of {field})" for name, field in scored.items()},
        "Evaluation",
        "Where the thresholds are found.",
        default=list(scored)[-1],
        required=False,
    )


def _table(found: dict[str, Threshold]) -> Table:
    columns = ["Class", "Threshold", "F1 of all", "F1 from it on", "Precision", "Recall"]
    rows = [
        [label, entry.value, entry.f1_without, entry.f1, entry.precision, entry.recall]
        for label, entry in found.items()
    ]
    return Table(columns, rows)


def _found(dataset: Any, key: str, bank: str) -> tuple[dict[str, float], int]:
    """The thresholds that would be kept, and how many classes would have none."""
    from ....dataset.banks.banks import get_memory_bank_info
    from ....dataset.banks.thresholds import find_thresholds

    held = get_memory_bank_info(dataset, bank).shots
    found, without = find_thresholds(dataset, key)
    values = {label: entry.value for label, entry in found.items() if label in held}
    return values, len(without) + len(found) - len(values)
