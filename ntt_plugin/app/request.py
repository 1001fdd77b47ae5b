"""What a request gives an operator or the panel, checked before anything is done with it.

The App sends what its forms allow; a script, or a request written by hand, may send any JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import fiftyone.core.stages as fos
import fiftyone.operators.types as types
from bson import ObjectId
from fiftyone.operators.constants import ViewTarget
from fiftyone.operators.executor import ValidationContext

from ..dataset.database.fiftyone_internals import view_from_json
from ..dataset.samples.checks import quoted
from ..errors import DatasetError

PLUGIN = "@ntt/no-time-to-train"

_TEXT, _TEXTS, _NUMBER, _TICK = "text", "list of texts", "whole number", "yes or no"
_SIZE, _SHARE = "number", "number from 0 to 1"
_KINDS = {
    **dict.fromkeys(
        ("action", "bank", "bank_dataset", "device", "eval_key", "field", "gt_field"), _TEXT
    ),
    **dict.fromkeys(("label_field", "mask_dir", "name", "new_field", "new_name"), _TEXT),
    **dict.fromkeys(("format", "into", "kind", "own_thresholds"), _TEXT),
    **dict.fromkeys(("other_field", "path", "preset", "protocol", "sample_tag", "tag"), _TEXT),
    **dict.fromkeys(
        ("classes", "group_slices", "names", "proposals", "recipes", "references"), _TEXTS
    ),
    **dict.fromkeys(("batch_size", "count", "most", "seed", "shots", "tile", "workers"), _NUMBER),
    "min_confidence": _SHARE,
    **dict.fromkeys(
        ("advanced", "cache", "confirm", "include_missing", "masks", "negatives", "overwrite"),
        _TICK,
    ),
    **dict.fromkeys(
        ("copy_images", "estimate", "only_approved", "from_references", "save", "thresholds"), _TICK
    ),
    "clean": _SIZE,
}
"""The kind of every parameter that any operator has."""

_HOW_TO_GIVE = {
    _TEXT: 'a text, such as "name"',
    _TEXTS: 'a list of texts, such as ["one", "two"]',
    _NUMBER: "a whole number",
    _SHARE: "a number from 0 to 1",
    _TICK: "true or false",
    _SIZE: "a number",
}
_TEXTS_OF_A_REQUEST = ("current_sample", "dataset_name", "group_slice", "prompt_id", "view_name")
_VIEW_OF_A_REQUEST = ("view", "view_name", "filters", "extended")
_STAGES = fos.__name__ + "."
# MongoDB keeps no larger whole number.
_LARGEST = 2**63 - 1


def is_empty(value: Any) -> bool:
    """Whether the App has nothing in a field: it sends null, an empty text or an empty list."""
    return value is None or value == "" or value == []


def is_app(ctx: Any) -> bool:
    """Whether the request came over the App's server, not from a script's ``execute_operator``."""
    return not {"operator_uri", "selected_samples"}.isdisjoint(ctx.request_params)


def is_of_a_worker(ctx: Any) -> bool:
    """Whether a worker runs a delegated operation, whose id is then known as FiftyOne's own object.

    A request written by hand may say ``delegated`` too, and can hold no such object.
    """
    return bool(ctx.delegated) and isinstance(ctx.request_params.get("run_doc"), ObjectId)


def take_out_unfit(ctx: Any) -> dict[str, str]:
    """Take values of a wrong kind out of ``ctx.params``; what is wrong with each, by name."""
    wrong = {}
    for name in [name for name in ctx.params if name in _KINDS]:
        reason = _unfit(ctx.params[name], _KINDS[name])
        if reason is not None:
            wrong[name] = f"{name!r} is {reason}; give {_HOW_TO_GIVE[_KINDS[name]]}."
            del ctx.params[name]
    return wrong


def require_sound(ctx: Any) -> None:
    """Make sure that the dataset, the view and the selection of a request can be worked with.

    Raises:
        DatasetError: they cannot; says what is wrong.
    """
    given = ctx.request_params
    for name in _TEXTS_OF_A_REQUEST:
        value = given.get(name)
        if value is not None and _unfit(value, _TEXT) is not None:
            raise DatasetError(
                f"The request's {name!r} is {_described(value)}, which is no text; reload the App."
            )
    target = given.get("view_target")
    if target is not None and target not in ViewTarget.values():
        raise DatasetError(
            f"The target {quoted(target)} is unknown; give one of {', '.join(ViewTarget.values())}."
        )
    _require_selection("selected", given.get("selected"), _is_sample)
    _require_selection("selected_samples", given.get("selected_samples"), _is_sample)
    _require_selection("selected_labels", given.get("selected_labels"), _is_label)
    _require_readable("dataset", lambda: ctx.dataset)
    if ctx.dataset is None:
        return
    _require_readable("view", lambda: ctx.view)
    if any(given.get(name) for name in _VIEW_OF_A_REQUEST):
        _require_readable("view", lambda: _first_id(ctx.view))
    stages = ctx.params.get("custom_view_target")
    if stages:
        _require_stages(stages)
        _require_readable("view", lambda: _first_id(view_from_json(ctx.dataset, stages)))


def refusal(ctx: Any, form: types.Property, operator: Any) -> str | None:
    """Why a form that was filled in cannot be run with, as sentences; None if it can.

    FiftyOne would answer such a request with HTTP 500.
    """
    try:
        errors = ValidationContext(ctx, form, operator).errors
    except (AttributeError, TypeError, ValueError) as error:
        return f"The parameters cannot be read ({type(error).__name__}: {error})."
    told = [_told(form.type.properties, error) for error in errors]
    return " ".join(dict.fromkeys(told)) or None


def unfit_text(value: Any) -> str | None:
    """What a value is that is no text, or one that no database takes; None for a sound text."""
    if not isinstance(value, str):
        return _described(value)
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"the text {quoted(value)}, which has half a character in it"
    return None


def _told(properties: Mapping[str, Any], error: Any) -> str:
    if error.custom:
        return str(error.reason)
    name = error.path.strip(".").partition("[")[0]
    view = properties[name].view if name in properties else None
    label = f" ({view.label})" if view is not None and view.label else ""
    if error.reason == "Required property":
        return f"{name!r}{label} is missing; give it."
    return f"{name!r}{label} cannot be used: {error.reason}."


def _unfit(value: Any, kind: str) -> str | None:
    """What a value is, if it is not of a kind; None where it is, or is empty."""
    if is_empty(value):
        return None
    if kind == _TICK:
        return None if isinstance(value, bool) else _described(value)
    if kind == _SHARE:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return None if is_number and 0 <= value <= 1 else _described(value)
    if kind == _NUMBER:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole:
            return _described(value)
        return None if abs(value) <= _LARGEST else "a number that is too large"
    if kind == _SIZE:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return None if number and 0 <= value <= _LARGEST else _described(value)
    if kind == _TEXT:
        return unfit_text(value)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return _described(value)
    return next((f"a list with {bad}" for bad in map(unfit_text, value) if bad), None)


def _described(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) or (isinstance(value, int) and abs(value) <= _LARGEST):
        return f"the number {value}"
    if isinstance(value, int):
        return "a number that is too large"
    if isinstance(value, str):
        return f"the text {quoted(value)}"
    if isinstance(value, Mapping):
        return "a dictionary"
    return "a list" if isinstance(value, Sequence) else f"a {type(value).__name__}"


def _require_selection(what: str, entries: Any, sound: Callable[[Any], bool]) -> None:
    if entries is not None and not (isinstance(entries, list | tuple) and all(map(sound, entries))):
        raise DatasetError(f"The request's {what!r} is no selection as the App sends it.")


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and ObjectId.is_valid(value)


def _is_sample(entry: Any) -> bool:
    return _is_id(entry.get("id") if isinstance(entry, Mapping) else entry)


def _is_label(entry: Any) -> bool:
    return (
        isinstance(entry, Mapping)
        and _is_id(entry.get("label_id"))
        and all(isinstance(entry.get(name), str) for name in ("sample_id", "field"))
        and isinstance(entry.get("type", ""), str)
    )


def _require_stages(value: Any) -> None:
    """FiftyOne calls whatever a stage names, with what it gives: only its own stages may be named.

    A stage may hold others, as ``Concat`` does.
    """
    if isinstance(value, Mapping):
        if {"_cls", "kwargs"} <= set(value) and not _is_stage(value["_cls"]):
            raise DatasetError(
                f"The request's view has a stage {quoted(value['_cls'])}, which is none of "
                "FiftyOne's; open the dataset again, and repeat."
            )
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            _require_stages(part)


def _is_stage(name: Any) -> bool:
    if not isinstance(name, str) or not name.startswith(_STAGES):
        return False
    found = getattr(fos, name.removeprefix(_STAGES), None)
    return isinstance(found, type) and issubclass(found, fos.ViewStage)


def _first_id(view: Any) -> list[str]:
    """Ask a view for one sample: building it shows no error of what only the database looks at."""
    return list(view.limit(1).values("id"))


def _require_readable(what: str, read: Callable[[], object]) -> None:
    try:
        read()
    except Exception as error:
        # Of a request that was written by hand FiftyOne raises errors of any kind.
        raise DatasetError(
            f"The request's {what} cannot be opened ({type(error).__name__}: "
            f"{quoted(str(error), 200)}); open the dataset again, and repeat."
        ) from error
