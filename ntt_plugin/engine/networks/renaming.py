"""Renaming a checkpoint key by key, with every key accounted for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from ...errors import CheckpointError

Rule = tuple[str, str]
"""A pattern that a whole key must match, and its new name with the pattern's groups."""


def rename(
    state: Mapping[str, Tensor], rules: Sequence[Rule], unused: Sequence[str], where: str
) -> dict[str, Tensor]:
    """Give each tensor its new name.

    Args:
        state: tensors by their old names.
        rules: tried in order; the first whose pattern matches the whole key names it.
        unused: prefixes of keys that are known and not needed.
        where: the file, for the error.

    Returns:
        The renamed tensors, without the unused ones.

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


def shorten(names: Iterable[str], most: int = 4) -> str:
    """The first names of a list, and how many more there are."""
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
