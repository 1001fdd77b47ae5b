"""The panel's charts: how alike a bank's classes are, and how the scores of a run spread."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any

import fiftyone.operators.types as types
import numpy as np

from ...dataset.banks.quality import class_similarity
from ...dataset.inspect.runs import RunInfo, score_histogram
from ...dataset.runtime.caching import remembered
from ..forms.bank_choice import thresholds_of
from ..forms.fields import with_counts
from ..text import escaped, number_of
from . import widgets
from .events import Clicks
from .state import Place

# A larger map cannot be read, and would be long on its way.
_MOST_CLASSES = 80
# In the narrowest panel a column of the map has some 15 pixels, a number of two digits 14.
_MOST_COLUMNS_NAMED = 16
_LONGEST = 24
_BINS = 20
_BAR, _LINE = "#5b9bd5", "#ff6d04"


def draw_similarity(page: types.Object, dataset: Any, place: Place, clicks: Clicks) -> None:
    """The heat map of a bank's classes, none for a single one; a cell opens their references."""
    labels, matrix = class_similarity(dataset, str(place.bank))
    if len(labels) < 2:
        return
    widgets.text(page, "map_title", _most_alike(labels, matrix))
    if len(labels) > _MOST_CLASSES:
        return
    axis = [html.escape(label, quote=False) for label in labels]
    _plot(
        page,
        "class_map",
        {
            "type": "heatmap",
            "x": axis,
            "y": axis,
            "z": matrix.round(3).tolist(),
            "colorscale": "Viridis",
            "colorbar": {"thickness": 12},
            "hovertemplate": "%{x}<br>%{y}<br>%{z:.2f}<extra></extra>",
        },
        {
            "height": 60 + 22 * max(len(labels), 6),
            "margin": {"t": 10, "l": 10, "r": 10, "b": 10},
            "xaxis": {**_ticks(axis, _columns(len(labels))), "tickangle": 0},
            "yaxis": {**_ticks(axis, _rows(labels)), "autorange": "reversed"},
        },
        on_click=clicks.events.show_classes,
    )


def _ticks(axis: list[str], texts: list[str]) -> dict[str, Any]:
    """An axis of classes with other texts than their names, which are in what a click tells."""
    # A class may be called 1: without its type the axis would be one of numbers.
    return {"automargin": True, "type": "category", "tickvals": axis, "ticktext": texts}


def _columns(number: int) -> list[str]:
    """The columns' numbers, for names would lie over one another; so few that they do not."""
    step = math.ceil(number / _MOST_COLUMNS_NAMED)
    return [str(place) if place % step == 0 else "" for place in range(1, number + 1)]


def _rows(labels: list[str]) -> list[str]:
    """The rows' numbers and names; long names are cut, or they would leave the map no room."""
    cut = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in labels]
    return [f"{html.escape(name, quote=False)} {row}" for row, name in enumerate(cut, 1)]


def class_of_axis(text: str) -> str:
    """The class that a text of the map's axes stands for: Plotly takes them for HTML."""
    return html.unescape(text)


def _most_alike(labels: list[str], matrix: Any) -> str:
    pairs = [
        (float(matrix[i, j]), labels[i], labels[j]) for i in range(len(labels)) for j in range(i)
    ]
    most, one, other = max(pairs)
    return (
        f"**How alike the classes are.** Most alike: {escaped(one)} and "
        f"{escaped(other)} ({most:.2f}). The columns have the rows' numbers. Click a cell to see "
        "the references of its two classes."
    )


def draw_scores(
    page: types.Object, dataset: Any, run: RunInfo, place: Place, clicks: Clicks
) -> None:
    """The chart of one class, and the choice of the class; words where no label has a score."""
    found = remembered(dataset, run.label_field, score_histogram, of_samples=True)
    if not found:
        widgets.text(page, "no_scores", "No label of this run has a score.")
        return
    counts = {label: int(bins.sum()) for label, bins in found.items()}
    label = _shown(found, place)
    widgets.class_choice(page, place.visit, with_counts(counts), label, clicks.events.choose_class)
    threshold = thresholds_of(dataset, run.bank).get(label)
    widgets.text(page, "scores_title", _scores_title(label, found[label], threshold))
    _chart(page, found[label], threshold)


def shown_class(dataset: Any, place: Place) -> str:
    """The class whose scores a place shows: the chosen one, else that of the most labels."""
    found = remembered(dataset, str(place.run), score_histogram, of_samples=True)
    return _shown(found, place) if found else ""


def _shown(found: Mapping[str, np.ndarray[Any, Any]], place: Place) -> str:
    return (
        place.label if place.label in found else max(found, key=lambda name: int(found[name].sum()))
    )


def _scores_title(label: str, bins: np.ndarray[Any, Any], threshold: float | None) -> str:
    words = f"**Scores of {escaped(label)}**, {number_of('label', int(bins.sum()))}"
    if threshold is None:
        return f"{words}; the bank has no threshold for this class."
    return f"{words}; the bank's threshold is {threshold:.2f} (the line)."


def _chart(page: types.Object, bins: np.ndarray[Any, Any], threshold: float | None) -> None:
    places = [(index + 0.5) / _BINS for index in range(_BINS)]
    line = {
        "type": "line",
        "x0": threshold,
        "x1": threshold,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": _LINE, "width": 2},
    }
    _plot(
        page,
        "scores",
        {
            "type": "bar",
            "x": places,
            "y": bins.tolist(),
            "width": 0.9 / _BINS,
            "marker": {"color": _BAR},
            "hovertemplate": "score %{x:.3f}<br>%{y} labels<extra></extra>",
        },
        {
            "height": 220,
            "margin": {"t": 10, "l": 40, "r": 10, "b": 30},
            "xaxis": {"range": [0, 1]},
            "shapes": [] if threshold is None else [line],
        },
    )


def _plot(
    page: types.Object, name: str, data: dict[str, Any], layout: dict[str, Any], **events: Any
) -> None:
    """Add a chart of Plotly's, as high as its layout says."""
    page.plot(
        name,
        data=[data],
        layout=layout,
        config={"displayModeBar": False, "scrollZoom": False},
        height=f"{layout['height']}px",
        **events,
    )
