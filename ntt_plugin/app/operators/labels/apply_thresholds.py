"""Operator: tag or hide labels below a memory bank's thresholds."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from ....dataset.samples.checks import listed, quoted
from ....errors import DatasetError, NttError
from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import Table, listed_briefly, number_of
from ..references import learning_form

if TYPE_CHECKING:
    from ....dataset.banks.thresholds import AppliedThresholds

_ACTIONS = {
    "tag": "tag: mark what is below with a label tag",
    "hide": "hide: show a view without it",
}


class ApplyThresholds(NttOperator):
    """Form of ``apply_thresholds``."""

    operator_name = "apply_thresholds"
    title = "Apply thresholds"
    about = (
        "Tag or hide the labels below the thresholds that a memory bank keeps; nothing is deleted. "
        "Use it after Save thresholds, to see the labels that can be trusted."
    )
    icon = "filter_alt"
    parameters = ("label_field", "bank", "own_thresholds", "action", "tag", "group_slices")
    submit = "Apply"
    doing = "Applying thresholds"

    def build_form(self, form: Form) -> None:
        from ....dataset.samples.checks import require_tag
        from ...forms import bank_choice, first_choice, target

        images = target.target(form, "Apply to")
        predictions = first_choice.Wanted.PREDICTIONS
        field, counts = target.label_field(
            form, images, "Predictions", "The labels to look at.", wanted=predictions
        )
        if field is None:
            return
        typed = _typed(form, counts.classes)
        bank = None
        if not form.value("own_thresholds"):
            maker = bank_choice.maker_of_field(form.dataset, field)
            bank = bank_choice.bank_of_dataset(
                form, "It keeps the thresholds.", "bank", maker, required=False
            )
            if bank is None and maker.gone:
                form.mark("bank", "Choose the bank that keeps the thresholds.")
        action = form.choice(
            "action", _ACTIONS, "What to do", "Nothing is deleted.", default="tag", required=False
        )
        tag = "below_threshold"
        if action == "tag":
            tag = form.value("tag", tag)
            what_for = "It is taken from the labels that are no longer below."
            form.text("tag", "Label tag", what_for, default="below_threshold")
            try:
                require_tag(tag)
            except NttError as error:
                form.mark("tag", str(error))
                return
        if (bank is None and not typed) or action is None or not counts.labels:
            return
        limits = typed or bank_choice.thresholds_of(form.dataset, str(bank))
        if not limits:
            form.mark(
                "bank",
                f"{bank!r} keeps no thresholds. Find some with the operator Estimate thresholds, "
                "or with Save thresholds after an evaluation; or type them below Thresholds.",
            )
            return
        below = target.asked_once(form, images, _below, field, tuple(limits.items()))
        does = f"tag {below:,} with {tag!r}" if action == "tag" else f"hide {below:,}"
        without = [label for label in counts.classes if label not in limits]
        left = f" {listed_briefly(without)}: no threshold, left alone." if without else ""
        form.notice("will_do", f"Of {number_of('label', counts.labels)} will {does}.{left}")

    def watch(self, ctx: Any) -> Generator[Any, None, Outcome]:
        """Call the SDK; before a view without a progress bar, which would stay open over it."""
        if ctx.params.get("action") != "hide":
            return (yield from super().watch(ctx))
        yield from ()
        return self.run(ctx, lambda _: None)

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import apply_thresholds
        from ...forms import target

        arguments = self.arguments(ctx)
        if typed := arguments.pop("own_thresholds", None):
            arguments["thresholds"] = _by_class(typed)
            arguments.pop("bank", None)
        found = apply_thresholds(target.target_of(ctx), **arguments)
        hidden = arguments.get("action") == "hide"
        field = arguments["label_field"]
        tag = arguments.get("tag", "below_threshold")
        does = "hidden" if hidden else f"tagged {tag!r}"
        total = found.below + found.above + sum(found.without.values())
        message = (
            f"Of {number_of('label', total)} in {field!r} {found.below:,} are below their "
            f"thresholds, and {does}."
        )
        if hidden and found.without:
            # The view opens at once, without the page that tells it.
            message += f" No threshold: {learning_form.in_words(dict(found.without))}; left alone."
        return Outcome(
            message,
            table=_table(found),
            problems=[
                f"{label!r} has no threshold; {number_of('label', count)} left alone."
                for label, count in found.without.items()
            ],
            view=found.view if hidden or found.below else None,
            view_label="Show the others" if hidden else "Show what is below",
            open_view=hidden,
            changed=not hidden,
        )


_ONE = re.compile(r"\s*(?P<label>\S.*?)\s*=\s*(?P<value>[0-9.]+)\s*(?:,|$)")


def _typed(form: Form, classes: Mapping[str, int]) -> dict[str, float]:
    """Add the thresholds that a person types; what cannot be used is marked, and gives none."""
    what_for = "In place of a bank's: class=0.5, other class=0.7. Empty: those of the bank."
    form.text("own_thresholds", "Thresholds", what_for)
    given = form.value("own_thresholds")
    if given is None:
        return {}
    try:
        found = _by_class(given)
    except NttError as error:
        form.mark("own_thresholds", str(error))
        return {}
    unknown = [label for label in found if label not in classes]
    if unknown:
        form.mark("own_thresholds", f"No label of class {listed(unknown)} here; take it out.")
        return {}
    return found


def _by_class(text: str) -> dict[str, float]:
    """Thresholds by class from what a person typed.

    Raises:
        DatasetError: it cannot be read, or one is no number from 0 to 1.
    """
    from ....dataset.banks.thresholds import check_thresholds

    found: dict[str, float] = {}
    start = 0
    while start < len(text):
        one = _ONE.match(text, start)
        try:
            if one is None:
                raise ValueError
            found[one["label"]] = float(one["value"])
        except ValueError:
            part = quoted(text[start:].strip())
            raise DatasetError(
                f"{part} cannot be read; write class=0.5, other class=0.7."
            ) from None
        start = one.end()
    return check_thresholds(found)


def _table(found: AppliedThresholds) -> Table:
    rows = [
        [label, counts.threshold, counts.below, counts.above]
        for label, counts in found.by_class.items()
    ]
    return Table(["Class", "Threshold", "Below", "From it on"], rows)


def _below(images: Any, field: str, limits: tuple[tuple[str, float], ...]) -> int:
    from ....dataset.banks.thresholds import is_below

    # A stranger's bank may name more classes than a query has room for.
    there = set(images.distinct(f"{field}.detections.label"))
    below = images.filter_labels(field, is_below({k: v for k, v in limits if k in there}))
    return int(below.count(f"{field}.detections"))
