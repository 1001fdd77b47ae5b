"""Candidates of one image as an item carries them: boxes and masks of labels, with their ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...engine.proposals.candidates import Candidate
from ...engine.typing import Array
from .label_bytes import decode_mask, encode_mask


@dataclass(frozen=True)
class GivenCandidates:
    """The candidates of one image.

    Attributes:
        candidates: boxes and masks.
        ids: of the labels that they are, in the same order.
        grid: whether they are joined with the proposals of the point grid.
    """

    candidates: Sequence[Candidate]
    ids: Sequence[str]
    grid: bool


def candidate_entry(
    label_id: str,
    box: Sequence[float],
    confidence: float,
    mask: Array | None = None,
    corner: tuple[int, int] = (0, 0),
) -> dict[str, Any]:
    """One label, as BSON can hold it.

    Args:
        label_id: the label's id.
        box: x1 y1 x2 y2 in pixels of the image; not looked at where there is a mask.
        confidence: in [0, 1].
        mask: bool (h, w).
        corner: the mask's left and top in the image.
    """
    encoded = None if mask is None else encode_mask(mask)
    return {
        "id": label_id,
        "box": [float(edge) for edge in box],
        "confidence": confidence,
        "mask": encoded,
        "corner": list(corner),
    }


def candidates_content(entries: Sequence[Mapping[str, Any]], grid: bool) -> dict[str, Any]:
    """What an item carries; ``given_candidates`` reads it."""
    return {"candidates": list(entries), "grid": grid}


def given_candidates(content: Any) -> GivenCandidates | None:
    """The candidates in an item's content; None if it carries none.

    Raises:
        ImageError: a box, mask or confidence is unusable.
    """
    if not isinstance(content, Mapping) or "candidates" not in content:
        return None
    entries = content["candidates"]
    return GivenCandidates(
        [_candidate(entry) for entry in entries],
        [entry["id"] for entry in entries],
        bool(content["grid"]),
    )


def _candidate(entry: Mapping[str, Any]) -> Candidate:
    if entry["mask"] is None:
        return Candidate.of_box(entry["box"], entry["confidence"])
    left, top = entry["corner"]
    return Candidate.of_mask(decode_mask(entry["mask"]), left, top, entry["confidence"])
