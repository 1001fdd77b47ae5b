"""Tables on pages of the App, whatever their cells hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .text import escaped


@dataclass(frozen=True)
class Table:
    """A table for a page.

    Attributes:
        columns: the columns' heads.
        rows: of each row a value for each column; an empty cell for None.
        texts: number of the first columns that hold texts, flush left; the others are flush right.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    texts: int = 1

    def markdown(self) -> str:
        """The table as Markdown."""
        under = "|" + "---|" * self.texts + "---:|" * (len(self.columns) - self.texts)
        return "\n".join([_line(self.columns), under, *map(_line, self.rows)])


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    return escaped(value)
