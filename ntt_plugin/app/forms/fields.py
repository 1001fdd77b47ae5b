"""Fields that several forms have: choices, names, a tick to replace, what is said before a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import fiftyone.operators.types as types

from ...dataset.samples.checks import listed, quoted, require_name
from ...errors import DatasetError
from ..request import is_app, is_empty

# A longer list needs a field to search it in.
_MOST_IN_DROPDOWN = 30


def value_of(ctx: Any, name: str, default: Any = None) -> Any:
    """Value of a field as the run receives it; ``default`` if it is missing or was emptied."""
    value = ctx.params.get(name)
    return default if is_empty(value) else value


def at_first(ctx: Any, name: str, first: Any) -> Any:
    """Value of a field that the form fills in with ``first`` until somebody edits it.

    A field that was emptied stays empty and gives None.
    """
    value = ctx.params.get(name, first)
    return None if is_empty(value) else value


def choice(
    ctx: Any,
    inputs: types.Object,
    name: str,
    choices: Mapping[str, str],
    label: str,
    description: str,
    default: str | None = None,
    required: bool = True,
    suggested: str | None = None,
) -> str | None:
    """A choice of one; one that is no longer there is marked.

    One that is neither required nor has a default can be emptied again.

    Args:
        ctx: the operator's context.
        inputs: the form.
        name: the field.
        choices: what can be chosen, with the words for each.
        label: the field's label.
        description: what it is for.
        default: the choice at first, and what the SDK takes where none is given.
        required: whether one must be chosen.
        suggested: the choice at first, where none given means none.

    Returns:
        The choice; None while there is none, or it is not allowed.
    """
    may_be_none = not required and default is None
    # The App's Dropdown cannot be emptied.
    searched = may_be_none or len(choices) > _MOST_IN_DROPDOWN
    view = types.AutocompleteView(allow_user_input=False) if searched else types.Dropdown()
    for key, words in choices.items():
        view.add_choice(key, label=words)
    first = default if suggested is None else suggested
    given_or_none = required or may_be_none
    chosen = at_first(ctx, name, first) if given_or_none else value_of(ctx, name, default)
    field = inputs.enum(
        name,
        list(choices),
        default=first,
        required=required,
        label=label,
        description=description,
        view=view,
    )
    if chosen is not None and chosen not in choices:
        mark(field, f"There is no {quoted(chosen)} here; choose another.")
        return None
    return str(chosen) if chosen is not None else None


def several(
    inputs: types.Object,
    name: str,
    choices: Mapping[str, str],
    label: str,
    description: str,
    required: bool = False,
    default: list[str] | None = None,
) -> None:
    """A choice of several, or none for all."""
    view = types.AutocompleteView(allow_user_input=False, allow_duplicates=False)
    for key, words in choices.items():
        view.add_choice(key, label=words)
    inputs.list(
        name,
        types.String(),
        required=required,
        default=default,
        label=label,
        description=description,
        view=view,
    )


def classes(ctx: Any, inputs: types.Object, counts: Mapping[str, int], description: str) -> None:
    """Add a choice of classes; those without a label in the samples are marked as errors."""
    words = {name: f"{name} ({count:,})" for name, count in counts.items()}
    several(inputs, "classes", words, "Classes", description)
    unknown = [name for name in value_of(ctx, "classes", []) if name not in counts]
    if unknown:
        mark(
            inputs.properties["classes"],
            f"No label of class {listed(unknown)} here; take it out of the list.",
        )


def name_field(
    ctx: Any,
    inputs: types.Object,
    name: str,
    label: str,
    description: str,
    what: str,
    default: str | None = None,
    required: bool = True,
) -> str | None:
    """A name that FiftyOne can keep; another is marked.

    Args:
        ctx: the operator's context.
        inputs: the form.
        name: the field.
        label: its label.
        description: what it is for.
        what: what the name is of, for the message.
        default: the name at first; one that need not be given is also what the SDK takes.
        required: whether one must be given.

    Returns:
        The name; None while it is missing or cannot be one.
    """
    field = inputs.str(
        name, required=required, default=default, label=label, description=description
    )
    chosen = at_first(ctx, name, default) if required else value_of(ctx, name, default)
    if chosen is None:
        return None
    try:
        require_name(chosen, what)
    except DatasetError as error:
        mark(field, str(error))
        return None
    return str(chosen)


def whole_number(
    ctx: Any,
    inputs: types.Object,
    name: str,
    label: str,
    description: str,
    default: int | None = None,
    least: int | None = None,
    most: int | None = None,
) -> int | None:
    """A whole number; another value is marked, and an empty field that has a default.

    Args:
        ctx: the operator's context.
        inputs: the form.
        name: the field.
        label: its label.
        description: what it is for.
        default: the number at first; without one the field may be left empty.
        least: the least number that is allowed, if there is one.
        most: the most; needs ``least``.

    Returns:
        The number; None while there is none, or it is not allowed.
    """
    field = inputs.int(
        name,
        required=False,
        default=default,
        min=least,
        label=label,
        description=description,
    )
    value = at_first(ctx, name, default)
    if value is None and default is None:
        return None
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if is_whole and (least is None or value >= least) and (most is None or value <= most):
        return int(value)
    or_empty = ", or leave it empty" if default is None else ""
    mark(field, f"Give a whole number{_range(least, most)}{or_empty}.")
    return None


def overwrite(ctx: Any, inputs: types.Object, warning: str) -> None:
    """Warn of what would be replaced, with a checkbox to confirm."""
    notice(inputs, "replaces", warning, types.Warning)
    field = inputs.bool("overwrite", default=False, label="Replace it", view=types.CheckboxView())
    if not ctx.params.get("overwrite"):
        mark(field, "Tick to replace it, or choose another name above.")


def confirm(ctx: Any, inputs: types.Object, label: str) -> None:
    """Add a checkbox to confirm a deletion that cannot be undone; scripts may omit ``confirm``."""
    field = inputs.bool("confirm", default=False, label=label, view=types.CheckboxView())
    given = ctx.params.get("confirm")
    asked = ctx.executor is None or is_app(ctx)
    if not given and (asked or given is not None):
        mark(field, "Tick to go on: this cannot be undone.")


def advanced(ctx: Any, inputs: types.Object, names: Iterable[str]) -> bool:
    """Add a switch that shows the advanced fields ``names``; on if one of them was given."""
    given = any(value_of(ctx, name) is not None for name in names)
    inputs.bool(
        "advanced", default=given, label="Advanced settings", view=types.SwitchView(space=12)
    )
    return bool(ctx.params.get("advanced", given))


def notice(inputs: types.Object, name: str, text: str, view: Any = types.Notice) -> None:
    """Add a line of text."""
    inputs.view(name, view(label=text))


def mark(field: types.Property, problem: str) -> None:
    """Mark a field's value as an error that blocks the run."""
    field.invalid = True
    field.error_message = problem


def _range(least: int | None, most: int | None) -> str:
    if least is None:
        return ""
    return f", {least} or more" if most is None else f" from {least} to {most}"


def listed_briefly(names: Iterable[str], most: int = 6) -> str:
    """Names with commas, cut short."""
    names = list(names)
    text = ", ".join(names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"
