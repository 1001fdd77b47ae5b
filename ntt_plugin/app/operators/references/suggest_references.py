"""Operator: suggest which labels to add next."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import fiftyone.operators.types as types

from ...forms.fields import Form, value_of
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome, notes_in_words
from ...text import Table, number_of

_FIELD = "suggestions"
_MOST_REASONS = 20
_WHAT_NOW = (
    "Give those with a wrong class the right one, select what is good and use Promote to "
    "references; what shows no object goes to Add as negatives."
)


class SuggestReferences(NttOperator):
    """Form of ``suggest_references``."""

    operator_name = "suggest_references"
    title = "Suggest references"
    about = (
        "Show the objects that would teach a memory bank most: typical ones that its references "
        "do not stand for yet, each with one line why. Use it to decide what to label next; "
        "correct the class where it is wrong, then use Promote to references."
    )
    icon = "lightbulb"
    risk = types.RiskLevel.HIGH
    parameters = (
        "bank",
        "count",
        "field",
        "bank_dataset",
        "preset",
        "group_slices",
        "device",
        "batch_size",
        "overwrite",
        "cache",
        "workers",
    )
    seldom = ("preset", "device", "batch_size", "cache", "workers")
    submit = "Suggest"
    doing = "Looking for what would teach most"

    def build_form(self, form: Form) -> None:
        from ...forms import bank_choice, run_options, target

        images = target.target(form, "Look for suggestions in")
        info = bank_choice.any_bank(form)
        count = form.whole_number("count", "Suggestions", "The most to show.", default=20, least=1)
        what_for = "The field for the suggestions."
        field = form.name("field", "Write to", what_for, "label field", _FIELD, required=False)
        recipe = info.recipe if info else None
        if form.advanced(self.seldom):
            recipe = run_options.recipe_for(form, recipe)
            run_options.cache(form)
            run_options.workers(form)
        if info is None or recipe is None or field is None or count is None:
            return
        if not _may_replace(form, images, field):
            return
        run_options.announce(
            form,
            f"Will look through {number_of('image', len(images))} and write suggestions into "
            f"{field!r}; former ones go. Nothing else is changed.",
            recipe,
            run_options.estimate_images(form, images, recipe, len(images)),
        )

    def watch(self, ctx: Any) -> Generator[Any, None, Outcome]:
        """Call the SDK, then open the patches; the page that tells what to do lies over them."""
        outcome = yield from super().watch(ctx)
        yield ctx.ops.reload_dataset()
        if outcome.view is not None:
            yield ctx.ops.set_view(outcome.view)
            # The App shows a field that was switched off before by nothing but a bare crop.
            yield ctx.ops.set_active_fields([value_of(ctx, "field", _FIELD)])
        return outcome

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import suggest_references
        from ...forms import target

        found = suggest_references(target.target_of(ctx), **self.arguments(ctx), progress=progress)
        count = len(found.label_ids)
        message = (
            f"{number_of('suggestion', count)} out of {number_of('image', found.images)}. "
            f"{_WHAT_NOW}"
            if count
            else f"There is nothing in these {found.images:,} images that would teach the bank "
            "anything new."
        )
        facts = {
            "Suggestions": count,
            "Images looked at": found.images,
            "Failed": len(found.failed),
            "Seconds": round(found.seconds, 1),
        }
        return Outcome(
            message,
            {name: value for name, value in facts.items() if value != 0},
            notes_in_words(found),
            table=_reasons(found),
            view=found.view if count else None,
            view_label="Show the suggestions",
        )


def _reasons(found: Any) -> Table | None:
    """The first suggestions in the order of the patches, each with what it is taken for and why."""
    if not found.label_ids:
        return None
    labels = found.view.values(f"{found.label_field}.label")
    rows = list(zip(labels, found.reasons.values(), strict=True))
    return Table(["Taken for", "Why it is suggested"], rows[:_MOST_REASONS], texts=2)


def _may_replace(form: Form, images: Any, field: str) -> bool:
    """Whether the field can take suggestions; asks before anything of a person's is replaced."""
    from ....dataset.suggestions.suggest import former_suggestions
    from ....errors import DatasetError
    from ...forms import target

    try:
        former = target.asked_once(form, images, former_suggestions, field)
    except DatasetError as error:
        form.mark("field", str(error))
        return False
    if former.changed:
        form.overwrite(
            f"{number_of('label', former.changed)} in {field!r} that a person drew, tagged or gave "
            "another class, no references yet. Promote them first; else they go."
        )
    return True
