"""What the conversions of SAM 2 and DINOv2 share: weights renamed, configurations checked.

Of a ``config.json`` only the listed fields reach transformers. Others could choose another
implementation of attention or a quantiser, which transformers fetches and runs, or change what a
network returns. The limits are several times what published networks have; they keep a file from
asking for a network that takes hours to build.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ...errors import CheckpointError
from ..rules import Rule, one_of, real, whole
from .weights import shorten

Renaming = tuple[str, str]
"""A pattern that a whole key must match, and its new name with the pattern's groups."""


Rules = Mapping[str, Rule]

FLAG = Rule("true or false", lambda value: isinstance(value, bool))
ACTIVATION = one_of("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu")
EPSILON = real(1e-12, 0.1)
SHARE = real(0, 1)
WIDTH = whole(1, 16_384)
SIDE = whole(14, 4_096)


def rename(
    state: Mapping[str, Tensor], rules: Sequence[Renaming], unused: Sequence[str], where: str
) -> dict[str, Tensor]:
    """Give each tensor its new name, by the first rule whose pattern matches its whole key.

    Keys that begin with one of the prefixes ``unused`` are left out.

    Raises:
        CheckpointError: a key is neither renamed by a rule nor known to be unused.
    """
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    renamed: dict[str, Tensor] = {}
    unknown: list[str] = []
    for key, tensor in state.items():
        if key.startswith(tuple(unused)):
            continue
        for pattern, replacement in compiled:
            match = pattern.fullmatch(key)
            if match:
                renamed[match.expand(replacement)] = tensor
                break
        else:
            unknown.append(key)
    if unknown:
        raise CheckpointError(
            f"{where} holds weights that this architecture has no place for: {shorten(unknown)}."
            " It is another architecture, or a variant of it that is not supported."
        )
    return renamed


def checked_fields(
    section: Any, rules: Rules, network: str, where: str, name: str = ""
) -> dict[str, Any]:
    """The fields of a `config.json`'s section that have a rule; those that are null are left out.

    The network's kind, the folder and the section's name are for errors.

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
