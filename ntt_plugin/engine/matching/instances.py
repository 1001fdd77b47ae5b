"""Instances: the result of segmenting one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..typing import Array


@dataclass(frozen=True, eq=False)
class Instances:
    """Labelled masks of one image, in descending order of score.

    Attributes:
        masks: one bool array (h, w) per instance, cropped to its box; may be decoded on each
            access.
        boxes: tight boxes x1 y1 x2 y2 in pixels, x2 and y2 exclusive, int64 (n, 4).
        scores: float32 (n,), in [0, 1].
        labels: n class labels.
        margins: similarity minus that of the second best class, float32 (n,); with a single
            class the similarity.
        proposal_ious: IoU predicted by the segmenter, float32 (n,).
        references: id of the most similar reference of the instance's class, n texts.
        image_size: (H, W) of the image.
        left_out: number of candidates dropped by the limit ``max_instances``.

    Example:
        >>> from ntt_plugin.engine import Instances
        >>> score, mask = np.float32([0.9]), np.ones((1, 2), bool)
        >>> boxes = np.array([[1, 0, 3, 1]])
        >>> found = Instances([mask], boxes, score, ["cat"], score, score, ["an id"], (2, 4))
        >>> found.full_mask(0).astype(int)
        array([[0, 1, 1, 0],
               [0, 0, 0, 0]])
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
