"""The last steps of each reviewer, kept with the dataset before they are applied.

A step is written here first, then applied label by label, then marked as done. So a process that
is killed in the middle leaves a step that can be completed: each of its changes applies only to a
label that is as the step found it.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from ...errors import DatasetError
from ..database import custom_runs
from ..database.shared_results import change_results, shared_results
from ..labels.review_marks import Change, Mark, apply_changes
from ..samples.checks import quoted

METHOD = "ntt_review"
_PREFIX = "ntt_review_"

KEPT_STEPS = 50
"""How many steps of each reviewer can be undone."""

_BEGUN, _DONE, _UNDOING = "begun", "done", "undoing"


@dataclass(frozen=True)
class Step:
    """One step of a reviewer.

    Attributes:
        step: its id.
        when: ISO 8601 in UTC.
        changes: what it does to each label.
        state: ``begun``, ``done`` or ``undoing``.
    """

    step: str
    when: str
    changes: tuple[Change, ...]
    state: str = _BEGUN

    def reversed(self) -> list[Change]:
        """The changes that take it back."""
        return [replace(one, before=one.after, after=one.before) for one in self.changes]


def new_step() -> tuple[str, str]:
    """The id and the time of a step that begins now."""
    when = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return uuid.uuid4().hex[:16], when


class Journal:
    """The steps of one reviewer in one field."""

    def __init__(self, dataset: Any, field: str, reviewer: str) -> None:
        """Read and write nothing yet.

        Raises:
            DatasetError: the reviewer's name is no text.
        """
        if not isinstance(reviewer, str):
            raise DatasetError(f"The reviewer is {quoted(reviewer)}; give a name, as a text.")
        self._dataset = dataset
        self._field = field
        # A reviewer may have any name, a run's key may not.
        whose = hashlib.sha256(reviewer.encode()).hexdigest()[:12]
        self._key = f"{_PREFIX}{field}_{whose}"
        self._config = {"label_field": field, "reviewer": reviewer}

    def steps(self) -> list[Step]:
        """The steps that can be undone, the first one first."""
        kept = shared_results(self._dataset, self._key).get("steps", [])
        return [_from_json(entry) for entry in kept]

    def complete(self) -> None:
        """Finish what a killed process began."""
        for step in self.steps():
            if step.state == _BEGUN:
                self._finish(step)
            elif step.state == _UNDOING:
                self._take_back(step)

    def make(self, step: Step) -> set[tuple[str, str]]:
        """Keep a step and apply it; gives the labels that it changed, by sample and id."""

        def add(results: dict[str, Any]) -> None:
            steps = results.get("steps", [])
            results["steps"] = [*steps, _to_json(step)][-KEPT_STEPS:]

        self._change(add)
        return self._finish(step)

    def undo(self) -> tuple[Step, set[tuple[str, str]]] | None:
        """Take the last step back; gives it, and the labels that are as they were before it."""
        taken: list[Step] = []

        def mark(results: dict[str, Any]) -> None:
            taken.clear()
            steps = [entry for entry in results.get("steps", []) if entry["state"] == _DONE]
            if steps:
                steps[-1]["state"] = _UNDOING
                taken.append(_from_json(steps[-1]))

        self._change(mark)
        if not taken:
            return None
        return taken[0], self._take_back(taken[0])

    def _finish(self, step: Step) -> set[tuple[str, str]]:
        applied = apply_changes(self._dataset, self._field, step.changes)

        def settle(results: dict[str, Any]) -> None:
            for entry in results.get("steps", []):
                if entry["step"] == step.step:
                    # What was not applied is not to be taken back either.
                    made = [one for one in step.changes if one.key in applied]
                    entry.update(_to_json(replace(step, changes=tuple(made), state=_DONE)))

        self._change(settle)
        return applied

    def _take_back(self, step: Step) -> set[tuple[str, str]]:
        restored = apply_changes(self._dataset, self._field, step.reversed())

        def drop(results: dict[str, Any]) -> None:
            steps = results.get("steps", [])
            results["steps"] = [entry for entry in steps if entry["step"] != step.step]

        self._change(drop)
        return restored

    def _change(self, edit: Any) -> None:
        change_results(self._dataset, self._key, METHOD, self._config, edit)


def reviewers_of(dataset: Any, field: str) -> list[str]:
    """Those who have steps in a field that can be undone, whoever took the last step first."""
    start = f"{_PREFIX}{field}_"
    runs = {run: key for key, run in custom_runs.listed(dataset).items() if key.startswith(start)}
    latest = {}
    for run, config in custom_runs.configs(runs, "label_field", "reviewer").items():
        # Another field's name may begin alike.
        if config.get("label_field") == field:
            steps = shared_results(dataset, runs[run]).get("steps", [])
            if steps:
                latest[str(config.get("reviewer"))] = steps[-1]["when"]
    return sorted(latest, key=lambda name: latest[name], reverse=True)


def _to_json(step: Step) -> dict[str, Any]:
    changes: Sequence[Any] = [
        [one.sample, one.label_id, list(one.before), list(one.after)] for one in step.changes
    ]
    return {"step": step.step, "when": step.when, "state": step.state, "changes": changes}


def _from_json(entry: dict[str, Any]) -> Step:
    changes = tuple(
        Change(sample, label, Mark(*before), Mark(*after))
        for sample, label, before, after in entry["changes"]
    )
    return Step(entry["step"], entry["when"], changes, entry["state"])
