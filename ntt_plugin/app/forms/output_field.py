"""The field that a run writes, in a form: whose it is, what it holds, what would be replaced."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...dataset.labels.label_field import FieldState, RunIds, field_state
from ..text import part_of_these
from .fields import Form


class Held(NamedTuple):
    """What a field holds in some samples, counted, seen from one run.

    Attributes:
        foreign: whether the field is there and no run made it.
        to_do: samples without labels.
        done: samples with labels of the run.
        others: samples with labels of another run, or of a person.
    """

    foreign: bool
    to_do: int
    done: int
    others: int

    @property
    def total(self) -> int:
        """All of the samples."""
        return self.to_do + self.done + self.others


def held(images: Any, field: str, run: RunIds) -> Held:
    """Count what a field holds in some samples; one pass over them."""
    return counts(field_state(images, field, run))


def counts(state: FieldState) -> Held:
    """The numbers of what a field holds, without the ids."""
    return Held(state.foreign, len(state.to_do), len(state.done), len(state.others))


def ask(form: Form, name: str, field: str, found: Held, made_by: str) -> int | None:
    """Say what the field holds already, and ask before any of it is replaced.

    ``name`` is the form's field in which the output field is named; ``made_by`` names, for the
    messages, what else can have written labels to it.

    Returns:
        How many samples a run would do; None if it may not write the field, or all is done.
    """
    if found.foreign:
        form.mark(
            name,
            f"{field!r} was not made by a segmentation, so it is not touched; choose another name.",
        )
        return None
    if found.others:
        form.overwrite(
            f"{part_of_these('image', found.others, found.total, 'holds', 'hold')} labels in "
            f"{field!r} that {made_by} made. They will be replaced, and all labels made anew."
        )
        return found.total
    if found.done:
        done = part_of_these("image", found.done, found.total, "is", "are")
        words = f"{done} done already, and will not be done again otherwise."
        form.tick("overwrite", "Start anew", words)
        if form.ctx.params.get("overwrite"):
            return found.total
        if not found.to_do:
            form.notice(
                "will_do",
                f"{done} done: there is nothing left to do. Tick Start anew to begin again.",
            )
            return None
    return found.to_do
