"""The engine: reference-based segmentation with torch alone, without FiftyOne."""

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
