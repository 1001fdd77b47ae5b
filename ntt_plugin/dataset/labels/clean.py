"""Cleaning masks: specks removed, small holes filled."""

from __future__ import annotations

from dataclasses import dataclass

from ...engine.typing import Array


@dataclass(frozen=True)
class Clean:
    """What to clean of a mask; sizes are pixels if 1 or more, else shares of the mask's area.

    Attributes:
        specks: parts of fewer pixels are removed; the largest part always stays.
        holes: holes of fewer pixels are filled.
    """

    specks: float = 0.0
    holes: float = 0.0

    @classmethod
    def of(cls, given: Clean | float | None) -> Clean | None:
        """``given`` itself; a number stands for both sizes; None for no cleaning.

        Raises:
            DatasetError: a size is no number, or negative.
        """
        raise NotImplementedError


def clean_mask(mask: Array, clean: Clean) -> Array:
    """A cleaned copy of a mask, bool (h, w), not empty."""
    raise NotImplementedError
