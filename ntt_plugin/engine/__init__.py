"""The engine: reference-based segmentation with torch alone, without FiftyOne.

Names are imported when they are first used: the networks' code takes seconds to import, and who
only reads a bank or names a preset has no need of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

from ..errors import NttError

if TYPE_CHECKING:
    from .bank.memory_bank import Fingerprint, MemoryBank
    from .matching.match import Instances, match
    from .proposals.candidates import Candidate
    from .proposals.proposals import Proposals
    from .recipe import PRESETS, Recipe
    from .references import Provenance, Reference
    from .segmenter import Segmenter

__all__ = [
    "PRESETS",
    "Candidate",
    "Fingerprint",
    "Instances",
    "MemoryBank",
    "NttError",
    "Proposals",
    "Provenance",
    "Recipe",
    "Reference",
    "Segmenter",
    "match",
]

_NAMES = {
    "recipe": ["PRESETS", "Recipe"],
    "matching.match": ["Instances", "match"],
    "bank.memory_bank": ["Fingerprint", "MemoryBank"],
    "proposals.candidates": ["Candidate"],
    "proposals.proposals": ["Proposals"],
    "references": ["Provenance", "Reference"],
    "segmenter": ["Segmenter"],
}

__getattr__ = lazy_loader.attach(__name__, submod_attrs=_NAMES)[0]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
