"""Rules for values that people or files give: what a value may be, in words and as a check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """What a value may be.

    Attributes:
        allowed: in words, after "must be".
        holds: whether a value is allowed.
    """

    allowed: str
    holds: Callable[[Any], bool]


def whole(low: int, high: int, of: str = "") -> Rule:
    """A whole number from ``low`` to ``high``, of a unit."""

    def holds(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return Rule(f"a whole number{of} from {low} to {high}", holds)


def real(low: float, high: float) -> Rule:
    """A number from ``low`` to ``high``; NaN is in no range."""

    def holds(value: Any) -> bool:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and low <= value <= high

    return Rule(f"a number from {low:g} to {high:g}", holds)


def one_of(*texts: str) -> Rule:
    """One of a few texts."""
    return Rule(
        f"one of {', '.join(texts)}", lambda value: isinstance(value, str) and value in texts
    )


def list_of(rule: Rule, longest: int) -> Rule:
    """A list of at most ``longest`` entries that all satisfy a rule."""

    def holds(value: Any) -> bool:
        return isinstance(value, list) and len(value) <= longest and all(map(rule.holds, value))

    return Rule(f"a list of at most {longest} entries, each {rule.allowed}", holds)


def only(value: Any) -> Rule:
    """A single allowed value."""
    return Rule(str(value), lambda found: bool(found == value))
