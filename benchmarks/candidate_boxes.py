"""Boxes as another model might propose them, and how good the masks made of them are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ntt_plugin.engine.masks.packed import PackedMask, pack_mask
from ntt_plugin.engine.matching.nms import box_iou

Array = np.ndarray[Any, Any]
_TRIES = 100


def tight_boxes(masks: Iterable[Array]) -> Array:
    """Boxes x1 y1 x2 y2 of masks that are not empty, x2 and y2 exclusive, float (n, 4)."""
    boxes = []
    for mask in masks:
        rows, columns = np.nonzero(mask)
        boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    return np.array(boxes, dtype=float).reshape(-1, 4)


def jittered(
    boxes: Array, image_size: tuple[int, int], amount: float, rng: np.random.Generator
) -> Array:
    """Boxes (n, 4) whose edges are moved at random, by at most ``amount`` of their sides.

    Args:
        boxes: x1 y1 x2 y2, inside of the image.
        image_size: (H, W); no edge leaves it.
        amount: below 0.5, so that no box turns inside out.
        rng: where the moves come from.
    """
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    moved = boxes + sides * rng.uniform(-amount, amount, boxes.shape)
    height, width = image_size
    return np.asarray(moved.clip(0, [width, height, width, height]))


def false_boxes(
    boxes: Array, image_size: tuple[int, int], most_iou: float, rng: np.random.Generator
) -> Array:
    """As many boxes as there are, of their sizes, at places where none of them lies.

    Args:
        boxes: x1 y1 x2 y2, no larger than the image, (n, 4).
        image_size: (H, W).
        most_iou: a false box has no higher IoU with any of ``boxes``.
        rng: where the places come from. A box for which 100 of them will not do is left out.
    """
    height, width = image_size
    found = []
    for x1, y1, x2, y2 in boxes:
        for _ in range(_TRIES):
            left = rng.uniform(0, width - (x2 - x1))
            top = rng.uniform(0, height - (y2 - y1))
            placed = [left, top, left + x2 - x1, top + y2 - y1]
            if all(box_iou(placed, box) <= most_iou for box in boxes.tolist()):
                found.append(placed)
                break
    return np.array(found, dtype=float).reshape(-1, 4)


def best_ious(objects: Iterable[Array], masks: Iterable[PackedMask | None]) -> list[float]:
    """For each object, bool (H, W), the highest IoU of any of the masks; 0 if there are none."""
    known = [mask for mask in masks if mask is not None]
    found = []
    for item in objects:
        packed = pack_mask(item)
        assert packed is not None
        best = 0.0
        for mask in known:
            shared = packed.intersection(mask)
            best = max(best, shared / (packed.area + mask.area - shared))
        found.append(best)
    return found
