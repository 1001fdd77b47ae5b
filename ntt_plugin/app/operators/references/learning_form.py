"""What the forms that mark labels and teach them to a bank have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import fiftyone.operators.types as types
from fiftyone import ViewField as F
from fiftyone.operators.constants import ViewTarget

from ...forms import fields
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import MOST_BY_ID, NextStep, Outcome
from ...text import number_of

if TYPE_CHECKING:
    from ....dataset.banks.add_references import AddedReferences
    from ....dataset.banks.info import BankInfo
    from ....dataset.inspect.inventory import FieldCounts

PARAMETERS = ("label_field", "bank", "tag", "classes", "group_slices", "device")
SELDOM = ("classes", "device")


class TeachingOperator(NttOperator):
    """Form of an SDK function that teaches predictions to a bank, as one thing or the other.

    Attributes:
        action: a verb for what will be done to the labels.
        kind: a word for the labels that one should select.
        tag: the tag they get if none is given.
        bank_required: whether the SDK's function asks for a bank.
    """

    action: ClassVar[str]
    kind: ClassVar[str]
    bank_required: ClassVar[bool]
    tag: ClassVar[str]
    parameters = PARAMETERS
    seldom = SELDOM

    def form(self, ctx: Any, inputs: types.Object) -> None:
        from ....dataset.banks.banks import list_memory_banks
        from ....dataset.inspect.inventory import banks_named
        from ...forms import bank_choice as banks
        from ...forms import target

        images = target.target(ctx, inputs, self.action, labels=True)
        names = list_memory_banks(ctx.dataset)
        if not names:
            raise banks.no_bank(ctx.dataset.name)
        field, counts = target.labels_with_masks(
            ctx, inputs, images, "As a rule predictions.", field_at_first(ctx, predictions=True)
        )
        if field is None:
            return
        made_by = target.asked_once(ctx, images, banks_named, field)
        maker = banks.maker_of_labels(ctx.dataset, field, made_by)
        info = bank_choice(
            ctx,
            inputs,
            names,
            "The bank that learns them.",
            maker.offered(names),
            self.bank_required,
        )
        tag_field(inputs, self.tag)
        seldom(ctx, inputs, counts)
        if info is None:
            banks.tell_if_gone(inputs, maker)
            if self.bank_required:
                return
        if target_is_everything(ctx) and predicted(ctx.dataset, field):
            fields.notice(
                inputs,
                "everything",
                f"Nothing is selected, so all {number_of('label', counts.labels)} of {field!r} "
                f"are taken. "
                f"Select those that are {self.kind} first, or filter the view.",
                types.Warning,
            )
        if info is None:
            announce_tagging(ctx, inputs, field, self.tag, wanted(ctx, counts))
        else:
            self.announce(ctx, inputs, field, wanted(ctx, counts), info)

    @abstractmethod
    def announce(
        self,
        ctx: Any,
        inputs: types.Object,
        field: str,
        classes: dict[str, int],
        info: BankInfo,
    ) -> None:
        """Say what will be learnt into which bank."""

    @abstractmethod
    def teach(self, view: Any, arguments: dict[str, Any], progress: Report) -> AddedReferences:
        """Call the SDK."""

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from ...forms import target

        view = target.target_of(ctx, labels=True)
        arguments = target.without_slices(view, self.arguments(ctx))
        added = self.teach(view, arguments, progress)
        return taught(ctx, arguments["label_field"], [added])


def field_at_first(ctx: Any, predictions: bool) -> str:
    """The field to offer first: that of the selected labels, else predictions or ground truth."""
    from ....dataset.labels.label_field import segmentation_fields
    from ...forms import selection

    selected = selection.field_of_selection(ctx)
    if selected is not None:
        return selected
    made = segmentation_fields(ctx.dataset) if predictions else []
    return made[0] if made else "ground_truth"


def bank_choice(
    ctx: Any,
    inputs: types.Object,
    names: Sequence[str],
    description: str,
    suggested: str | None = None,
    required: bool = False,
) -> BankInfo | None:
    """The choice of the bank that learns.

    Returns:
        What the bank is made of; None while none is chosen.
    """
    from ....dataset.banks.banks import get_memory_bank_info
    from ...forms import bank_choice as banks

    choices = {name: name for name in names}
    name = fields.choice(
        ctx, inputs, "bank", choices, "Memory bank", description, None, required, suggested
    )
    if name is None:
        return None
    info = get_memory_bank_info(ctx.dataset, name)
    inputs.properties["bank"].view.description = banks.in_words(info)
    return info


def tag_field(inputs: types.Object, default: str) -> None:
    """The tag that marks the labels."""
    inputs.str(
        "tag", default=default, label="Tag", description="The label tag that will mark them."
    )


def seldom(ctx: Any, inputs: types.Object, counts: FieldCounts) -> None:
    """What is seldom needed: classes and device."""
    from ...forms import run_options

    if fields.advanced(ctx, inputs, SELDOM):
        fields.classes(ctx, inputs, counts.classes, "Only these; all if none is chosen.")
        run_options.device(ctx, inputs)


def wanted(ctx: Any, counts: FieldCounts) -> dict[str, int]:
    """Number of labels by class, of the classes that are asked for."""
    names = fields.value_of(ctx, "classes", list(counts.classes))
    return {name: counts.classes[name] for name in names if name in counts.classes}


def in_words(classes: dict[str, int]) -> str:
    """Classes with their numbers."""
    return fields.listed_briefly([f"{name} ({count:,})" for name, count in classes.items()], 10)


def predicted(dataset: Any, field: str) -> bool:
    """Whether runs made a field, so that the next one replaces what it holds."""
    from ....dataset.labels.label_field import segmentation_fields

    return field in segmentation_fields(dataset)


def target_is_everything(ctx: Any) -> bool:
    """Whether nobody selected or filtered anything."""
    from ...forms import selection

    return selection.target_name(ctx) in (None, ViewTarget.DATASET)


def where_copied(dataset: Any, field: str) -> str:
    """What becomes of predictions, as a sentence; empty for other labels."""
    from ....dataset.references.copies import KEPT_FIELD

    if not predicted(dataset, field):
        return ""
    return f" The next run replaces {field!r}, so copies are kept in {KEPT_FIELD!r}."


def announce_tagging(
    ctx: Any, inputs: types.Object, field: str, tag: str, classes: dict[str, int]
) -> None:
    """Say what will be tagged, where no bank learns it."""
    text = (
        f"Will tag {number_of('label', sum(classes.values()))} with "
        f"{fields.value_of(ctx, 'tag', tag)!r}: {in_words(classes)}; no memory bank learns them."
    )
    fields.notice(inputs, "will_do", text + where_copied(ctx.dataset, field))


def announce_learning(inputs: types.Object, text: str, info: BankInfo) -> None:
    """Say what will be learnt, and with which networks."""
    from ....dataset.networks import networks_of
    from ...forms import run_options

    run_options.announce(inputs, text, networks_of(info.recipe))


def taught(ctx: Any, field: str, parts: Sequence[AddedReferences]) -> Outcome:
    """Result page of a run that marked labels: counts, what was left out, what to do next."""
    refused = Counter(entry.reason for part in parts for entry in part.refused)
    facts = {
        f"Tagged {part.tag!r}": f"{in_words(part.counts)}; in the field {part.field!r}"
        for part in parts
    }
    banks = list(dict.fromkeys(part.bank for part in parts if part.bank is not None))
    return Outcome(
        " ".join(_done(part) for part in parts),
        facts,
        [f"{number_of('label', count)}: {reason}" for reason, count in refused.items()],
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
        "custom_view_target": all_images(ctx.dataset).exists(written)._serialize(),
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
