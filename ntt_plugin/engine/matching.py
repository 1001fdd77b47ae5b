"""Proposals and a memory bank become instances (recipe, sections 4 and 5)."""

from __future__ import annotations

from .config import Recipe
from .instances import Instances
from .memory import MemoryBank
from .proposals import Proposals


def match(proposals: Proposals, bank: MemoryBank, recipe: Recipe) -> Instances:
    """Instances."""
    raise NotImplementedError
