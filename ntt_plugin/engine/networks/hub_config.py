"""Validation of a network's `config.json`: the fields read and their allowed values.

Only the listed fields reach transformers. Others could choose another implementation of attention
or a quantiser, which transformers fetches and runs, or change what a network returns. The limits
are several times what published networks have; they keep a file from asking for a network that
takes hours to build.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import CheckpointError


@dataclass(frozen=True)
class Rule:
    """What a field may be.

    Attributes:
        allowed: in words, after "must be".
        holds: whether a value is allowed.
    """

    allowed: str
    holds: Callable[[Any], bool]


Rules = Mapping[str, Rule]


def whole(low: int, high: int) -> Rule:
    """A whole number in a range."""

    def holds(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return Rule(f"a whole number from {low} to {high}", holds)


def real(low: float, high: float) -> Rule:
    """A number in a range; NaN is in none."""

    def holds(value: Any) -> bool:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and low <= value <= high

    return Rule(f"a number from {low:g} to {high:g}", holds)


def list_of(rule: Rule, longest: int) -> Rule:
    """A list of at most ``longest`` entries that all satisfy a rule."""

    def holds(value: Any) -> bool:
        return isinstance(value, list) and len(value) <= longest and all(map(rule.holds, value))

    return Rule(f"a list of at most {longest} entries, each {rule.allowed}", holds)


def only(value: Any) -> Rule:
    """A single allowed value."""
    return Rule(str(value), lambda found: bool(found == value))


FLAG = Rule("true or false", lambda value: isinstance(value, bool))
_ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu")
ACTIVATION = Rule(f"one of {', '.join(_ACTIVATIONS)}", lambda value: value in _ACTIVATIONS)
EPSILON = real(1e-12, 0.1)
SHARE = real(0, 1)
WIDTH = whole(1, 16_384)
SIDE = whole(14, 4_096)


def checked_fields(
    section: Any, rules: Rules, network: str, where: str, name: str = ""
) -> dict[str, Any]:
    """The fields of a section that a network is built from; those that are null are left out.

    Args:
        section: of a `config.json`.
        rules: by field; fields without a rule are dropped.
        network: its kind, for errors.
        where: the folder, for errors.
        name: the section's, for errors.

    Raises:
        CheckpointError: the section is no JSON object, or a field has a value that it cannot have.
    """
    if not isinstance(section, Mapping):
        raise refusal(network, where, f"its section {name or 'at the top'} is no JSON object")
    fields = {key: section[key] for key in rules if section.get(key) is not None}
    for key, value in fields.items():
        if not rules[key].holds(value):
            place = f"{name}.{key}" if name else key
            reason = f"{place} is {reprlib.repr(value)} and must be {rules[key].allowed}"
            raise refusal(network, where, reason)
    return fields


def refusal(network: str, where: str, reason: str) -> CheckpointError:
    """The error for a `config.json` that no network of this kind can be built from."""
    return CheckpointError(
        f"{where}: its config.json does not describe a {network} network ({reason})."
        " Download the folder again, or give another one."
    )
