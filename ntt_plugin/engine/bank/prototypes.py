"""A bank's features for matching: normalised once, used for all images (recipe, section 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..typing import Array
from .records import ClassMemory, StoredReference


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
