"""What a click in the panel does: go to a page, open an operator's form, show samples."""

from __future__ import annotations

from typing import Any, Protocol

from ...dataset.runs import RunInfo
from .pieces import Click


class Events(Protocol):
    """The panel's events; FiftyOne calls them by their names."""

    def go(self, ctx: Any) -> None:
        """Go to another page of the panel."""

    def ask(self, ctx: Any) -> None:
        """Open an operator's form."""

    def refresh(self, ctx: Any) -> None:
        """Look again."""

    def choose_class(self, ctx: Any) -> None:
        """Show a bank's references of one class."""

    def show_references(self, ctx: Any) -> None:
        """Show a bank's references in the grid."""

    def show_classes(self, ctx: Any) -> None:
        """Show the references of two classes in the grid."""

    def show_run(self, ctx: Any) -> None:
        """Show what a run wrote in the grid."""

    def show_failed(self, ctx: Any) -> None:
        """Show the samples that a run could not do in the grid."""

    def open_evaluations(self, ctx: Any) -> None:
        """Open FiftyOne's panel of evaluations."""


class Clicks:
    """The panel's events as buttons take them."""

    def __init__(self, events: Events) -> None:
        """Clicks on the events of a panel."""
        self.events = events

    def go(self, **to: Any) -> Click:
        """Go to another page; ``to`` is what changes of the place."""
        return {"on_click": self.events.go, "params": {"to": to}}

    def ask(self, operator: str, **values: Any) -> Click:
        """Open an operator's form with some of its fields filled in."""
        return {"on_click": self.events.ask, "params": {"operator": operator, "values": values}}

    def refresh(self) -> Click:
        """Look again."""
        return {"on_click": self.events.refresh, "params": {}}

    def show_references(self, bank: str) -> Click:
        """Show a bank's references in the grid."""
        return {"on_click": self.events.show_references, "params": {"bank": bank}}

    def show_run(self, run: RunInfo) -> Click:
        """Show what a run wrote in the grid; suggestions one by one, as patches."""
        params = {"field": run.label_field, "patches": run.kind == "suggestions"}
        return {"on_click": self.events.show_run, "params": params}

    def show_failed(self, field: str) -> Click:
        """Show the samples that a run could not do in the grid."""
        return {"on_click": self.events.show_failed, "params": {"field": field}}

    def open_evaluations(self) -> Click:
        """Open FiftyOne's panel of evaluations."""
        return {"on_click": self.events.open_evaluations, "params": {}}
