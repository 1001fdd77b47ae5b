"""Long lists a page at a time, so that what travels to the browser stays small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import fiftyone.operators.types as types

from . import widgets
from .events import Clicks
from .state import Place

T = TypeVar("T")


def part(entries: Sequence[T], place: Place, size: int) -> Sequence[T]:
    """The entries of the page that is open; of the last one where there are fewer by now."""
    first = size * _open_page(len(entries), place, size)
    return entries[first : first + size]


def draw(parent: types.Object, total: int, place: Place, size: int, clicks: Clicks) -> None:
    """Which page is open, and the way to the others; nothing where there is one page only."""
    if total <= size:
        return
    number, last = _open_page(total, place, size), (total - 1) // size
    row = widgets.row(parent, "pages")
    widgets.button(
        row,
        "back",
        "Previous",
        clicks.go(page=number - 1),
        "chevron_left",
        disabled=number == 0,
    )
    first = number * size + 1
    words = f"{first:,} to {min(first + size - 1, total):,} of {total:,}"
    widgets.label(row, "where", words)
    widgets.button(
        row,
        "forward",
        "Next",
        clicks.go(page=number + 1),
        "chevron_right",
        disabled=number == last,
    )


def _open_page(total: int, place: Place, size: int) -> int:
    return min(place.page, max(0, (total - 1) // size))
