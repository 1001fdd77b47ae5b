"""What the forms that mark labels and teach them to a bank have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fiftyone import ViewField as F
from fiftyone.operators.constants import ViewTarget

from ....dataset.database.fiftyone_internals import view_as_json
from ...forms.fields import Form
from ...runtime.result_page import MOST_BY_ID, NextStep, Outcome
from ...text import listed_briefly, number_of

if TYPE_CHECKING:
    from ....dataset.banks.add_references import AddedReferences
    from ....dataset.banks.info import BankInfo
    from ....dataset.inspect.inventory import FieldCounts
    from ....engine.bank.memory_bank import Refused

PARAMETERS = ("label_field", "bank", "tag", "classes", "group_slices", "device")
SELDOM = ("classes", "device")


def bank_that_learns(
    form: Form,
    names: Sequence[str],
    description: str,
    suggested: str | None = None,
    required: bool = False,
) -> BankInfo | None:
    """The choice of the bank that learns; None while none is chosen."""
    from ....dataset.banks.banks import get_memory_bank_info
    from ...forms import bank_choice

    name = form.choice("bank", names, "Memory bank", description, None, required, suggested)
    if name is None:
        return None
    info = get_memory_bank_info(form.dataset, name)
    form.describe("bank", bank_choice.in_words(info))
    return info


def tag_and_seldom(form: Form, tag: str, counts: FieldCounts) -> None:
    """The tag that marks the labels, and what is seldom needed: classes and device."""
    from ...forms import run_options

    form.text("tag", "Tag", "The label tag that will mark them.", tag)
    if form.advanced(SELDOM):
        form.classes(counts.classes, "Only these; all if none is chosen.")
        run_options.device(form)


def estimate(form: Form) -> None:
    """Whether thresholds are estimated at the end: in the App they are, unless it is unticked."""
    form.tick(
        "estimate",
        "Estimate thresholds",
        "From which confidence on each class can be trusted. Segments the reference images.",
        default=form.is_of_app,
    )


def wanted(form: Form, counts: FieldCounts) -> dict[str, int]:
    """Number of labels by class, of the classes that are asked for."""
    names = form.value("classes", list(counts.classes))
    return {name: counts.classes[name] for name in names if name in counts.classes}


def in_words(classes: dict[str, int]) -> str:
    """Classes with their numbers."""
    return listed_briefly([f"{name} ({count:,})" for name, count in classes.items()], 10)


def refused_in_words(refused: Iterable[Refused]) -> list[str]:
    """How many labels were left out for each reason."""
    reasons = Counter(entry.reason for entry in refused)
    return [f"{number_of('label', count)}: {reason}" for reason, count in reasons.items()]


def predicted(dataset: Any, field: str) -> bool:
    """Whether runs made a field, so that the next one replaces what it holds."""
    from ....dataset.labels.label_field import segmentation_fields

    return field in segmentation_fields(dataset)


def where_copied(dataset: Any, field: str) -> str:
    """What becomes of predictions, as a sentence; empty for other labels."""
    from ....dataset.references.copies import KEPT_FIELD

    if not predicted(dataset, field):
        return ""
    return f" The next run replaces {field!r}, so copies are kept in {KEPT_FIELD!r}."


def announce_learning(form: Form, text: str, info: BankInfo) -> None:
    """Say what will be learnt, and with which networks."""
    from ...forms import run_options

    run_options.announce(form, text, info.recipe)


def taught(ctx: Any, field: str, parts: Sequence[AddedReferences]) -> Outcome:
    """Result page of a run that marked labels: counts, what was left out, what to do next."""
    facts = {
        f"Tagged {part.tag!r}": f"{in_words(part.counts)}; in the field {part.field!r}"
        for part in parts
    }
    banks = list(dict.fromkeys(part.bank for part in parts if part.bank is not None))
    return Outcome(
        " ".join(_done(part) for part in parts),
        facts,
        refused_in_words(entry for part in parts for entry in part.refused),
        view=_shown(ctx.dataset, parts),
        view_label="Show these labels",
        changed=True,
        next_step=segment_again(ctx, field, banks[0]) if banks else _build(parts[0]),
    )


def _build(part: AddedReferences) -> NextStep | None:
    """The step after references were marked for no bank; None after negatives, which need one."""
    from ....dataset.banks.add_references import NEGATIVE_TAG

    if part.tag == NEGATIVE_TAG:
        return None
    params = {"label_field": part.field, "tag": part.tag, "view_target": ViewTarget.DATASET}
    return NextStep("Build a memory bank", "build_memory_bank", params)


def segment_again(ctx: Any, field: str, bank: str) -> NextStep | None:
    """The step after a bank was changed; None where nothing was segmented with it yet."""
    from ....dataset.inspect.inventory import fields_of_bank
    from ....dataset.samples.views import all_images

    made = fields_of_bank(ctx.dataset, bank)
    if not made:
        return None
    written = field if field in made else made[0]
    params = {
        "bank": bank,
        "label_field": written,
        "overwrite": True,
        # Those that it was done for: neither all there are, nor the few that are selected now.
        "view_target": ViewTarget.CUSTOM_VIEW_TARGET,
        "custom_view_target": view_as_json(all_images(ctx.dataset).exists(written)),
    }
    return NextStep("Segment again", "segment_with_memory_bank", params)


def _done(part: AddedReferences) -> str:
    text = f"{number_of('label', len(part.label_ids))} tagged {part.tag!r}."
    if part.bank is None:
        return text
    learnt = sum(part.added.values())
    return f"{text} The memory bank {part.bank!r} learnt {learnt:,} of them" + (
        f", and held {part.already:,} before." if part.already else "."
    )


def _shown(dataset: Any, parts: Sequence[AddedReferences]) -> Any:
    from ....dataset.samples.label_selection import select_labels
    from ....dataset.samples.views import all_images
    from ...forms import target

    labels = [label for part in parts for label in part.labels]
    if len(labels) <= MOST_BY_ID:
        return select_labels(all_images(dataset), labels)
    has_one = F("tags").contains([part.tag for part in parts])
    return target.labels_view(dataset, parts[0].field, has_one)
