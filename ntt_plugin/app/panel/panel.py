"""The panel: its events, and which of its pages is drawn."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types
from fiftyone.operators.categories import Categories

from ...dataset.samples.checks import quoted
from ...errors import NttError
from .state import ALL_CLASSES, Place, from_state

_HELP = (
    "Your memory banks: what they learnt, how good each reference is, what was segmented with "
    "them, and what to do next."
)


logger = logging.getLogger(__name__)


class _PanelConfig(foo.PanelConfig):  # type: ignore[misc]
    """FiftyOne's configuration of a panel takes no risk level."""

    @property
    def risk_level(self) -> types.RiskLevel:
        """The panel shows what there is; only the operators that it opens change anything."""
        return types.RiskLevel.LOW


class MemoryBanks(foo.Panel):  # type: ignore[misc]
    """The panel Memory banks, one place for the whole loop.

    Its state is the place where the person is; everything else is looked up when it is drawn.
    What is drawn is imported when it is first drawn: FiftyOne loads this file at every start.
    """

    @property
    def config(self) -> foo.PanelConfig:
        """FiftyOne's description of the panel."""
        return _PanelConfig(
            name="memory_banks",
            label="Memory banks",
            icon="library_books",
            category=Categories.CURATE,
            surfaces="grid modal",
            help_markdown=_HELP,
        )

    def execute(self, ctx: Any) -> Any:
        """Answer an event; one that changes nothing is ignored.

        The answer is the page drawn anew. It could come after the person has gone to another
        page, and would bring the old one back. What cannot be answered is told in a toast.
        """
        from .events import require_event

        try:
            require_event(ctx)
            return None if self._is_echo(ctx) else super().execute(ctx)
        except NttError as error:
            told = str(error)
        except Exception as error:
            logger.exception("The panel cannot answer an event")
            told = f"The panel cannot show this. {type(error).__name__}: {quoted(str(error), 200)}"
        ctx.ops.notify(told, variant="error")
        return None

    def resolve_input(self, ctx: Any) -> types.Property:
        """Nothing is checked here: FiftyOne answers what does not pass with HTTP 500."""
        return types.Property(types.Object())

    def on_load(self, ctx: Any) -> None:
        """Make selections show what they stand for."""
        ctx.ops.set_sample_selection_style(default="green-checkmark", alt="red-checkmark")
        ctx.ops.set_label_selection_style(default="dashed-green", alt="dashed-red")

    def on_unload(self, ctx: Any) -> None:
        """Give selections FiftyOne's own looks back."""
        ctx.ops.clear_sample_selection_style()
        ctx.ops.clear_label_selection_style()

    def on_change_dataset(self, ctx: Any) -> None:
        """Begin anew in another dataset."""
        name = None if ctx.dataset is None else ctx.dataset.name
        if ctx.panel.get_state("dataset") != name:
            ctx.panel.set_state("dataset", name)
            self._move(ctx, Place())

    def on_change_selected_labels(self, ctx: Any) -> None:
        """Show which reference made a selected prediction."""

    def on_change_selected(self, ctx: Any) -> None:
        """The same, for a selected patch."""

    def go(self, ctx: Any) -> None:
        """Go to another page of the panel."""
        place = self._place(ctx)
        self._move(ctx, replace(place.moved(ctx.params["to"]), visit=place.visit + 1))

    def choose_class(self, ctx: Any) -> None:
        """Show a bank's references, or a run's scores, of one class."""
        self._move(ctx, self._place(ctx).moved({"label": _chosen_class(ctx)}))

    def ask(self, ctx: Any) -> None:
        """Open an operator's form, with some of its fields filled in."""
        operator = f"{self.plugin_name}/{ctx.params['operator']}"
        ctx.prompt(operator, params=ctx.params["values"], on_success=self.done)

    def done(self, ctx: Any) -> None:
        """Look again after an operator has run; it may have renamed or deleted the open bank."""
        from ...dataset.banks.banks import list_memory_banks

        bank = self._place(ctx).bank
        if bank is not None and bank not in list_memory_banks(ctx.dataset):
            self._move(ctx, Place())

    def refresh(self, ctx: Any) -> None:
        """Look again."""

    def show_references(self, ctx: Any) -> None:
        """Show a bank's references in the grid."""
        from . import layout

        self._show(ctx, layout.references_view, ctx.params["bank"])

    def show_classes(self, ctx: Any) -> None:
        """Show the references of two classes in the grid, those of a cell of the heat map."""
        from . import layout
        from .charts import class_of_axis

        pair = [class_of_axis(ctx.params[axis]) for axis in ("x", "y")]
        self._show(ctx, layout.references_view, self._place(ctx).bank, pair)

    def show_run(self, ctx: Any) -> None:
        """Show what a run wrote in the grid."""
        from . import layout

        self._show(ctx, layout.written_view, ctx.params["field"], ctx.params["patches"])

    def show_failed(self, ctx: Any) -> None:
        """Show the samples that a run could not do in the grid."""
        from . import layout

        self._show(ctx, layout.failed_view, ctx.params["field"])

    def open_evaluations(self, ctx: Any) -> None:
        """Open FiftyOne's panel of evaluations."""
        ctx.ops.open_panel("model_evaluation_panel_builtin")

    def render(self, ctx: Any) -> types.Property:
        """Draw the page where the person is."""
        from . import layout

        return layout.draw(ctx, self._place(ctx), self)

    def _show(self, ctx: Any, view: Any, *arguments: Any) -> None:
        try:
            ctx.ops.set_view(view(ctx.dataset, *arguments))
        except NttError as error:
            ctx.ops.notify(str(error), variant="error")

    def _place(self, ctx: Any) -> Place:
        return from_state(ctx.panel.get_state("place"))

    def _move(self, ctx: Any, place: Place) -> None:
        ctx.panel.set_state("place", asdict(place))

    def _is_echo(self, ctx: Any) -> bool:
        """Whether the field for classes only tells what it shows, as when it comes into sight."""
        from . import layout

        if ctx.params.get("__method__") != "choose_class" or ctx.dataset is None:
            return False
        try:
            return layout.shown_class(ctx.dataset, self._place(ctx)) == _chosen_class(ctx)
        except NttError:
            return False


def _chosen_class(ctx: Any) -> str:
    chosen = ctx.params.get("value") or ALL_CLASSES
    return "" if chosen == ALL_CLASSES else str(chosen)
