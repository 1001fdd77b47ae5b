"""Instances: what is found in one image, as masks at the image's own size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Instances:
    """Labelled masks of one image, the best score first.

    Attributes:
        masks: one bool array (h, w) an instance, cropped to its box; it may be made anew each
            time that it is asked for.
        boxes: tight boxes x1 y1 x2 y2 in pixels, x2 and y2 exclusive, int64 (n, 4).
        scores: float32 (n,) in [0, 1].
        labels: the class of each.
        margins: similarity minus that of the next best class, float32 (n,); the similarity
            itself where there is one class only.
        proposal_ious: the segmenter's own predicted IoU, float32 (n,).
        references: id of the class's most similar reference, of each.
        image_size: (H, W).
        left_out: candidates with a score that were left out, because there were more than
            ``max_instances``.
    """

    masks: Sequence[Array]
    boxes: Array
    scores: Array
    labels: list[str]
    margins: Array
    proposal_ious: Array
    references: list[str]
    image_size: tuple[int, int]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def empty(cls, image_size: tuple[int, int]) -> Instances:
        """No instance in an image of (H, W)."""
        none = np.zeros(0, dtype=np.float32)
        boxes = np.zeros((0, 4), dtype=np.int64)
        return cls([], boxes, none, [], none, none, [], image_size)

    def full_mask(self, index: int) -> Array:
        """The mask of one instance at the image's size, bool (H, W)."""
        full = np.zeros(self.image_size, dtype=bool)
        x1, y1, x2, y2 = self.boxes[index]
        full[y1:y2, x1:x2] = self.masks[index]
        return full
