"""Fields that several forms have: choices, names, a tick to replace, what is said before a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import fiftyone.operators.types as types

from ..dataset.checks import require_name
from ..errors import DatasetError

# Shown as buttons side by side up to here, as a list from there on.
_MOST_BUTTONS = 4


def value_of(ctx: Any, name: str, default: Any = None) -> Any:
    """A field's value; the default where it is missing, as when a form opens, or empty."""
    value = ctx.params.get(name)
    return default if value in (None, "", []) else value


def choice(
    ctx: Any,
    inputs: types.Object,
    name: str,
    choices: Mapping[str, str],
    label: str,
    description: str,
    default: str | None = None,
    required: bool = True,
) -> str | None:
    """A choice of one; one that is no longer there is marked.

    Args:
        ctx: the operator's context.
        inputs: the form.
        name: the field.
        choices: what can be chosen, with the words for each.
        label: the field's label.
        description: what it is for.
        default: the choice at first; none if None.
        required: whether one must be chosen.

    Returns:
        The choice; None while there is none, or it is not allowed.
    """
    view = types.AutocompleteView(allow_user_input=False) if len(choices) > 30 else types.Dropdown()
    for key, words in choices.items():
        view.add_choice(key, label=words)
    chosen = value_of(ctx, name, default)
    field = inputs.enum(
        name,
        list(choices),
        default=default,
        required=required,
        label=label,
        description=description,
        view=view,
    )
    if chosen is not None and chosen not in choices:
        mark(field, f"There is no {chosen!r} here; choose another.")
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
    """Which classes; those without a label here are marked."""
    words = {name: f"{name} ({count:,})" for name, count in counts.items()}
    several(inputs, "classes", words, "Classes", description)
    unknown = [name for name in value_of(ctx, "classes", []) if name not in counts]
    if unknown:
        mark(
            inputs.properties["classes"],
            f"No label of class {', '.join(map(repr, unknown))} here; take it out of the list.",
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
        default: the name at first.
        required: whether one must be given.

    Returns:
        The name; None while it is missing or cannot be one.
    """
    field = inputs.str(
        name, required=required, default=default, label=label, description=description
    )
    chosen = value_of(ctx, name, default)
    if chosen is None:
        return None
    try:
        require_name(chosen, what)
    except DatasetError as error:
        mark(field, str(error))
        return None
    return str(chosen)


def overwrite(ctx: Any, inputs: types.Object, warning: str) -> None:
    """Warn of what would be replaced, and ask for a tick."""
    notice(inputs, "replaces", warning, types.Warning)
    field = inputs.bool("overwrite", default=False, label="Replace it", view=types.CheckboxView())
    if not ctx.params.get("overwrite"):
        mark(field, "Tick to replace it, or choose another name above.")


def advanced(ctx: Any, inputs: types.Object, names: Iterable[str]) -> bool:
    """A switch that unfolds what is seldom needed.

    Args:
        ctx: the operator's context.
        inputs: the form.
        names: the fields behind it; it is on where one of them was given.
    """
    given = any(value_of(ctx, name) is not None for name in names)
    inputs.bool(
        "advanced", default=given, label="Advanced settings", view=types.SwitchView(space=12)
    )
    return bool(ctx.params.get("advanced", given))


def notice(inputs: types.Object, name: str, text: str, view: Any = types.Notice) -> None:
    """A line that tells something and takes nothing."""
    inputs.view(name, view(label=text))


def mark(field: types.Property, problem: str) -> None:
    """Mark a field's value as one that cannot be run with."""
    field.invalid = True
    field.error_message = problem


def listed_briefly(names: Iterable[str], most: int = 6) -> str:
    """Names with commas, cut short."""
    names = list(names)
    text = ", ".join(names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"
