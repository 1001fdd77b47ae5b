"""The references of a bank as pictures, by class, each with how good it is and what is odd."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import fiftyone.operators.types as types

from ...dataset.banks.quality import ReferenceCheck, reference_quality
from ...dataset.inspect.thumbnails import reference_thumbnails
from ..forms.bank_choice import thresholds_of
from ..forms.fields import with_counts
from ..text import escaped
from . import widgets
from .events import Clicks
from .state import ALL_CLASSES, Place

A_PAGE = 24
SIDE = 96
_TILE = {"item": {"sx": {"width": "152px"}}}
# Wide enough for a sentence.
_FLAGGED_TILE = {"item": {"sx": {"width": "312px"}}}

_LEGEND = (
    "*own: likeness to the other references of its class. next: to the nearest other class. Good "
    "references have a high own and a low next; 1 is the same.*"
    " *cut again: how well the segmenter finds the mask from its box (IoU); Check references "
    "fills it in.*"
)


def draw(page: types.Object, dataset: Any, place: Place, clicks: Clicks) -> None:
    """A page of a bank's references, of its flagged ones, or of its negatives."""
    bank = str(place.bank)
    checks = reference_quality(dataset, bank)
    kinds = _by_kind(checks)
    _kinds(page, kinds, place, clicks)
    chosen = kinds[place.shown]
    _classes(page, chosen, place, clicks)
    if place.label:
        chosen = [check for check in chosen if check.label == place.label]
    if not chosen:
        widgets.text(page, "none", _NONE[place.shown])
        return
    shown = widgets.page_of(chosen, place, A_PAGE)
    pictures = reference_thumbnails([check.provenance for check in shown], SIDE, dataset)
    entries = list(zip(shown, pictures, strict=True))
    wall, thresholds = widgets.column(page, "wall"), thresholds_of(dataset, bank)
    for number, (label, of_class) in enumerate(groupby(entries, key=lambda entry: entry[0].label)):
        whose = "Negatives of " if place.shown == "negatives" else ""
        title = f"**{whose}{escaped(label)}**"
        if label in thresholds:
            title += f" · threshold {thresholds[label]:.2f}"
        widgets.text(wall, f"class_{number}", title)
        row = widgets.row(wall, f"tiles_{number}", align_y="top")
        for position, (check, path) in enumerate(of_class):
            _tile(row, f"tile_{position}", bank, check, path, clicks)
    widgets.page_buttons(page, len(chosen), place, A_PAGE, clicks)
    widgets.text(page, "legend", _LEGEND)


_NONE = {
    "references": "No reference here.",
    "flagged": "No reference is flagged. Check references looks closer: it cuts each one again.",
    "negatives": "No negatives. Where the bank finds a class that is not there, select the wrong "
    "predictions and add them as negatives.",
}


def _by_kind(checks: Sequence[ReferenceCheck]) -> dict[str, list[ReferenceCheck]]:
    return {
        "references": [check for check in checks if not check.negative],
        "flagged": [check for check in checks if check.flags],
        "negatives": [check for check in checks if check.negative],
    }


def _kinds(
    page: types.Object, kinds: dict[str, list[ReferenceCheck]], place: Place, clicks: Clicks
) -> None:
    row = widgets.row(page, "kinds")
    for kind, checks in kinds.items():
        words = f"{kind.capitalize()} ({len(checks):,})"
        widgets.button(row, kind, words, clicks.go(shown=kind), strong=kind == place.shown)


def _classes(
    page: types.Object, checks: Sequence[ReferenceCheck], place: Place, clicks: Clicks
) -> None:
    counts = Counter(check.label for check in checks)
    if len(counts) > 1:
        choices = {ALL_CLASSES: "All classes"} | with_counts(counts)
        chosen = place.label or ALL_CLASSES
        widgets.class_choice(page, place.visit, choices, chosen, clicks.events.choose_class)


def _tile(
    row: types.Object, name: str, bank: str, check: ReferenceCheck, path: Any, clicks: Clicks
) -> None:
    width = _FLAGGED_TILE if check.flags else _TILE
    tile = widgets.column(row, name, gap=0.5, componentsProps=width)
    what = "negative" if check.negative else "reference"
    widgets.picture(tile, "picture", path, SIDE, f"A {what} of {check.label}")
    widgets.text(tile, "quality", quality_line(check))
    for number, flag in enumerate(check.flags):
        widgets.text(tile, f"flag_{number}", f"⚠ {escaped(flag)}")
    widgets.operator_button(
        widgets.row(tile, "actions"),
        "remove_references",
        clicks,
        "Remove",
        name=bank,
        references=[check.id],
    )


def quality_line(check: ReferenceCheck) -> str:
    """How good a reference is, in a line."""
    parts = []
    if not math.isnan(check.own):
        parts.append(f"own {check.own:.2f}")
    if check.nearest_class is not None:
        parts.append(f"next {check.nearest:.2f} ({escaped(check.nearest_class)})")
    if check.recut_iou is not None:
        parts.append(f"cut again {check.recut_iou:.2f}")
    if check.pixels is not None:
        parts.append(f"{check.pixels:,} px")
    return " · ".join(parts) or "the only one of its class"
