"""Operator: compare two segmentations by class."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import fiftyone.operators.types as types

from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import MOST_BY_ID, Outcome
from ...text import Table, listed_briefly, number_of

if TYPE_CHECKING:
    from ....dataset.evaluation.compare import ClassComparison, Comparison

_MOST_CHANGES = 5


class CompareSegmentations(NttOperator):
    """Form of ``compare_segmentations``."""

    operator_name = "compare_segmentations"
    title = "Compare segmentations"
    about = (
        "Compare two fields of labels by class: what both found, what only one found, what they "
        "call otherwise. Use it to see what a changed memory bank or another preset does."
    )
    icon = "compare"
    risk = types.RiskLevel.LOW
    parameters = (
        "label_field",
        "other_field",
        "gt_field",
        "classes",
        "group_slices",
        "include_missing",
    )
    seldom = ("classes", "include_missing")
    submit = "Compare"
    doing = "Comparing"

    def build_form(self, form: Form) -> None:
        from ....dataset.inspect.inventory import label_fields
        from ....dataset.labels.label_field import segmentation_fields
        from ...forms import first_choice, target

        images = target.target(form, "Compare")
        predictions = first_choice.Wanted.PREDICTIONS
        field, first = target.label_field(form, images, "First", "One pass.", wanted=predictions)
        if field is None:
            return
        runs = [name for name in segmentation_fields(form.dataset) if name != field]
        other, second = target.label_field(
            form, images, "Second", "The other pass.", "other_field",
            wanted=predictions, prefer=runs[0] if runs else None, leave_out=field,
        )  # fmt: skip
        if other is None:
            return
        truths = [name for name in label_fields(form.dataset) if name not in (field, other)]
        if truths:
            what_for = "To score both against; none if it is empty."
            form.choice("gt_field", truths, "Ground truth", what_for, required=False)
        if form.advanced(self.seldom):
            form.classes(
                Counter(first.classes) + Counter(second.classes),
                "Only these; all if none is chosen.",
            )
            target.include_missing(form, "Compare samples in which a field was never written")
        target.say_missing(form, images, {field: "segmented", other: "segmented"})
        first = target.of_wanted_classes(form, images, field, first)
        second = target.of_wanted_classes(form, images, other, second)
        form.notice(
            "will_do",
            f"Will compare {number_of('label', first.labels)} with {second.labels:,} in "
            f"{number_of('image', len(images))}. Nothing is changed.",
        )

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import compare_segmentations
        from ....dataset.samples.label_selection import select_labels
        from ....dataset.samples.views import image_view
        from ...forms import target

        arguments = self.arguments(ctx)
        samples = target.target_of(ctx)
        found = compare_segmentations(samples, **arguments, progress=progress)
        shown = found.labels[:MOST_BY_ID]
        images = image_view(samples, arguments.get("group_slices"))
        few = len(shown) == len(found.labels)
        facts = {
            "Other class in the second": _changes(found),
            "Scored": f"average precision of {found.scored}, by pycocotools"
            if found.scored
            else "",
        }
        return Outcome(
            _message(found),
            {name: value for name, value in facts.items() if value},
            str(found.left_out).splitlines(),
            table=_table(found),
            view=select_labels(images, shown) if shown else None,
            view_label="Show what differs" if few else f"Show the first {len(shown):,} that differ",
        )


def _message(found: Comparison) -> str:
    total = found.overall
    if not found.labels:
        return (
            f"{found.label_field!r} and {found.other_field!r} hold the same {total.same:,} objects."
        )
    return (
        f"{found.label_field!r} and {found.other_field!r} agree on {total.same:,} objects; "
        f"{total.relabelled:,} have another class, {total.only_first:,} are in "
        f"{found.label_field!r} alone, {total.only_second:,} in {found.other_field!r} alone."
    )


def _changes(found: Comparison) -> str:
    most = list(found.relabelled.items())[:_MOST_CHANGES]
    return listed_briefly(f"{one} → {other} ({count:,})" for (one, other), count in most)


def _table(found: Comparison) -> Table:
    first, second = found.label_field, found.other_field
    columns = ["Class", first, second, "Same", f"Only {first}", f"Only {second}", "Other class"]
    if found.scored:
        columns += [f"AP {first}", f"AP {second}"]
    rows = [_row("all classes", found.overall), *(_row(*row) for row in found.by_class.items())]
    return Table(columns, [row[: len(columns)] for row in rows])


def _row(label: str, row: ClassComparison) -> list[object]:
    scores = [None if ap is None or ap < 0 else ap for ap in (row.first_ap, row.second_ap)]
    return [
        label,
        row.first,
        row.second,
        row.same,
        row.only_first,
        row.only_second,
        row.relabelled,
        *scores,
    ]
