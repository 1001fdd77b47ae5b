"""What a click in the panel does: go to a page, open an operator's form, show samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...dataset.inspect.runs import RunInfo
from ...dataset.samples.checks import quoted
from ...errors import DatasetError
from ..request import require_sound, unfit_text

if TYPE_CHECKING:
    from .panel import MemoryBanks

Click = Mapping[str, Any]
"""What a click does: FiftyOne's ``on_click`` and ``params``."""

_OF_THE_APP = (
    "on_startup",
    "on_load",
    "on_unload",
    "on_change_dataset",
    "on_change_selected",
    "on_change_view",
    "on_change_selected_labels",
)
"""What FiftyOne tells the panel of by itself."""

_TAKES: dict[str, dict[str, Any]] = {
    "go": {"to": dict},
    "ask": {"operator": str, "values": dict},
    "done": {},
    "refresh": {},
    "choose_class": {},
    "show_references": {"bank": str},
    "show_classes": {"x": str, "y": str},
    "show_run": {"field": str, "patches": bool},
    "show_failed": {"field": str},
    "open_evaluations": {},
    "look": {},
    "try_bank": {"bank": str, "others": bool},
    "stop_trial": {"bank": str},
    "move_confidence": {},
    "move_thresholds": {},
    "keep_thresholds": {"field": str},
    "choose_field": {},
    "review": {"do": str, "field": str},
    "review_above": {"field": str, "label": str, "confidence": float | int},
    "review_change": {},
    "review_typed": {},
}
"""What a person does in the panel, with the parameters that each needs."""


def require_event(ctx: Any) -> None:
    """Make sure that an event is one of the panel's, with what it needs.

    Raises:
        DatasetError: it is not; says what is wrong.
    """
    event = ctx.params.get("__method__")
    if event is None:
        return
    if not isinstance(event, str) or event not in {*_OF_THE_APP, *_TAKES}:
        raise DatasetError(f"The panel has no event {quoted(event)}.")
    if not isinstance(ctx.params.get("panel_id"), str) or not ctx.params["panel_id"]:
        raise DatasetError("The event does not say of which panel it is; open the panel again.")
    if not isinstance(ctx.params.get("panel_state"), dict | None):
        raise DatasetError("The panel's state cannot be read; open the panel again.")
    for name, kind in _TAKES.get(event, {}).items():
        value = ctx.params.get(name)
        if not isinstance(value, kind) or (kind is str and unfit_text(value)):
            raise DatasetError(f"The panel's event {event!r} needs {name!r}; click again.")
    require_sound(ctx)
    if event in _TAKES and ctx.dataset is None:
        raise DatasetError("No dataset is open. Open one first.")


REVIEW_STEPS = ("start", "show", "next", "undo", "annotate")


class Clicks:
    """The panel's events as buttons take them."""

    def __init__(self, events: MemoryBanks) -> None:
        """Clicks on the events of a panel."""
        self.events = events

    def go(self, **to: Any) -> Click:
        return {"on_click": self.events.go, "params": {"to": to}}

    def ask(self, operator: str, **values: Any) -> Click:
        return {"on_click": self.events.ask, "params": {"operator": operator, "values": values}}

    def refresh(self) -> Click:
        return {"on_click": self.events.refresh, "params": {}}

    def show_references(self, bank: str) -> Click:
        return {"on_click": self.events.show_references, "params": {"bank": bank}}

    def show_run(self, run: RunInfo) -> Click:
        """Show what a run wrote in the grid; suggestions one by one, as patches."""
        params = {"field": run.label_field, "patches": run.kind == "suggestions"}
        return {"on_click": self.events.show_run, "params": params}

    def show_failed(self, field: str) -> Click:
        return {"on_click": self.events.show_failed, "params": {"field": field}}

    def try_bank(self, bank: str, others: bool) -> Click:
        return {"on_click": self.events.try_bank, "params": {"bank": bank, "others": others}}

    def stop_trial(self, bank: str) -> Click:
        return {"on_click": self.events.stop_trial, "params": {"bank": bank}}

    def keep_thresholds(self, field: str) -> Click:
        return {"on_click": self.events.keep_thresholds, "params": {"field": field}}

    def review(self, do: str, field: str) -> Click:
        """A step of a review; ``do`` is one of ``REVIEW_STEPS``."""
        return {"on_click": self.events.review, "params": {"do": do, "field": field}}

    def review_above(self, field: str, label: str, confidence: float) -> Click:
        params = {"field": field, "label": label, "confidence": confidence}
        return {"on_click": self.events.review_above, "params": params}

    def review_typed(self) -> Click:
        return {"on_click": self.events.review_typed, "params": {}}

    def open_evaluations(self) -> Click:
        return {"on_click": self.events.open_evaluations, "params": {}}
