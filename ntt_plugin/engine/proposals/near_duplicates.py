"""Near duplicates among the masks of an image: which of them stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from ..masks.packed import PackedMask, set_bits_of_rows, shared_areas
from ..typing import Array

SharedPixels = Callable[[int, Array], Array]
"""Number of pixels that a mask shares with each of others, int (k,), from their indices."""


def distinct(masks: Tensor, boxes: Tensor, ious: Tensor, threshold: float = 0.9) -> Array:
    """Remove near duplicates: NMS on the IoU of low-resolution masks.

    Args:
        masks: not empty, bool (n, m, m).
        boxes: their x1 y1 x2 y2, inclusive pixel indices, (n, 4).
        ious: predicted IoUs, float (n,); among equals the lower index stays.
        threshold: a mask whose IoU with one that stays is at least this goes; above 0.

    Returns:
        Indices of those that stay, in the order in which they came, int64 (k,).
    """
    corners = boxes.cpu().numpy().astype(np.int64)
    corners[:, 2:] += 1
    words = _pack(masks.flatten(1).cpu().numpy())

    def shared(best: int, others: Array) -> Array:
        return set_bits_of_rows(words[others] & words[best])

    return _distinct(corners, set_bits_of_rows(words), ious, threshold, shared)


def distinct_packed(masks: Sequence[PackedMask], ious: Tensor, threshold: float) -> Array:
    """As ``distinct``, of n masks at the image's own size."""
    # Each access may inflate a mask.
    extents = [(mask.box, mask.area) for mask in masks]
    corners = np.array([box for box, _ in extents], dtype=np.int64).reshape(-1, 4)
    areas = np.array([area for _, area in extents], dtype=np.int64)

    def shared(best: int, others: Array) -> Array:
        mask = masks[best]
        return np.array([mask.intersection(masks[other]) for other in others.tolist()], np.int64)

    return _distinct(corners, areas, ious, threshold, shared)


def _distinct(
    corners: Array, areas: Array, ious: Tensor, threshold: float, shared_pixels: SharedPixels
) -> Array:
    """Greedy suppression by mask IoU; ``corners`` are x1 y1 x2 y2, right and bottom exclusive."""
    stays = np.ones(len(areas), dtype=bool)
    order = np.argsort(-ious.detach().cpu().numpy(), kind="stable")
    for place, best in enumerate(order.tolist()):
        if not stays[best]:
            continue
        rest = order[place + 1 :]
        rest = rest[stays[rest]]
        # Boxes and areas bound the IoU and rule out most pairs without counting pixels.
        most = np.minimum(areas[rest], areas[best])
        at_most = np.minimum(shared_areas(corners[best, None], corners[rest])[0], most)
        rest = rest[at_most >= threshold * np.maximum(areas[rest], areas[best])]
        shared = shared_pixels(best, rest)
        stays[rest[shared >= threshold * (areas[rest] + areas[best] - shared)]] = False
    return np.flatnonzero(stays)


def _pack(masks: Array) -> Array:
    """Bool (n, k) as uint64 (n, ceil(k / 64))."""
    padded = np.pad(masks, ((0, 0), (0, -masks.shape[1] % 64)))
    return np.packbits(padded, axis=1).view(np.uint64)
