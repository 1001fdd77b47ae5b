"""Our figures beside the published ones, as a table to read and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .protocol import Table
from .published_figures import METHODS, REMARKS, figures_for

NOT_GIVEN = "not given here"


def rows_with_mean(table: Table, ours: Mapping[str, float]) -> dict[str, float]:
    """The figures of all parts, and their mean if every part is there."""
    rows = dict(ours)
    if table.mean and len(rows) == len(table.parts):
        rows[table.mean] = sum(rows.values()) / len(rows)
    return rows


def render(table: Table, shots: int, ours: Mapping[str, float]) -> str:
    """The table in Markdown, in percent, with the sources below it.

    Args:
        table: the table.
        shots: references a class.
        ours: our figures by row, in [0, 1]; -1 where one is not defined.
    """
    published = figures_for(table.name, shots)
    names = [*ours, *(row for row, _ in published if row not in ours)]
    lines = [
        f"{table.title}, {shots} references a class",
        "",
        f"| | ours | {' | '.join(METHODS)} |",
        "|---|---|" + "---|" * len(METHODS),
    ]
    for name in dict.fromkeys(names):
        cells = [percent(ours[name]) if name in ours else "not run"]
        for method in METHODS:
            figure = published.get((name, method))
            cells.append(f"{figure.value:.1f}" if figure else NOT_GIVEN)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    sources = [f"{f.method}, {f.row} {f.value:.1f}: {f.source}" for f in published.values()]
    return "\n".join([*lines, "", *sources, *REMARKS.get(table.name, ())]).rstrip()


def percent(value: float) -> str:
    """A figure in percent with one decimal."""
    return f"{100 * value:.1f}" if value >= 0 else "not defined"


def write_json(
    path: Path, table: Table, shots: int, ours: Mapping[str, float], facts: dict[str, Any]
) -> None:
    """The same as JSON: figures in [0, 1], published ones in percent as published."""
    published = [
        {"row": f.row, "method": f.method, "percent": f.value, "source": f.source}
        for f in figures_for(table.name, shots).values()
    ]
    content = {"table": table.name, "shots": shots, "ours": dict(ours), "published": published}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**content, **facts}, indent=1) + "\n")
