"""Something to know of a sample, or of a whole run: why it failed, or what was done about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class SampleNote:
    """Something to know of one sample: why it failed, or what was done about it.

    Attributes:
        sample: the sample's id; empty if it concerns the run.
        filepath: its image; empty if it concerns the run or was not known yet.
        reason: a sentence.
    """

    sample: str
    filepath: str
    reason: str


def in_words(notes: list[SampleNote], what: str) -> list[str]:
    """How many notes there are, and the first, as a part of a sentence; none if there are none."""
    if not notes:
        return []
    first = f"{notes[0].filepath}: {notes[0].reason}".removeprefix(": ")
    return [f"{len(notes)} {what}, the first {first}"]


def run_notes(reasons: Iterable[str]) -> list[SampleNote]:
    """Notes that concern the run, not one sample."""
    return [SampleNote("", "", reason) for reason in reasons]
