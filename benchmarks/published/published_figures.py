"""Figures of other methods, each with where it is published; what was not checked is not here."""

from __future__ import annotations

from dataclasses import dataclass

METHODS = ("NTTT", "FSOD-VFM", "DE-ViT")
"""No Time To Train (arXiv 2507.02798), FSOD-VFM (arXiv 2602.03137), DE-ViT (arXiv 2309.12969)."""


@dataclass(frozen=True)
class Figure:
    """A published value, in percent.

    Attributes:
        table: name of the table it belongs to.
        shots: references a class.
        row: the row of the table that it stands beside.
        method: one of ``METHODS``.
        value: in percent.
        source: where it is published.
    """

    table: str
    shots: int
    row: str
    method: str
    value: float
    source: str


_NTTT = "arXiv 2507.02798"
_NTTT_CODE = "README of github.com/miquel-espinosa/no-time-to-train, Results"
_VFM = "arXiv 2602.03137"
_NO_TABLE = "the number of its table was not looked up"

FIGURES = (
    Figure("coco", 10, "bbox AP", "NTTT", 36.6, f"{_NTTT}; {_NO_TABLE}"),
    Figure("coco", 30, "bbox AP", "NTTT", 36.8, f"{_NTTT}, abstract; {_NTTT_CODE}"),
    Figure("coco", 30, "segm AP", "NTTT", 34.2, _NTTT_CODE),
    Figure("coco", 10, "bbox AP", "FSOD-VFM", 44.0, f"{_VFM}; {_NO_TABLE}"),
    Figure("coco", 30, "bbox AP", "FSOD-VFM", 45.8, f"{_VFM}; {_NO_TABLE}"),
    Figure("cdfsod", 5, "mean AP", "NTTT", 22.4, f"{_NTTT}, abstract, without the shots"),
    Figure("cdfsod", 10, "mean AP", "FSOD-VFM", 31.6, f"{_VFM}, abstract"),
)

REMARKS = {
    "cdfsod": (
        "The abstract of arXiv 2602.03137 says of training-free methods before FSOD-VFM, without "
        "their names, that they reach a mean AP of 21.4 at 10 shots.",
    ),
    "voc": (
        "NTTT: 71.2 nAP50 in the abstract of arXiv 2507.02798, which does not say of which splits "
        "and shots it is the mean. Its script draws with seed 42, FSOD-VFM's files with seed 33.",
    ),
}
"""What is published and fits no row, by table."""


def figures_for(table: str, shots: int) -> dict[tuple[str, str], Figure]:
    """The published figures of a table by row and method."""
    return {(f.row, f.method): f for f in FIGURES if (f.table, f.shots) == (table, shots)}
