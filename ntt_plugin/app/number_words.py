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


def part_of_these(noun: str, part: int, number: int, one: str, many: str) -> str:
    """A part of a number, with its verb: ``2 of these 5 images hold``, ``This image holds``.

    All of them are told so.

    Args:
        noun: what is counted, one of it.
        part: how many of them, one at least.
        number: how many there are.
        one: the verb for one.
        many: the verb for several.
    """
    if number == 1:
        return f"This {noun} {one}"
    if part == number:
        return f"All of these {number_of(noun, number)} {many}"
    return f"{part:,} of these {number_of(noun, number)} {one if part == 1 else many}"
