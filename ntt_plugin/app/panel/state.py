"""Where in the panel a person is: all that its state holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

TABS = {"banks": "Banks", "runs": "Runs", "review": "Review", "actions": "Actions"}
EVERYTHING = "everything"
_SHOWN = {
    "banks": ("references", "flagged", "negatives", "try"),
    "runs": ("references", "scores", "thresholds"),
    "review": ("references", EVERYTHING),
    "actions": ("references",),
}
SHOWN = tuple(dict.fromkeys(name for names in _SHOWN.values() for name in names))
ALL_CLASSES = " "
"""Stands for no class in particular: a class needs a name, and the App shows no empty choice."""


@dataclass(frozen=True)
class Place:
    """A page of the panel.

    Attributes:
        tab: one of ``TABS``.
        bank: the bank that is open; None for the list.
        run: the field whose run is open, or that is reviewed; None for the list.
        shown: what is shown of a bank, a run or a review; the first of ``SHOWN`` by default.
        label: only those of this class; all if empty.
        page: which page of a long list, from 0.
        visit: how many pages were gone to before; tells one visit of a page from another.
    """

    tab: str = "banks"
    bank: str | None = None
    run: str | None = None
    shown: str = SHOWN[0]
    label: str = ""
    page: int = 0
    visit: int = 0

    def moved(self, to: Mapping[str, Any]) -> Place:
        """The place after a click; fields after the given ones reset to their defaults.

        ``to`` has new values by attribute name; unknown names are ignored.
        """
        known = [entry.name for entry in fields(self)]
        given = {name: to[name] for name in known if name in to}
        first = min((known.index(name) for name in given), default=len(known))
        kept = {name: getattr(self, name) for name in (*known[:first], "visit")}
        return Place(**kept | given)


def from_state(kept: Any) -> Place:
    """Place from the panel's state; the start page for anything that is no place."""
    if not isinstance(kept, Mapping):
        return Place()
    place = Place().moved(kept)
    if not _is_sound(place) or place.shown not in _SHOWN[place.tab]:
        return Place()
    return replace(place, page=max(0, place.page))


def _is_sound(place: Place) -> bool:
    """Whether each attribute is of its type: the state comes from the browser."""
    texts = (place.tab, place.shown, place.label, place.bank or "", place.run or "")
    if not all(isinstance(text, str) for text in texts):
        return False
    numbers = (place.page, place.visit)
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
    return whole and place.tab in TABS and place.shown in SHOWN
