"""Numbers with what they count, in words for people."""

from __future__ import annotations

_PLURALS = {"class": "classes"}


def number_of(noun: str, number: int) -> str:
    """A number and its noun: ``1 label``, ``2,300 labels``.

    Args:
        noun: what is counted, one of it.
        number: how many.
    """
    return f"{number:,} {noun if number == 1 else _PLURALS.get(noun, f'{noun}s')}"
