"""A form while it is built: its fields, what was filled in, what is said before a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import fiftyone.operators.types as types

from ...dataset.database.last_used import read_last_used
from ...dataset.samples.checks import listed, quoted, require_name
from ...errors import DatasetError
from ..request import is_app, is_empty

# A longer list needs a field to search it in.
_MOST_IN_DROPDOWN = 30


def value_of(ctx: Any, name: str, default: Any = None) -> Any:
    """Value of a field as the run receives it; ``default`` if it is missing or was emptied."""
    value = ctx.params.get(name)
    return default if is_empty(value) else value


class Form:
    """An operator's form.

    Attributes:
        ctx: the operator's context, with what was filled in.
        inputs: the form as FiftyOne takes it.
        operator: the operator's name, under which its last values are kept.
    """

    def __init__(self, ctx: Any, inputs: types.Object, operator: str = "") -> None:
        """A form without fields."""
        self.ctx = ctx
        self.inputs = inputs
        self.operator = operator
        self._used: dict[str, dict[str, Any]] | None = None

    @property
    def dataset(self) -> Any:
        """The dataset that is open."""
        return self.ctx.dataset

    @property
    def is_of_app(self) -> bool:
        """Whether a person fills it in; a script gets what the SDK takes by default."""
        return bool(is_app(self.ctx))

    def last_used(self, *names: str, anywhere: bool = False) -> Any:
        """The value that this form last ran with; None if there is none, or for a script.

        Of several ``names`` the first that has one. ``anywhere``: else the one of any other form.
        """
        if not self.is_of_app:
            return None
        if self._used is None:
            self._used = read_last_used(self.dataset)
        own = self._used.get(self.operator, {})
        others = list(self._used.values())[::-1] if anywhere else []
        found = [used[name] for used in (own, *others) for name in names if name in used]
        return found[0] if found else None

    def value(self, name: str, default: Any = None) -> Any:
        """As ``value_of``."""
        return value_of(self.ctx, name, default)

    def at_first(self, name: str, first: Any) -> Any:
        """Value of a field that the form fills in with ``first`` until somebody edits it.

        A field that was emptied stays empty and gives None.
        """
        value = self.ctx.params.get(name, first)
        return None if is_empty(value) else value

    def text(
        self,
        name: str,
        label: str,
        description: str,
        default: str | None = None,
        required: bool = False,
    ) -> None:
        """Add a line of text."""
        self.inputs.str(
            name,
            required=self.must_be_given(name, required, default),
            default=default,
            label=label,
            description=description,
        )

    def tick(
        self, name: str, label: str, description: str | None = None, default: bool = False
    ) -> None:
        """Add a checkbox."""
        self.inputs.bool(
            name, default=default, label=label, description=description, view=types.CheckboxView()
        )

    def choice(
        self,
        name: str,
        choices: Mapping[str, str] | Iterable[str],
        label: str,
        description: str,
        default: str | None = None,
        required: bool = True,
        suggested: str | None = None,
    ) -> str | None:
        """A choice of one; None while there is none. One that is no longer there is marked.

        ``choices`` holds what can be chosen, with the words for each if they are others.
        ``default`` is the choice at first, and what the SDK takes where none is given;
        ``suggested`` is the choice at first where none given means none. One that is neither
        required nor has a default can be emptied again.
        """
        words = _worded(choices)
        may_be_none = not required and default is None
        # The App's Dropdown cannot be emptied.
        searched = may_be_none or len(words) > _MOST_IN_DROPDOWN
        view = types.AutocompleteView(allow_user_input=False) if searched else types.Dropdown()
        for key, label_of_key in words.items():
            view.add_choice(key, label=label_of_key)
        first = default if suggested is None else suggested
        given_or_none = required or may_be_none
        chosen = self.at_first(name, first) if given_or_none else self.value(name, default)
        self.inputs.enum(
            name,
            list(words),
            default=first,
            required=self.must_be_given(name, required, first),
            label=label,
            description=description,
            view=view,
        )
        if chosen is not None and chosen not in words:
            self.mark(name, f"There is no {quoted(chosen)} here; choose another.")
            return None
        return str(chosen) if chosen is not None else None

    def several(
        self,
        name: str,
        choices: Mapping[str, str] | Iterable[str],
        label: str,
        description: str,
        required: bool = False,
        default: list[str] | None = None,
    ) -> None:
        """A choice of several, or none for all."""
        view = types.AutocompleteView(allow_user_input=False, allow_duplicates=False)
        for key, words in _worded(choices).items():
            view.add_choice(key, label=words)
        self.inputs.list(
            name,
            types.String(),
            required=required,
            default=default,
            label=label,
            description=description,
            view=view,
        )

    def classes(self, counts: Mapping[str, int], description: str) -> None:
        """Add a choice of classes; those without a label in the samples are marked as errors."""
        self.several("classes", with_counts(counts), "Classes", description)
        unknown = [name for name in self.value("classes", []) if name not in counts]
        if unknown:
            self.mark(
                "classes", f"No label of class {listed(unknown)} here; take it out of the list."
            )

    def name(
        self,
        name: str,
        label: str,
        description: str,
        what: str,
        default: str | None = None,
        required: bool = True,
    ) -> str | None:
        """A name that FiftyOne can keep; another is marked, and None is returned.

        ``what`` says in the message what the name is of. ``default`` is the name at first; one
        that need not be given is also what the SDK takes.
        """
        self.text(name, label, description, default, required)
        chosen = self.at_first(name, default) if required else self.value(name, default)
        if chosen is None:
            return None
        try:
            require_name(chosen, what)
        except DatasetError as error:
            self.mark(name, str(error))
            return None
        return str(chosen)

    def whole_number(
        self,
        name: str,
        label: str,
        description: str,
        default: int | None = None,
        least: int | None = None,
        most: int | None = None,
    ) -> int | None:
        """A whole number; None, and marked, for another value or an empty field with a default.

        Without a ``default`` the field may be left empty. ``most`` needs ``least``.
        """
        self.inputs.int(
            name, required=False, default=default, min=least, label=label, description=description
        )
        value = self.at_first(name, default)
        if value is None and default is None:
            return None
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if is_whole and (least is None or value >= least) and (most is None or value <= most):
            return int(value)
        or_empty = ", or leave it empty" if default is None else ""
        self.mark(name, f"Give a whole number{_range(least, most)}{or_empty}.")
        return None

    def share(self, name: str, label: str, description: str) -> float | None:
        """A number from 0 to 1, or None; another one is marked."""
        self.inputs.float(name, required=False, min=0, max=1, label=label, description=description)
        value = self.value(name)
        if value is None:
            return None
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and 0 <= value <= 1:
            return float(value)
        self.mark(name, "Give a number from 0 to 1, or leave it empty.")
        return None

    def must_be_given(self, name: str, required: bool, default: object) -> bool:
        """Whether a missing value is an error.

        The App asks for a form before it knows the defaults: it would show "Required property"
        over a field that it fills in a moment later. One that was emptied is there, and empty.
        """
        shown_first = self.is_of_app and self.ctx.executor is None and name not in self.ctx.params
        return required and not (shown_first and not is_empty(default))

    def overwrite(self, warning: str) -> None:
        """Warn of what would be replaced, with a checkbox to confirm."""
        self.notice("replaces", warning, types.Warning)
        self.tick("overwrite", "Replace it")
        if not self.ctx.params.get("overwrite"):
            self.mark("overwrite", "Tick to replace it, or choose another name above.")

    def confirm(self, label: str) -> None:
        """Add a checkbox to confirm what cannot be undone; scripts may omit ``confirm``."""
        self.tick("confirm", label)
        given = self.ctx.params.get("confirm")
        asked = self.ctx.executor is None or is_app(self.ctx)
        if not given and (asked or given is not None):
            self.mark("confirm", "Tick to go on: this cannot be undone.")

    def advanced(self, names: Iterable[str]) -> bool:
        """Add a switch that shows the advanced fields ``names``; on if one of them was given."""
        given = any(self.value(name) is not None for name in names)
        view = types.SwitchView(space=12)
        self.inputs.bool("advanced", default=given, label="Advanced settings", view=view)
        return bool(self.ctx.params.get("advanced", given))

    def notice(self, name: str, text: str, view: Any = types.Notice) -> None:
        """Add a line of words."""
        self.inputs.view(name, view(label=text))

    def problem(self, name: str, text: str) -> None:
        """Add an error that blocks the run."""
        self.inputs.view(name, types.Error(label=text), invalid=True, error_message=text)

    def describe(self, name: str, description: str) -> None:
        """Replace a field's description."""
        self.inputs.properties[name].view.description = description

    def mark(self, name: str, problem: str) -> None:
        """Mark a field's value as an error that blocks the run."""
        field = self.inputs.properties[name]
        field.invalid = True
        field.error_message = problem


def with_counts(counts: Mapping[str, int]) -> dict[str, str]:
    """Names as choices that say how many there are of each."""
    return {name: f"{name} ({count:,})" for name, count in counts.items()}


def _worded(choices: Mapping[str, str] | Iterable[str]) -> dict[str, str]:
    return dict(choices) if isinstance(choices, Mapping) else {name: name for name in choices}


def _range(least: int | None, most: int | None) -> str:
    if least is None:
        return ""
    return f", {least} or more" if most is None else f" from {least} to {most}"
