"""A bank's features as matching compares them: unit-length, and made once for all images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .records import ClassMemory, StoredReference

Array = np.ndarray[Any, Any]


class UnitFeatures:
    """What matching needs of a bank, as long as the bank is not changed.

    Attributes:
        prototypes: one for each class, float32 (k, C).
        negatives: of each class that has some, its index and its negatives, float32 (n, C).
    """

    def __init__(self, classes: Mapping[str, ClassMemory], channels: int) -> None:
        """Compute what every image needs; the rest when it is first asked for.

        Args:
            classes: the bank's classes, in order.
            channels: length of its features.
        """
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
        """Id of the class's most similar reference (by cosine) for each feature, float (n, C)."""
        stored = self._classes[label].references
        own = self._references.get(label)
        if own is None:
            own = self._references[label] = F.normalize(_stack(stored), dim=1).numpy().T
        # How long a feature is makes no difference to which reference is nearest.
        return [stored[index].id for index in (features @ own).argmax(axis=1).tolist()]


def _stack(stored: Sequence[StoredReference]) -> Tensor:
    return torch.stack([entry.feature for entry in stored])
