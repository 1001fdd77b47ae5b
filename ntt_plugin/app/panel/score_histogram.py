"""How the scores of a run spread, a class at a time, with the bank's threshold for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fiftyone.operators.types as types
import numpy as np

from ...dataset.inspect.runs import RunInfo, score_histogram
from ..forms.bank_choice import thresholds_of
from ..text import escaped, number_of
from . import widgets
from .cache import remembered
from .events import Clicks
from .state import Place

_BINS = 20
_BAR, _LINE = "#5b9bd5", "#ff6d04"


def draw(page: types.Object, dataset: Any, run: RunInfo, place: Place, clicks: Clicks) -> None:
    """The chart of one class, and the choice of the class; words where no label has a score."""
    found = remembered(dataset, run.label_field, score_histogram, of_samples=True)
    if not found:
        widgets.text(page, "no_scores", "No label of this run has a score.")
        return
    counts = {label: int(bins.sum()) for label, bins in found.items()}
    label = _shown(found, place)
    widgets.class_choice(
        page,
        place.visit,
        {name: f"{name} ({count:,})" for name, count in counts.items()},
        label,
        clicks.events.choose_class,
    )
    threshold = thresholds_of(dataset, run.bank).get(label)
    widgets.text(page, "scores_title", _title(label, found[label], threshold))
    _chart(page, found[label], threshold)


def shown_class(dataset: Any, place: Place) -> str:
    """The class whose scores a place shows: the chosen one, else that of the most labels."""
    found = remembered(dataset, str(place.run), score_histogram, of_samples=True)
    return _shown(found, place) if found else ""


def _shown(found: Mapping[str, np.ndarray[Any, Any]], place: Place) -> str:
    return (
        place.label if place.label in found else max(found, key=lambda name: int(found[name].sum()))
    )


def _title(label: str, bins: np.ndarray[Any, Any], threshold: float | None) -> str:
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
    page.plot(
        "scores",
        data=[
            {
                "type": "bar",
                "x": places,
                "y": bins.tolist(),
                "width": 0.9 / _BINS,
                "marker": {"color": _BAR},
                "hovertemplate": "score %{x:.3f}<br>%{y} labels<extra></extra>",
            }
        ],
        layout={
            "height": 220,
            "margin": {"t": 10, "l": 40, "r": 10, "b": 30},
            "xaxis": {"range": [0, 1]},
            "shapes": [] if threshold is None else [line],
        },
        config={"displayModeBar": False, "scrollZoom": False},
        height="220px",
    )
