"""What a run tells when it is over: in the App as a page, from a delegated run as a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import fiftyone.operators.types as types
from bson import json_util

from ...dataset.database.fiftyone_internals import view_as_json
from ..request import PLUGIN
from ..text import Table, bullets, escaped, show_as_written

MOST_BY_ID = 1000
"""Samples or labels that a view names by id: the ids go to the browser, and into the database."""

_MOST_PROBLEMS = 20
_RESULT_VIEW = "ntt_view"
_PANEL = "ntt_panel"
_NEXT_STEP = "ntt_next"
_TABLE = "ntt_table"
_CLOSE = "This window lies over what a button shows: press **Done** to see it."


@dataclass(frozen=True)
class NextStep:
    """What a person may want to do next: a button to an operator's form, with values filled in."""

    label: str
    operator: str
    params: Mapping[str, Any]


@dataclass(frozen=True)
class PanelButton:
    """A panel of the App that a button at the end opens."""

    label: str
    name: str


@dataclass
class Outcome:
    """The end of a run.

    Attributes:
        message: what was done, one or two sentences.
        facts: figures by name, in the order to show them.
        problems: what was left out or failed, each with the reason.
        view: samples that show the result, to be opened with a button.
        view_label: the button's words.
        open_view: show ``view`` at once, without a button.
        changed: whether the dataset was changed, so that the App must look again.
        panel: a panel that shows the result, to be opened with a button.
        next_step: what a person may want to do next.
        table: figures in rows, below the facts.
    """

    message: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    problems: Sequence[str] = ()
    view: Any = None
    view_label: str = "Show the result"
    open_view: bool = False
    changed: bool = False
    panel: PanelButton | None = None
    next_step: NextStep | None = None
    table: Table | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as a delegated operation keeps them; the view as a text of JSON."""
        found: dict[str, Any] = {"message": self.message}
        found |= {name: _plain(value) for name, value in self.facts.items()}
        if self.problems:
            found["problems"] = list(self.problems)
        if self.view is not None:
            # A text: MongoDB need not take the names in a view's stages, which begin with "$".
            stages = json_util.dumps(view_as_json(self.view))
            found[_RESULT_VIEW] = {"label": self.view_label, "stages": stages}
        parts = {_TABLE: self.table, _PANEL: self.panel, _NEXT_STEP: self.next_step}
        found |= {name: asdict(part) for name, part in parts.items() if part is not None}
        return found

    def show(self, ctx: Any) -> Any:
        """The message to the App that opens the page."""
        results = self.as_dict()
        # The App closes this window for nothing but its own button.
        lies_over = self.view is not None or self.panel is not None
        page = output_page(results, _CLOSE if lies_over else None)
        return ctx.ops.show_output(outputs=page.to_json(), results=results)


def output_page(results: Mapping[str, Any], hint: str | None = None) -> types.Property:
    """Result page for the values of ``Outcome.as_dict``, with a button that opens their view.

    ``hint`` is a sentence below the buttons, in Markdown.
    """
    outputs = types.Object()
    problems = results.get("problems", [])
    kind = types.Warning if problems else types.Success
    outputs.view("message", kind(label=str(results.get("message", ""))))
    facts = {
        name: value
        for name, value in results.items()
        if name not in ("message", "problems", _RESULT_VIEW, _PANEL, _NEXT_STEP, _TABLE)
    }
    _buttons(outputs, results)
    if hint is not None:
        outputs.view("done", types.MarkdownView(label=hint))
    if facts:
        lines = [f"- **{escaped(name)}**: {escaped(value)}" for name, value in facts.items()]
        outputs.view("facts", types.MarkdownView(label="\n".join(lines)))
    if _TABLE in results:
        outputs.view("table", types.MarkdownView(label=Table(**results[_TABLE]).markdown()))
    if problems:
        words = f"Left out or to note: {len(problems):,}\n\n{bullets(problems, _MOST_PROBLEMS)}"
        outputs.view("problems", types.MarkdownView(label=words))
    show_as_written(outputs)
    return types.Property(outputs)


def _buttons(outputs: types.Object, results: Mapping[str, Any]) -> None:
    """What a person may do next, above the lists: those may be long."""
    view, panel, step = (results.get(name) for name in (_RESULT_VIEW, _PANEL, _NEXT_STEP))
    if view is not None:
        shown = {"view": json.loads(view["stages"])}
        _button(outputs, "show", view["label"], "@voxel51/operators/set_view", shown)
    if panel is not None:
        # In a tab of its own: beside two others it would be a third narrow column.
        opened = {"name": panel["name"], "isActive": True}
        _button(outputs, "panel", panel["label"], "@voxel51/operators/open_panel", opened)
    if step is not None:
        operator = f"{PLUGIN}/{step['operator']}"
        _button(outputs, "next", step["label"], operator, dict(step["params"]), prompt=True)


def _button(
    page: types.Object, name: str, words: str, operator: str, params: Any, **options: Any
) -> None:
    page.view(name, types.Button(label=words, operator=operator, params=params, **options))


def notes_in_words(report: Any) -> list[str]:
    """What failed in a run and what is to note, each with its file if it is of one."""
    return notes_of((*report.failed, *report.notes))


def notes_of(notes: Iterable[Any]) -> list[str]:
    """Notes on samples in words, each with its file if it is of one."""
    return [f"{note.filepath}: {note.reason}".removeprefix(": ") for note in notes]


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str)) else str(value)
