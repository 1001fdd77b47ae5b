"""The classes of the demo's scenes: a class is a shape, a pattern and a colour family."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

SHAPES = ("disc", "square", "triangle", "star", "cross", "ring", "crescent", "arrow")
PATTERNS = ("plain", "striped", "dotted", "checked")
COLOURS = ("red", "yellow", "green", "cyan", "blue", "magenta")


@dataclass(frozen=True)
class SceneClass:
    """A class: one of ``SHAPES`` with one of ``PATTERNS`` in one of ``COLOURS``."""

    shape: str
    pattern: str
    colour: str

    @property
    def name(self) -> str:
        """The class's label, such as ``red striped star``."""
        return f"{self.colour} {self.pattern} {self.shape}"


def _novel() -> tuple[SceneClass, ...]:
    # Two classes a shape; the strides spread patterns and colours evenly over them, so that
    # every attribute is known from base classes and only the combinations are new.
    return tuple(
        SceneClass(
            SHAPES[index // 2],
            PATTERNS[(index // 2 + 2 * (index % 2) + index // 8) % len(PATTERNS)],
            COLOURS[(5 * index + index // 6) % len(COLOURS)],
        )
        for index in range(2 * len(SHAPES))
    )


ALL_CLASSES = tuple(SceneClass(*attributes) for attributes in product(SHAPES, PATTERNS, COLOURS))
"""All 192 classes."""

NOVEL_CLASSES = _novel()
"""The 16 classes that no training scene ever shows."""

BASE_CLASSES = tuple(entry for entry in ALL_CLASSES if entry not in NOVEL_CLASSES)
"""The 176 classes that the bundled networks were trained on."""
