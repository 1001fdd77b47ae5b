"""How well a bank's references stand for their classes, and how its classes compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .memory_bank import MemoryBank, StoredReference


@dataclass(frozen=True)
class ReferenceQuality:
    """How well one reference stands for its class, in cosines.

    Attributes:
        id: the reference's id.
        label: its class.
        own: to the mean of its class's other references; nan if it is the only one. Of a
            negative: to its class's prototype.
        close: the mean to the nearer half of these others, which one bad reference among them
            does not change; nan if it is the only one, and of a negative.
        nearest_class: the other class whose prototype is nearest; None with one class.
        nearest: to that prototype; nan with one class.
    """

    id: str
    label: str
    own: float
    close: float
    nearest_class: str | None
    nearest: float


def reference_quality(bank: MemoryBank) -> list[ReferenceQuality]:
    """The quality of every reference, class by class, in order of addition."""
    found = []
    for label in bank.classes:
        features = bank.features(label)
        alone = len(features) == 1
        own = F.cosine_similarity(features, features.sum(dim=0) - features, dim=1)
        own = torch.full_like(own, math.nan) if alone else own
        found += _qualities(bank, label, bank.references(label), features, own, _close(features))
    return found


def negative_quality(bank: MemoryBank) -> list[ReferenceQuality]:
    """The quality of every negative, class by class, in order of addition."""
    found = []
    prototypes = bank.prototypes()
    for label, prototype in zip(bank.classes, prototypes, strict=True):
        features = bank.negatives(label)
        own = F.normalize(features, dim=1) @ prototype
        unknown = torch.full_like(own, math.nan)
        found += _qualities(bank, label, bank.negative_references(label), features, own, unknown)
    return found


def class_similarity(bank: MemoryBank) -> Tensor:
    """Cosines of the classes' prototypes, float32 (k, k), in the order of ``bank.classes``."""
    prototypes = bank.prototypes()
    return (prototypes @ prototypes.T).clamp(-1, 1)


def _qualities(
    bank: MemoryBank,
    label: str,
    stored: Sequence[StoredReference],
    features: Tensor,
    own: Tensor,
    close: Tensor,
) -> list[ReferenceQuality]:
    labels = bank.classes
    others = F.normalize(features, dim=1) @ bank.unit_features.prototypes.T
    others[:, labels.index(label)] = -torch.inf
    nearest, which = others.max(dim=1)
    alone = len(labels) == 1
    rows = zip(stored, own.tolist(), close.tolist(), nearest.tolist(), which.tolist(), strict=True)
    return [
        ReferenceQuality(
            id=entry.id,
            label=label,
            own=to_own,
            close=to_close,
            nearest_class=None if alone else labels[other],
            nearest=math.nan if alone else to_other,
        )
        for entry, to_own, to_close, to_other, other in rows
    ]


def _close(features: Tensor) -> Tensor:
    """Mean cosine of each feature (n, C) to the nearer half of the others, (n,)."""
    count = len(features)
    if count == 1:
        return torch.full((1,), math.nan)
    unit = F.normalize(features, dim=1)
    cosines = unit @ unit.T
    cosines.fill_diagonal_(-torch.inf)
    return cosines.topk(count // 2, dim=1).values.mean(dim=1)
