"""How alike the classes of a bank are, as a heat map; a cell opens the two classes' references."""

from __future__ import annotations

import html
from typing import Any

import fiftyone.operators.types as types

from ...dataset.banks.quality import class_similarity
from ..text import escaped
from . import widgets
from .events import Clicks
from .state import Place

# A larger map cannot be read, and would be long on its way.
_MOST = 80


def draw(page: types.Object, dataset: Any, place: Place, clicks: Clicks) -> None:
    """The heat map of a bank's classes; nothing for a single class."""
    labels, matrix = class_similarity(dataset, str(place.bank))
    if len(labels) < 2:
        return
    widgets.text(page, "map_title", _title(labels, matrix))
    if len(labels) > _MOST:
        return
    axis = [html.escape(label, quote=False) for label in labels]
    side = 200 + 20 * len(labels)
    page.plot(
        "class_map",
        data=[
            {
                "type": "heatmap",
                "x": axis,
                "y": axis,
                "z": matrix.round(3).tolist(),
                "colorscale": "Viridis",
                "hovertemplate": "%{x}<br>%{y}<br>%{z:.2f}<extra></extra>",
            }
        ],
        layout={
            "height": side,
            "margin": {"t": 10, "l": 10, "r": 10, "b": 10},
            "xaxis": {"automargin": True, "tickangle": -45, "dtick": 1},
            "yaxis": {"automargin": True, "autorange": "reversed", "dtick": 1},
        },
        config={"displayModeBar": False, "scrollZoom": False},
        height=f"{side}px",
        on_click=clicks.events.show_classes,
    )


def class_of_axis(text: str) -> str:
    """The class that a text of the map's axes stands for: Plotly takes them for HTML."""
    return html.unescape(text)


def _title(labels: list[str], matrix: Any) -> str:
    """The two classes that are most alike, in words."""
    pairs = [
        (float(matrix[i, j]), labels[i], labels[j]) for i in range(len(labels)) for j in range(i)
    ]
    most, one, other = max(pairs)
    return (
        f"**How alike the classes are.** Most alike: {escaped(one)} and "
        f"{escaped(other)} ({most:.2f}). Click a cell to see the references of its two "
        "classes."
    )
