"""The table of journeys: pairs of what files, labels and paths can be, each pair at least once."""

import random
from dataclasses import dataclass

from tests.journeys.files import PLACES, SIZES
from tests.journeys.formats import FILE_KINDS, FileKind
from tests.journeys.imports import IMPORTED
from tests.journeys.labels import DRAWN, LabelKind
from tests.journeys.way import EXPORTS

LABEL_KINDS = (*DRAWN, *IMPORTED)

_FAMILIES = {"png", "jpeg", "tiff", "webp", "avif"}
_SEED = 7
_DRAWN = 20_000


@dataclass(frozen=True)
class Cell:
    """One journey of the table.

    Attributes:
        file: the kind of image file.
        orientation: how its pixels lie, 1 to 8 as in EXIF.
        size: a key of ``SIZES``.
        place: one of ``PLACES``.
        labels: the kind of labels.
        export: what is written and read again in the end.
        kept: whether the target is segmented from proposals that were kept before.
        metadata: whether FiftyOne has computed the samples' metadata.
    """

    file: FileKind
    orientation: int
    size: str
    place: str
    labels: LabelKind
    export: str
    kept: bool
    metadata: bool

    def __str__(self) -> str:
        words = [self.file.name, f"turn {self.orientation}", self.size, self.place]
        words += [self.labels.name, self.export]
        words += ["kept proposals"] * self.kept + ["metadata"] * self.metadata
        return ", ".join(words)

    @property
    def family(self) -> str:
        """The format, or ``plain`` for those whose files have no orientation."""
        word = self.file.name.split()[0]
        return {"bigtiff": "tiff", "mpo": "jpeg"}.get(word, word if word in _FAMILIES else "plain")

    @property
    def sides(self) -> str:
        """Whether the turn exchanges the picture's sides."""
        return "exchanged" if self.orientation >= 5 else "kept"


def is_possible(cell: Cell) -> bool:
    """Whether there can be such a file, and a right answer to it."""
    if cell.orientation != 1 and not cell.file.turns:
        return False
    # Each picture, size and way to masks needs an answer of its own; these need the fewest.
    if cell.file.picture != "rgb" and (cell.labels.boxes or cell.size != "portrait"):
        return False
    if cell.labels.boxes and cell.size not in ("wide", "square"):
        return False
    # Sizes tell stored from shown pixels only where a turn exchanges them.
    if cell.labels.stored:
        return cell.orientation >= 5 and cell.size != "square" and not cell.file.unsure
    return True


# Each pair of values that these can have occurs in some cell of the table.
_PAIRS = (
    ("family", "orientation"),
    ("family", "place"),
    ("labels", "sides"),
    ("orientation", "size"),
    ("orientation", "metadata"),
    ("size", "export"),
    ("place", "kept"),
    ("file", "file"),
)


def cells() -> list[Cell]:
    """The table: of many random cells, again and again the one with most pairs still missing."""
    rng = random.Random(_SEED)
    drawn = [cell for cell in (_random_cell(rng) for _ in range(_DRAWN)) if is_possible(cell)]
    covered = [_pairs(cell) for cell in drawn]
    missing = set().union(*covered)
    chosen: list[Cell] = []
    while missing:
        best = max(range(len(drawn)), key=lambda index: len(missing & covered[index]))
        missing -= covered[best]
        chosen.append(drawn[best])
    return chosen


def _random_cell(rng: random.Random) -> Cell:
    return Cell(
        file=rng.choice(FILE_KINDS),
        orientation=rng.randint(1, 8),
        size=rng.choice(list(SIZES)),
        place=rng.choice(PLACES),
        labels=rng.choice(LABEL_KINDS),
        export=rng.choice(EXPORTS),
        kept=rng.random() < 0.5,
        metadata=rng.random() < 0.5,
    )


def _pairs(cell: Cell) -> set[tuple[str, str, str, str]]:
    return {(one, _value(cell, one), two, _value(cell, two)) for one, two in _PAIRS}


def _value(cell: Cell, name: str) -> str:
    value = getattr(cell, name)
    return value.name if isinstance(value, (FileKind, LabelKind)) else str(value)
