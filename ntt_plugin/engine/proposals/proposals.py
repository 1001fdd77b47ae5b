"""Proposals of one image: everything slow, independent of references (recipe, section 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ..bank.memory_bank import Fingerprint
from ..device.batching import SMALLER_IMAGE, reraise_oom
from ..device.threads import require_own_process, with_threads_by_load
from ..masks.containers import CachedMasks
from ..masks.packed import PackedMask
from .feature_pooling import pool_features
from .mask_upsampling import UpsampledMasks
from .near_duplicates import distinct


class MaskSource(Protocol):
    """Full-size masks of an image, computed or read on access."""

    def __len__(self) -> int:
        """Number of masks."""

    def __getitem__(self, index: int, /) -> PackedMask | None:
        """One of them; None where no pixel of the image is left."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """Class-agnostic masks of one image, with what matching needs of each.

    Attributes:
        ious: predicted IoUs, float (n,).
        features: unit-length features, float (n, C).
        boxes: the boxes that non-maximum suppression compares, x1 y1 x2 y2, float (n, 4): of the
            low-resolution masks, inclusive pixel indices; of proposals from tiles, the tight boxes
            of ``masks`` in pixels, x2 and y2 exclusive.
        masks: n masks at the image's own size.
        image_size: (H, W) of the original image.
        fingerprint: the encoder that made the features; None if unknown.
        sources: index of the candidate that each was made of, -1 for the point grid, int64 (n,);
            None if none was made of a candidate.
        stability: of each mask, float (n,), in [0, 1]; None if the recipe does not ask for it. See
            ``stability_scores``.

    Example:
        >>> from ntt_plugin.engine import Proposals
        >>> logits = torch.full((1, 8, 8), -1.0)
        >>> logits[0, 2:5, 3:6] = 1.0
        >>> patches = torch.ones(2, 4, 4)
        >>> found = Proposals.from_logits(logits, torch.tensor([0.9]), patches, image_size=(16, 16))
        >>> found.boxes, found.masks[0].box
        (tensor([[3., 2., 5., 4.]]), (6, 4, 12, 10))
    """

    ious: Tensor
    features: Tensor
    boxes: Tensor
    masks: MaskSource
    image_size: tuple[int, int]
    fingerprint: Fingerprint | None = None
    sources: Tensor | None = None
    stability: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ious)

    def some_masks(self, indices: Sequence[int]) -> Iterator[PackedMask | None]:
        """Yield masks in the order of ``indices``; on a GPU they are upsampled in batches."""
        if isinstance(self.masks, UpsampledMasks):
            return self.masks.some(indices)
        return (self.masks[index] for index in indices)

    @with_threads_by_load
    @reraise_oom("make the masks of an image", SMALLER_IMAGE)
    def with_masks_made(self) -> Proposals:
        """A copy with all masks computed, which no longer needs the logits."""
        require_own_process(self.features.device)
        return replace(self, masks=CachedMasks(self.some_masks(range(len(self)))))

    @classmethod
    def from_logits(
        cls,
        logits: Tensor,
        ious: Tensor,
        features_map: Tensor,
        image_size: tuple[int, int],
        fingerprint: Fingerprint | None = None,
        duplicate_iou: float | None = None,
        with_stability: bool = False,
    ) -> Proposals:
        """Pool a feature for each mask and drop empty masks (recipe, section 3.6).

        Args:
            logits: float (n, m, m).
            ious: predicted IoUs, float (n,).
            features_map: patch features of the image, float (C, gh, gw).
            image_size: (H, W) of the original image.
            fingerprint: the encoder that made ``features_map``.
            duplicate_iou: as the recipe's.
            with_stability: whether the masks' stability is kept.
        """
        masks = logits > 0
        filled = masks.flatten(1).any(dim=1).nonzero()[:, 0]
        logits, ious, masks = logits[filled], ious[filled], masks[filled]
        boxes = mask_boxes(masks)
        if duplicate_iou is not None:
            kept = torch.from_numpy(distinct(masks, boxes, ious, duplicate_iou)).to(logits.device)
            logits, ious, masks, boxes = logits[kept], ious[kept], masks[kept], boxes[kept]
        return cls(
            ious=ious,
            features=pool_features(features_map, masks),
            boxes=boxes,
            masks=UpsampledMasks(logits, boxes, image_size),
            image_size=image_size,
            fingerprint=fingerprint,
            stability=stability_scores(logits) if with_stability else None,
        )


def stability_scores(logits: Tensor) -> Tensor:
    """How little masks change with the threshold: IoU of those cut at 1 and at -1 (recipe, 4).

    Segment Anything's stability score.

    Args:
        logits: float (n, m, m), of masks that are not empty.

    Returns:
        Float32 (n,), in [0, 1].
    """
    flat = logits.flatten(1)
    return (flat > 1).sum(dim=1).float() / (flat > -1).sum(dim=1).float()


def mask_boxes(masks: Tensor) -> Tensor:
    """Smallest and largest pixel index of non-empty masks (n, m, m): x1 y1 x2 y2, float (n, 4)."""
    x1, x2 = _first_and_last(masks.any(dim=1))
    y1, y2 = _first_and_last(masks.any(dim=2))
    return torch.stack([x1, y1, x2, y2], dim=1).to(torch.float32)


def _first_and_last(lines: Tensor) -> tuple[Tensor, Tensor]:
    """First and last true index of each row of bool (n, m)."""
    indices = torch.arange(lines.shape[1], device=lines.device)
    first = torch.where(lines, indices, lines.shape[1]).amin(dim=1)
    last = torch.where(lines, indices, -1).amax(dim=1)
    return first, last
