"""The engine: reference-based segmentation with torch alone, without FiftyOne.

Names are imported when they are first used: the networks' code takes seconds to import, and who
only reads a bank or names a preset has no need of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..errors import NttError
    from .config import PRESETS, Recipe
    from .instances import Instances
    from .matching import match
    from .memory import Fingerprint, MemoryBank
    from .proposals import Proposals
    from .references import Provenance, Reference
    from .segmenter import Segmenter

__all__ = [
    "PRESETS",
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

_HOMES = {
    "PRESETS": ".config",
    "Fingerprint": ".memory",
    "Instances": ".instances",
    "MemoryBank": ".memory",
    "NttError": "..errors",
    "Proposals": ".proposals",
    "Provenance": ".references",
    "Recipe": ".config",
    "Reference": ".references",
    "Segmenter": ".segmenter",
    "match": ".matching",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
