"""Operator: find the references of a memory bank that a person should look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import number_of

if TYPE_CHECKING:
    from ....dataset.banks.quality import ReferenceCheck


class CheckReferences(NttOperator):
    """Form of ``check_references``."""

    operator_name = "check_references"
    title = "Check references"
    about = (
        "Find references with a wrong class or a wrong mask: compare them with one another, and "
        "cut each again from its own box. Use it before you segment much with a memory bank."
    )
    icon = "fact_check"
    parameters = ("name", "device")
    seldom = ("device",)
    submit = "Check"
    doing = "Checking the references"

    def build_form(self, form: Form) -> None:
        from ....dataset.banks.banks import get_memory_bank_info
        from ...forms import bank_choice, run_options

        name = bank_choice.bank_of_dataset(form, "It is only looked at.")
        if form.advanced(self.seldom):
            run_options.device(form)
        if name is None:
            return
        info = get_memory_bank_info(form.dataset, name)
        references = number_of("reference", sum(info.shots.values()))
        what = f"Will look at {references}; what is found is kept with the dataset."
        run_options.announce(form, what, info.recipe)

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import check_references

        arguments = self.arguments(ctx)
        checks = check_references(ctx.dataset, **arguments, progress=progress)
        references = [check for check in checks if not check.negative]
        flagged = [check for check in checks if check.flags]
        cut = [check.recut_iou for check in references if check.recut_iou is not None]
        facts = {"Cut again from their boxes": f"{len(cut):,} of {len(references):,}"}
        if cut:
            facts["Agreement with their masks"] = f"{sum(cut) / len(cut):.2f} (mean IoU)"
        found = f"{len(flagged):,} to look at" if flagged else "none stands out"
        return Outcome(
            f"{number_of('reference', len(references))} of {arguments['name']!r}: {found}.",
            facts,
            [_in_words(check) for check in flagged],
            view=_shown(ctx.dataset, flagged),
            view_label="Show those to look at",
        )


def _in_words(check: ReferenceCheck) -> str:
    what = "a negative" if check.negative else "a reference"
    source = check.provenance.label or check.id
    return f"{what} of {check.label!r} (label {source}): {'; '.join(check.flags)}"


def _shown(dataset: Any, checks: list[ReferenceCheck]) -> Any:
    """The labels that references came from, in their images; None if none is in the dataset."""
    from ....dataset.samples.label_lookup import find_labels
    from ....dataset.samples.label_selection import select_labels
    from ....dataset.samples.views import all_images

    found = find_labels([check.provenance for check in checks], dataset)
    labels = [label for label in found if label is not None]
    return select_labels(all_images(dataset), labels) if labels else None
