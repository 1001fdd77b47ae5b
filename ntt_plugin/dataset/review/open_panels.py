"""Under which name a panel of the App reviews, so that a person who opens it again goes on there.

FiftyOne's open App knows no persons, so each panel that is opened is a reviewer of its own, under
a name that nobody sees. Which names belong to panels that are open is kept in FiftyOne's execution
store, where every server of the database finds it: each panel renews its names by its clock, and
drops them when it is closed. A panel that opens goes on under the name that was used last in the
field and that no open panel has.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from cachetools import LRUCache
from fiftyone.operators.store import ExecutionStore

from ..database.fiftyone_internals import dataset_id
from .journal import reviewers_of

GONE = 150.0
"""Seconds after which a panel that gave no sign is closed: browsers let a tab that is not in sight
tell the time once a minute only."""

_STORE = "ntt_open_reviews"
_RENEWED = 30.0
_KEPT = 3600
_PREFIX = "panel "

# By panel and name, of this process: when the sign was given last.
_signs: LRUCache[tuple[str, str], float] = LRUCache(512)


def reviewer_name(dataset: Any, field: str, panel: str, names: Mapping[str, str]) -> str:
    """The name under which a panel reviews a field: its own, one that was left, or a new one.

    Args:
        dataset: the dataset.
        field: the reviewed field.
        panel: the panel's id.
        names: the panel's names by field.
    """
    others, name = _taken_by_others(dataset, panel), names.get(field)
    if name is None or name in others:
        # A script's reviewer may be at work: only names that a panel made up.
        left = (one for one in reviewers_of(dataset, field) if is_of_a_panel(one))
        known = (one for one in (*left, *names.values()) if one not in others)
        name = next(known, None) or f"{_PREFIX}{uuid.uuid4().hex[:12]}"
    _give_sign(dataset, panel, name)
    return name


def is_of_a_panel(name: str) -> bool:
    """Whether a reviewer's name is one that a panel made up."""
    return name.startswith(_PREFIX)


def is_open(dataset: Any, panel: str, names: Iterable[str]) -> None:
    """Tell that a panel is open, so that no other one goes on under its names."""
    now = time.monotonic()
    due = [one for one in names if now - _signs.get((panel, one), -_RENEWED) >= _RENEWED]
    # Another panel may have taken a name while this one's tab slept; it keeps it.
    others = _taken_by_others(dataset, panel) if due else set()
    for name in due:
        if name not in others:
            _give_sign(dataset, panel, name)


def is_closed(dataset: Any, panel: str) -> None:
    """Tell that a panel is closed: whoever opens one next goes on under its names."""
    for name, sign in _all_signs(dataset).items():
        if sign["panel"] == panel:
            _store(dataset).delete(name)


def _store(dataset: Any) -> ExecutionStore:
    return ExecutionStore.create(_STORE, dataset_id(dataset))


def _give_sign(dataset: Any, panel: str, name: str) -> None:
    _store(dataset).set(name, {"panel": panel, "when": time.time()}, ttl=_KEPT)
    _signs[panel, name] = time.monotonic()


def _taken_by_others(dataset: Any, panel: str) -> set[str]:
    now = time.time()
    return {
        name
        for name, sign in _all_signs(dataset).items()
        if sign["panel"] != panel and now - sign["when"] < GONE
    }


def _all_signs(dataset: Any) -> dict[str, Mapping[str, Any]]:
    store = _store(dataset)
    signs = {name: store.get(name) for name in store.list_keys()}
    return {name: sign for name, sign in signs.items() if isinstance(sign, Mapping)}
