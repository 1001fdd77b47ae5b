"""The records that a memory bank is made of, and its features for matching."""

from __future__ import annotations

import numbers
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..recipe import Recipe
from ..references import Provenance
from ..typing import Array

LARGEST_VALUE = 1e9
"""Largest accepted value of a feature: far beyond any encoder's, and means cannot overflow."""


@dataclass(frozen=True)
class Fingerprint:
    """Identity of an encoder; features of different fingerprints are not comparable.

    Attributes:
        name: the encoder as it was given: hub id, path or ``tiny``.
        digest: digest of its weights.
        size: side of its input, pixels.
        channels: length of its features.
        context_ratio: how much wider than their boxes references are cropped.

    Example:
        >>> from ntt_plugin.engine import Fingerprint
        >>> ours = Fingerprint("facebook/dinov2-small", "3b1f", size=518, channels=384)
        >>> ours.same(Fingerprint("/models/dinov2", "3b1f", size=518, channels=384))
        True
        >>> ours.describe()
        'facebook/dinov2-small (weights 3b1f, input 518 px, 384 channels, context 0.2)'
    """

    name: str
    digest: str
    size: int
    channels: int
    context_ratio: float = 0.2

    def same(self, other: Fingerprint) -> bool:
        """Whether features of both are comparable; the name is ignored."""
        return self._identity() == other._identity()

    def describe(self) -> str:
        """All fields as text, for messages."""
        return (
            f"{self.name} (weights {self.digest[:12]}, input {self.size} px, "
            f"{self.channels} channels, context {self.context_ratio:g})"
        )

    def _identity(self) -> tuple[str, int, int, float]:
        return self.digest, self.size, self.channels, self.context_ratio


@dataclass(frozen=True)
class Refused:
    """A reference that yielded no feature, and why."""

    label: str
    provenance: Provenance
    reason: str


@dataclass(frozen=True, eq=False)
class StoredReference:
    """One feature of a bank with its id and where it came from.

    Attributes:
        id: stable and unique, 32 hex digits.
        provenance: where the reference came from.
        feature: float32 (C,), not normalised, on the CPU.
        reading: the ``READING_VERSION`` with which its image was read; 1 if not recorded.
    """

    id: str
    provenance: Provenance
    feature: Tensor
    reading: int = 1


class BankEntry(NamedTuple):
    """A reference or negative of a bank, and the class that it belongs to."""

    label: str
    negative: bool
    stored: StoredReference


@dataclass
class ClassMemory:
    """References, negatives and confidence threshold of one class.

    Attributes:
        expected_recall: with an estimated threshold, the share of objects expected above it.
    """

    references: list[StoredReference] = field(default_factory=list)
    negatives: list[StoredReference] = field(default_factory=list)
    threshold: float | None = None
    expected_recall: float | None = None


@dataclass
class BankRecord:
    """Content of a bank and of its file.

    Attributes:
        notes: remarks on how reference images were read, for people.
    """

    fingerprint: Fingerprint
    recipe: Recipe
    created: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat())
    version: int = 0
    classes: dict[str, ClassMemory] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def is_threshold(value: object) -> bool:
    """Whether a value is a valid threshold: a number in [0, 1]."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return number and bool(0 <= value <= 1)  # type: ignore[operator]


def new_reference_id() -> str:
    """A fresh id for a stored reference."""
    return uuid.uuid4().hex


class UnitFeatures:
    """Unit-length features of a bank; valid until the bank changes.

    Attributes:
        prototypes: one per class, float32 (k, C).
        negatives: index and negatives, float32 (n, C), of each class that has negatives.
    """

    def __init__(self, classes: Mapping[str, ClassMemory], channels: int) -> None:
        """Compute prototypes and negatives; references are normalised on first use."""
        self._classes = classes
        self._references: dict[str, Array] = {}
        means = [_stack(entry.references).mean(dim=0) for entry in classes.values()]
        stacked = torch.stack(means) if means else torch.zeros(0, channels)
        self.prototypes = F.normalize(stacked, dim=1)
        self.negatives = [
            (index, F.normalize(_stack(entry.negatives), dim=1))
            for index, entry in enumerate(classes.values())
            if entry.negatives
        ]

    def nearest_reference(self, label: str, features: Array) -> list[str]:
        """Id of the class's reference with the highest cosine to each feature, float (n, C)."""
        stored = self._classes[label].references
        own = self._references.get(label)
        if own is None:
            own = self._references[label] = F.normalize(_stack(stored), dim=1).numpy().T
        # The length of a feature does not change which reference is nearest.
        return [stored[index].id for index in (features @ own).argmax(axis=1).tolist()]


def _stack(stored: Sequence[StoredReference]) -> Tensor:
    return torch.stack([entry.feature for entry in stored])
