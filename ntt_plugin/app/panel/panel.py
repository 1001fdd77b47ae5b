"""The panel: its events, and which of its pages is drawn."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types
from cachetools import LRUCache
from fiftyone.operators.categories import Categories
from fiftyone.operators.constants import ViewTarget

from ...dataset.samples.checks import quoted
from ...errors import NttError
from ..text import listed_briefly
from .state import ALL_CLASSES, Place, from_state

_HELP = (
    "Your memory banks: what they learnt, how good each reference is, what was segmented with "
    "them, and what to do next."
)


logger = logging.getLogger(__name__)


class _OutdatedError(Exception):
    """While an event was answered the person has gone on: its answer would come too late."""


class _PanelConfig(foo.PanelConfig):  # type: ignore[misc]
    """FiftyOne's configuration of a panel takes no risk level."""

    @property
    def risk_level(self) -> types.RiskLevel:
        """A review writes its marks to labels, and can take them back."""
        return types.RiskLevel.MEDIUM


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
        from . import judge
        from .events import require_event

        try:
            require_event(ctx)
            if ctx.dataset is not None and ctx.params.get("__method__") != "on_unload":
                judge.is_here(ctx)
            return None if self._is_echo(ctx) else super().execute(ctx)
        except _OutdatedError:
            return None
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
        from . import layout

        layout.style_selection(ctx, layout.is_judging(ctx, self._place(ctx)), anew=True)
        ctx.ops.set_label_selection_style(default="dashed-green", alt="dashed-red")

    def on_unload(self, ctx: Any) -> None:
        """Give selections FiftyOne's own looks back, and a review to whoever opens it next."""
        from . import judge

        ctx.ops.clear_sample_selection_style()
        ctx.ops.clear_label_selection_style()
        judge.has_left(ctx)

    def on_change_dataset(self, ctx: Any) -> None:
        """Begin anew in another dataset."""
        name = None if ctx.dataset is None else ctx.dataset.name
        if ctx.panel.get_state("dataset") != name:
            ctx.panel.set_state("dataset", name)
            self._move(ctx, Place())

    def on_change_view(self, ctx: Any) -> None:
        """In a review, offer to judge what the grid shows now."""

    def on_change_selected_labels(self, ctx: Any) -> None:
        """Show which reference made a selected prediction."""

    def on_change_selected(self, ctx: Any) -> None:
        """The same, for a selected patch."""

    def go(self, ctx: Any) -> None:
        """Go to another page of the panel."""
        from . import layout

        place = self._place(ctx)
        to = place.moved(ctx.params["to"])
        if "review" in (place.tab, to.tab):
            layout.style_selection(ctx, layout.is_judging(ctx, to))
        self._move(ctx, replace(to, visit=place.visit + 1))

    def choose_class(self, ctx: Any) -> None:
        """Show a bank's references, or a run's scores, of one class."""
        self._move(ctx, self._place(ctx).moved({"label": _chosen_class(ctx)}))

    def ask(self, ctx: Any) -> None:
        """Open an operator's form, with some of its fields filled in."""
        operator, values = f"{self.plugin_name}/{ctx.params['operator']}", ctx.params["values"]
        if values.get("view_target") == ViewTarget.CURRENT_VIEW and not ctx.has_custom_view:
            values = {**values, "view_target": ViewTarget.DATASET}
        ctx.prompt(operator, params=values, on_success=self.done)

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

    def look(self, ctx: Any) -> None:
        """Draw anew what has changed since; the panel's clock asks for it."""

    def try_bank(self, ctx: Any) -> None:
        """Try a bank on a few images, in the background."""
        from . import trial

        bank = ctx.params["bank"]
        trial.start(ctx.dataset, trial.chosen(ctx), bank, ctx.params["others"])
        ctx.panel.set_state("tried", bank)
        place = self._place(ctx)
        self._move(ctx, replace(place.moved({"bank": bank, "shown": "try"}), visit=place.visit + 1))

    def stop_trial(self, ctx: Any) -> None:
        """Stop it."""
        from . import trial

        trial.stop(ctx.dataset, ctx.params["bank"])

    def move_confidence(self, ctx: Any) -> None:
        """Draw what is above a slider; its value is in the panel's state."""

    def move_thresholds(self, ctx: Any) -> None:
        """Let the grid show what is above the sliders of a run."""
        from . import layout, thresholds

        place, state = self._place(ctx), ctx.panel_state or {}
        run = layout.open_run(ctx.dataset, place)
        limits = thresholds.chosen(ctx.dataset, run, place, state)
        self._show(ctx, layout.kept_view, run.label_field, limits)

    def keep_thresholds(self, ctx: Any) -> None:
        """Keep the thresholds of the sliders that were moved with the bank of the run."""
        from ...dataset.banks.thresholds import update_thresholds
        from . import layout, thresholds

        place, state = self._place(ctx), ctx.panel_state or {}
        run = layout.open_run(ctx.dataset, place)
        limits = thresholds.moved(ctx.dataset, run, place, state)
        if not limits:
            ctx.ops.notify(f"No slider of a class of {run.bank!r} was moved; nothing to keep.")
            return
        update_thresholds(ctx.dataset, run.bank, limits)
        shown = listed_briefly(f"{label} {value:.2f}" for label, value in limits.items())
        ctx.ops.notify(f"The memory bank {run.bank!r} keeps: {shown}.", variant="success")

    def choose_field(self, ctx: Any) -> None:
        """Review another field."""
        self._move(ctx, self._place(ctx).moved({"run": str(ctx.params.get("value") or "")}))

    def review(self, ctx: Any) -> None:
        """Take a step of a review: begin, judge the page, take a step back, edit masks."""
        from . import judge

        self._count_step(ctx)
        place, field = self._place(ctx), ctx.params["field"]
        judge.step(ctx, place, ctx.params["do"], field)
        # A run that starts meanwhile must not draw the review to its own field.
        self._move(ctx, replace(place, run=field))

    def review_above(self, ctx: Any) -> None:
        """Approve all labels of a class from a confidence on."""
        from . import judge

        self._count_step(ctx)
        given = ctx.params
        place = self._place(ctx)
        judge.approve(ctx, place, given["field"], given["label"], float(given["confidence"]))

    def review_change(self, ctx: Any) -> None:
        """Give the clicked labels another class."""
        from . import judge

        label = str(ctx.params.get("value") or "").strip()
        if label:
            self._count_step(ctx)
            judge.change(ctx, self._place(ctx), label)

    def review_typed(self, ctx: Any) -> None:
        """Give the clicked labels the class that was typed."""
        from . import judge, review

        label = review.typed_class(ctx.panel_state or {}, self._place(ctx))
        if not label:
            ctx.ops.notify("Type the name of the class first.")
            return
        self._count_step(ctx)
        judge.change(ctx, self._place(ctx), label)

    def open_evaluations(self, ctx: Any) -> None:
        """Open FiftyOne's panel of evaluations."""
        ctx.ops.open_panel("model_evaluation_panel_builtin")

    def render(self, ctx: Any) -> types.Property:
        """Draw the page where the person is."""
        from . import layout

        place = self._place(ctx)
        page = layout.draw(ctx, place, self)
        if ctx.params.get("__method__") in _OF_ITSELF and self._is_outdated(ctx):
            raise _OutdatedError
        if ctx.dataset is not None:
            ctx.panel.set_state("stamp", layout.stamp(ctx, place))
        return page

    def _show(self, ctx: Any, view: Any, *arguments: Any) -> None:
        try:
            ctx.ops.set_view(view(ctx.dataset, *arguments))
        except NttError as error:
            ctx.ops.notify(str(error), variant="error")

    def _place(self, ctx: Any) -> Place:
        return from_state(ctx.panel.get_state("place"))

    def _count_step(self, ctx: Any) -> None:
        """Count the steps of a review: fields get names of their own by it."""
        steps = _steps(ctx) + 1
        ctx.panel.set_state("steps", steps)
        _last_step[ctx.params["panel_id"]] = steps

    def _is_outdated(self, ctx: Any) -> bool:
        """Whether the person has taken a step of a review since the App sent this.

        The answer would come after that of the step, and show the page before it.
        """
        return _steps(ctx) < _last_step.get(ctx.params["panel_id"], 0)

    def _move(self, ctx: Any, place: Place) -> None:
        ctx.panel.set_state("place", asdict(place))

    def _is_echo(self, ctx: Any) -> bool:
        """Whether a field only tells what it shows, or the clock asks and nothing has changed."""
        from . import layout

        event = ctx.params.get("__method__")
        if event in _OF_ITSELF and self._is_outdated(ctx):
            return True
        if event == "on_change_view":
            return self._place(ctx).tab != "review"
        if ctx.dataset is None or event not in ("choose_class", "choose_field", "look"):
            return bool(event == "look")
        try:
            if event == "look":
                now = layout.stamp(ctx, self._place(ctx))
                return bool(now == ctx.panel.get_state("stamp"))
            if event == "choose_field":
                shown = layout.reviewed_field(ctx.dataset, self._place(ctx))
                return bool(shown == ctx.params.get("value"))
            return layout.shown_class(ctx.dataset, self._place(ctx)) == _chosen_class(ctx)
        except NttError:
            return False


_OF_ITSELF = ("look", "on_change_view", "on_change_selected", "on_change_selected_labels")
"""What the App sends by itself, while the person goes on."""

# By the panel's id; of this server's process, as long as panels are open.
_last_step: LRUCache[str, int] = LRUCache(256)


def _steps(ctx: Any) -> int:
    steps = ctx.panel.get_state("steps")
    return steps if isinstance(steps, int) else 0


def _chosen_class(ctx: Any) -> str:
    chosen = ctx.params.get("value") or ALL_CLASSES
    return "" if chosen == ALL_CLASSES else str(chosen)
