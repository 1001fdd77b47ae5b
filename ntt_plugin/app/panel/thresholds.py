"""The thresholds of a run's classes: a slider each, with the count of what is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import fiftyone.operators.types as types
import numpy as np

from ...dataset.banks.banks import get_memory_bank_info
from ...dataset.inspect.runs import RunInfo, score_histogram
from ...dataset.runtime.caching import remembered
from ..forms.bank_choice import thresholds_of
from ..text import escaped, number_of
from . import widgets
from .events import Clicks
from .state import Place

MOST = 30
"""More sliders than this are no help; the others are moved by Apply thresholds."""

_FINE = 100


def slider(place: Place, label: str) -> str:
    """The name that a class's slider has in the panel's state.

    It is the class's own: which classes have a slider, and in what order, changes with the labels.
    """
    return f"threshold_{place.visit}_{hashlib.sha256(label.encode()).hexdigest()[:16]}"


def chosen(dataset: Any, run: RunInfo, place: Place, state: Mapping[str, Any]) -> dict[str, float]:
    """The thresholds by class as the sliders stand; at first those of the bank, else 0."""
    kept = thresholds_of(dataset, run.bank)
    return {
        label: widgets.as_share(state.get(slider(place, label)), kept.get(label, 0.0))
        for label in _classes(dataset, run.label_field)
    }


def moved(dataset: Any, run: RunInfo, place: Place, state: Mapping[str, Any]) -> dict[str, float]:
    """The thresholds that the sliders changed, of classes that the run's bank has.

    The App puts each slider into the panel's state once it is shown, where it stands then.
    """
    kept = thresholds_of(dataset, run.bank)
    classes = get_memory_bank_info(dataset, run.bank).shots
    found = {}
    for label, limit in chosen(dataset, run, place, state).items():
        before = kept.get(label, 0.0)
        if label in classes and limit not in (before, round(before, 2)):
            found[label] = limit
    return found


def draw(
    page: types.Object,
    dataset: Any,
    run: RunInfo,
    place: Place,
    clicks: Clicks,
    state: Mapping[str, Any],
) -> None:
    """The sliders of a run's classes; a word where no label has a score."""
    bins = remembered(dataset, run.label_field, _histogram, of_samples=True)
    if not bins:
        widgets.text(page, "no_scores", "No label of this run has a score.")
        return
    limits = chosen(dataset, run, place, state)
    kept = {label: _kept(bins[label], limit) for label, limit in limits.items()}
    total = sum(int(counts.sum()) for counts in bins.values())
    left = total - sum(int(bins[label].sum()) - number for label, number in kept.items())
    widgets.text(
        page,
        "kept",
        f"**{left:,} of {number_of('label', total)} kept**; the rest is hidden, not deleted. "
        "Drag a slider: the grid follows.",
    )
    for number, (label, limit) in enumerate(limits.items()):
        words = f"{escaped(label)}: {kept[label]:,} of {int(bins[label].sum()):,} from {limit:.2f}"
        # Not class_N: the App puts what a choice of a class of that name had in its place.
        widgets.text(page, f"kept_{number}", words)
        at = round(limit, 2)
        widgets.slider(page, slider(place, label), label, at, clicks.events.move_thresholds)
    row = widgets.row(page, "keep")
    if thresholds_of(dataset, run.bank) or run.kind == "segmentation":
        click = clicks.keep_thresholds(run.label_field)
        widgets.button(row, "keep", f"Keep with {run.bank}", click, "save")


def _kept(counts: np.ndarray[Any, Any], limit: float) -> int:
    return int(counts[min(_FINE, round(limit * _FINE)) :].sum())


def _classes(dataset: Any, field: str) -> list[str]:
    bins = remembered(dataset, field, _histogram, of_samples=True)
    most_first = sorted(bins, key=lambda label: -int(bins[label].sum()))
    return sorted(most_first[:MOST])


def _histogram(dataset: Any, field: str) -> dict[str, np.ndarray[Any, Any]]:
    return score_histogram(dataset, field, _FINE)
