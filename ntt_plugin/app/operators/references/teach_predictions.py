"""Operators: teach predictions to a memory bank, as references or negatives."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import fiftyone.operators.types as types
from fiftyone.operators.constants import ViewTarget

from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import listed_briefly, number_of
from . import learning_form

if TYPE_CHECKING:
    from ....dataset.banks.add_references import AddedReferences
    from ....dataset.banks.info import BankInfo


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
    parameters: ClassVar[tuple[str, ...]] = learning_form.PARAMETERS
    seldom = learning_form.SELDOM

    def build_form(self, form: Form) -> None:
        from ....dataset.banks.banks import list_memory_banks
        from ....dataset.inspect.inventory import banks_named
        from ...forms import bank_choice, first_choice, selection, target

        images = target.target(form, self.action, labels=True)
        names = list_memory_banks(form.dataset)
        if not names:
            raise bank_choice.no_bank(form.dataset.name)
        predictions = first_choice.Wanted.PREDICTIONS
        what_for = "As a rule predictions."
        field, counts = target.labels_with_masks(form, images, what_for, predictions)
        if field is None:
            return
        made_by = target.asked_once(form, images, banks_named, field)
        maker = bank_choice.maker_of_labels(form.dataset, field, made_by)
        info = learning_form.bank_that_learns(
            form,
            names,
            "The bank that learns them.",
            maker.offered(form, names),
            self.bank_required,
        )
        learning_form.tag_and_seldom(form, self.tag, counts)
        if info is None:
            bank_choice.tell_if_gone(form, maker)
            if self.bank_required:
                return
        everything = selection.target_name(form.ctx) in (None, ViewTarget.DATASET)
        if everything and learning_form.predicted(form.dataset, field):
            form.notice(
                "everything",
                f"Nothing is selected, so all {number_of('label', counts.labels)} of {field!r} "
                f"are taken. Select those that are {self.kind} first, or filter the view.",
                types.Warning,
            )
        classes = learning_form.wanted(form, counts)
        if info is not None:
            self.announce(form, field, classes, info)
            return
        labels, tag = number_of("label", sum(classes.values())), form.value("tag", self.tag)
        text = f"Will tag {labels} with {tag!r}: {learning_form.in_words(classes)}; no memory bank "
        text += f"learns them.{learning_form.where_copied(form.dataset, field)}"
        form.notice("will_do", text)

    @abstractmethod
    def announce(self, form: Form, field: str, classes: dict[str, int], info: BankInfo) -> None:
        """Say what will be learnt into which bank."""

    @abstractmethod
    def teach(self, view: Any, arguments: dict[str, Any], progress: Report) -> AddedReferences:
        """Call the SDK."""

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from ...forms import target

        view = target.target_of(ctx, labels=True)
        arguments = target.without_slices(view, self.arguments(ctx))
        added = self.teach(view, arguments, progress)
        return learning_form.taught(ctx, arguments["label_field"], [added])


class PromoteReferences(TeachingOperator):
    """Form of ``add_references`` for predictions."""

    uses = "add_references"
    operator_name = "promote_references"
    title = "Promote to references"
    about = (
        "Teach predictions that are right to the memory bank that made them, or to another. Use "
        "it on the good ones that you selected after a first pass, then segment again."
    )
    icon = "thumb_up"
    submit = "Promote"
    doing = "Learning the references"
    action = "Promote"
    kind = "right"
    tag = "reference"
    bank_required = False

    def announce(self, form: Form, field: str, classes: dict[str, int], info: BankInfo) -> None:
        text = (
            f"Will teach {info.name!r} up to {number_of('reference', sum(classes.values()))}: "
            f"{learning_form.in_words(classes)}."
        )
        new = [name for name in classes if name not in info.shots]
        if new:
            text += f" New to it: {listed_briefly(new)}."
        text += learning_form.where_copied(form.dataset, field)
        learning_form.announce_learning(form, text, info)

    def teach(self, view: Any, arguments: dict[str, Any], progress: Report) -> AddedReferences:
        from .... import add_references

        return add_references(view, **arguments, progress=progress)


class AddNegatives(TeachingOperator):
    """Form of ``add_negatives``."""

    operator_name = "add_negatives"
    title = "Add as negatives"
    about = (
        "Teach a memory bank what it takes for a class and is not, so that the like of it scores "
        "lower. Use it on wrong predictions that you selected after a first pass, then segment "
        "again."
    )
    icon = "thumb_down"
    submit = "Add"
    doing = "Learning the negatives"
    action = "Take as negatives"
    kind = "wrong"
    tag = "negative"
    bank_required = True
    parameters = (*learning_form.PARAMETERS, "from_references")

    def announce(self, form: Form, field: str, classes: dict[str, int], info: BankInfo) -> None:
        known = {name: count for name, count in classes.items() if name in info.shots}
        self._refuse_own_references(form, field, info)
        unknown = [name for name in classes if name not in info.shots]
        if unknown:
            form.notice(
                "unknown",
                f"{info.name!r} does not have the class {listed_briefly(unknown)}; such "
                "labels are left out.",
                types.Warning,
            )
        text = (
            f"Will teach {info.name!r} up to {number_of('negative', sum(known.values()))}, each of "
            f"the class that it carries: {learning_form.in_words(known)}."
        )
        text += learning_form.where_copied(form.dataset, field)
        learning_form.announce_learning(form, text, info)

    def _refuse_own_references(self, form: Form, field: str, info: BankInfo) -> None:
        """Ask before references of the bank become its negatives: that is hardly ever meant."""
        from ....dataset.banks.own_references import own_references
        from ....dataset.samples.views import image_view
        from ...forms import selection, target

        view = selection.chosen_labels(form.ctx)
        slices = selection.slices_of(form.ctx)
        own = target.asked_once(form, image_view(view, slices), own_references, field, info.name)
        if not own:
            return
        text = (
            f"{number_of('label', own)} here of {field!r} are references of {info.name!r} itself. "
            "It would learn that they are not what it learnt them as."
        )
        form.notice("own", text, types.Warning)
        form.tick("from_references", "Make them negatives all the same")
        if not form.ctx.params.get("from_references"):
            form.mark("from_references", "Choose the field of the predictions, or tick this.")

    def teach(self, view: Any, arguments: dict[str, Any], progress: Report) -> AddedReferences:
        from .... import add_negatives

        return add_negatives(view, **arguments, progress=progress)
