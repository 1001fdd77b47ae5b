"""Proposals that show almost the same pixels as a better one; without them records are smaller."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from ..masks.boxes import shared_areas
from ..masks.set_bits import set_bits_of_rows

Array = np.ndarray[Any, Any]


def distinct(masks: Tensor, boxes: Tensor, ious: Tensor, threshold: float = 0.9) -> Array:
    """Of low-resolution masks that overlap strongly, keep the one with the highest predicted IoU.

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
    areas = set_bits_of_rows(words)
    stays = np.ones(len(words), dtype=bool)
    order = np.argsort(-ious.detach().cpu().numpy(), kind="stable")
    for place, best in enumerate(order.tolist()):
        if not stays[best]:
            continue
        rest = order[place + 1 :]
        rest = rest[stays[rest]]
        # Most pairs need no counting: their boxes or areas alone rule them out.
        most = np.minimum(areas[rest], areas[best])
        at_most = np.minimum(shared_areas(corners[best, None], corners[rest])[0], most)
        rest = rest[at_most >= threshold * np.maximum(areas[rest], areas[best])]
        shared = set_bits_of_rows(words[rest] & words[best])
        stays[rest[shared >= threshold * (areas[rest] + areas[best] - shared)]] = False
    return np.flatnonzero(stays)


def _pack(masks: Array) -> Array:
    """Bool (n, k) as uint64 (n, ceil(k / 64))."""
    padded = np.pad(masks, ((0, 0), (0, -masks.shape[1] % 64)))
    return np.packbits(padded, axis=1).view(np.uint64)
