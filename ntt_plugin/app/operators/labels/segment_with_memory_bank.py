"""Operator: segment images with a memory bank."""

from __future__ import annotations

from itertools import chain, count
from typing import Any

import fiftyone.operators.types as types

from ...forms.fields import Form
from ...request import is_app
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import MOST_BY_ID, Outcome, notes_in_words
from ...text import number_of


class SegmentWithMemoryBank(NttOperator):
    """Form of ``segment``."""

    uses = "segment"
    operator_name = "segment_with_memory_bank"
    title = "Segment with memory bank"
    about = (
        "Find the classes of a memory bank in images and write their masks as labels. Use it "
        "on unlabelled images; a run that was interrupted goes on where it stopped."
    )
    icon = "auto_awesome"
    risk = types.RiskLevel.HIGH
    parameters = (
        "bank",
        "label_field",
        "device",
        "batch_size",
        "overwrite",
        "bank_dataset",
        "preset",
        "group_slices",
        "mask_dir",
        "cache",
        "workers",
        "proposals",
        "min_confidence",
        "tile",
    )
    seldom = (
        "preset",
        "device",
        "batch_size",
        "mask_dir",
        "cache",
        "workers",
        "proposals",
        "min_confidence",
    )
    submit = "Segment"
    doing = "Segmenting"

    def build_form(self, form: Form) -> None:
        from ....dataset.labels.label_field import run_id
        from ...forms import bank_choice, proposal_sources, run_options, target

        images = target.target(form, "Segment")
        info = bank_choice.any_bank(form)
        what_for = "The field for the labels."
        first = _field_at_first(form, info.name if info else None)
        field = form.name("label_field", "Write to", what_for, "label field", first, required=False)
        recipe = info.recipe if info else None
        if form.advanced(self.seldom):
            recipe = run_options.recipe_for(form, recipe)
            run_options.mask_dir(form)
            run_options.cache(form)
            run_options.workers(form)
            proposal_sources.sources(form, images)
        if info is None or recipe is None or field is None:
            return
        recipe = proposal_sources.tiles(form, images, recipe)
        chosen = proposal_sources.chosen_sources(form, images, field)
        if chosen is None:
            return
        run = run_id(info.digest, recipe, with_candidates=bool(chosen.fields))
        found = target.asked_once(form, images, proposal_sources.held, field, run, chosen)
        others = _made_by(form.dataset, field, info.name)
        to_do = run_options.ask_to_replace(form, images, "label_field", field, found, others)
        if to_do is None:
            return
        # Those that are done are left alone; their proposals say nothing of the others'.
        left = images.exists(field, bool=False) if to_do < found.total else images
        run_options.announce(
            form,
            f"Will write labels into {field!r} of {number_of('image', to_do)}.",
            recipe,
            run_options.estimate_images(form, left, recipe, to_do),
        )

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import segment
        from ....dataset.inspect.colours import colour_by_class
        from ...forms import target

        report = segment(target.target_of(ctx), **self.arguments(ctx), progress=progress)
        colour_by_class(ctx.dataset, in_app=is_app(ctx))
        outcome = reported(ctx, report)
        if outcome.view is not None:
            _hide_below(ctx.dataset, report, outcome)
        return outcome


_FIELD = "ntt"


def _field_at_first(form: Form, bank: str | None) -> str:
    """The field that was used last, or ``ntt``; a new one where another bank made them."""
    if not form.is_of_app:
        return _FIELD
    from ....dataset.database.run_record import read_facts

    there = set(form.dataset.get_field_schema())
    numbered = (f"{_FIELD}_{number}" for number in count(2))
    for name in chain([form.last_used("label_field") or _FIELD, _FIELD], numbered):
        made = read_facts(form.dataset, name).get("bank") if name in there else bank
        if name not in there or (bank is not None and made == bank):
            return str(name)
    raise AssertionError("numbers do not end")


def _made_by(dataset: Any, field: str, bank: str) -> str:
    """What made the labels that a run would replace, in words."""
    from ....dataset.database.run_record import read_facts

    made = read_facts(dataset, field).get("bank")
    if made == bank:
        return f"the memory bank {bank!r} as it was before, or another recipe,"
    return "another memory bank, recipe or person" if made is None else f"the memory bank {made!r}"


def _hide_below(dataset: Any, report: Any, outcome: Outcome) -> None:
    """Show what is above the bank's thresholds, where it keeps some; the rest is hidden only."""
    from .... import apply_thresholds
    from ...forms.bank_choice import thresholds_of

    thresholds = thresholds_of(dataset, report.bank)
    if not thresholds:
        return
    applied = apply_thresholds(
        outcome.view, report.label_field, thresholds=thresholds, action="hide"
    )
    if not applied.below:
        return
    outcome.view = applied.view
    outcome.view_label = f"{outcome.view_label}, without the doubtful labels"
    outcome.facts = {
        **outcome.facts,
        "Below their thresholds": f"{applied.below:,}, hidden and not deleted",
    }


def reported(ctx: Any, report: Any) -> Outcome:
    """The end of a run that wrote labels, from its report."""
    from ....dataset.samples.views import all_images

    images, ids = all_images(ctx.dataset), report.segmented_ids
    few = len(ids) <= MOST_BY_ID
    written = images.select(ids) if few else images.exists(report.label_field)
    facts = {
        "Images labelled": report.segmented,
        "Labels written": report.instances,
        "From kept proposals": report.from_cache,
        "Done before": report.skipped,
        "Labels of people that stay": report.kept,
        "Left out beside them": report.overlapping,
        "Labels of people taken away": report.dropped,
        "Deleted meanwhile": report.deleted,
        "Failed": len(report.failed),
        "Seconds": round(report.seconds, 1),
        "Seconds to start workers": report.start_seconds,
        "Preset": report.preset,
        "Device": report.device,
    }
    return Outcome(
        f"{number_of('label', report.instances)} in {number_of('image', report.segmented)}, in "
        f"the field {report.label_field!r}.",
        {name: value for name, value in facts.items() if value not in (0, "")},
        notes_in_words(report),
        view=written if ids else None,
        view_label="Show these images" if few else f"Show all images with {report.label_field!r}",
        changed=True,
    )
