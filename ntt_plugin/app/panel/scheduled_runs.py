"""Runs of this plugin's operators that were scheduled for a worker, with state and error."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types
from fiftyone.core.odm import get_db_conn

from ..operators import OPERATORS
from ..runtime.result_page import PLUGIN
from ..text import escaped
from . import widgets

_MOST = 10
_TITLES = {operator.operator_name: operator.title for operator in OPERATORS}
_STATES = {
    "scheduled": "scheduled",
    "queued": "waiting for a worker",
    "running": "running",
    "completed": "done",
    "failed": "**failed**",
}
# Not the parameters: a run of many selected samples holds their ids.
_WANTED = {
    "operator": 1,
    "run_state": 1,
    "queued_at": 1,
    "status": 1,
    "result.error": 1,
    "result.error_message": 1,
    "result.result.message": 1,
}


def draw(page: types.Object, dataset: Any) -> None:
    """The latest scheduled runs on the dataset; nothing where there is none."""
    found = latest(dataset)
    if not found:
        return
    lines = ["**Scheduled runs**", ""]
    lines += [f"- {_in_words(operation)}" for operation in found]
    if any(operation["run_state"] == "queued" for operation in found):
        lines += ["", "A worker runs them: `fiftyone delegated launch -m`."]
    widgets.text(page, "scheduled", "\n".join(lines))


def latest(dataset: Any) -> list[dict[str, Any]]:
    """The latest scheduled runs of this plugin's operators on a dataset, the last one first."""
    wanted = {
        "dataset_id": dataset._doc.id,
        "operator": {"$regex": f"^{PLUGIN}/"},
        "archived": {"$ne": True},
    }
    operations = get_db_conn().delegated_ops.find(wanted, _WANTED)
    return list(operations.sort("queued_at", -1).limit(_MOST))


def _in_words(operation: dict[str, Any]) -> str:
    state = _STATES.get(operation["run_state"], operation["run_state"])
    name = operation["operator"].removeprefix(f"{PLUGIN}/")
    parts = [f"{_TITLES.get(name, escaped(name))}: {state}"]
    if operation.get("queued_at") is not None:
        parts.append(widgets.moment(operation["queued_at"].isoformat()))
    result = operation.get("result") or {}
    error = result.get("error_message") or _last_line(result.get("error"))
    done = (result.get("result") or {}).get("message")
    progress = operation.get("status") or {}
    if error:
        parts.append(escaped(error))
    elif done:
        parts.append(escaped(done))
    elif progress.get("label"):
        parts.append(escaped(progress["label"]))
    return " · ".join(parts)


def _last_line(traceback: str | None) -> str:
    return (traceback or "").strip().rpartition("\n")[2]
