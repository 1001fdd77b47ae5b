"""Candidates: boxes and masks from anywhere, to be classified like proposals of our own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...errors import ImageError
from ..bank.memory_bank import Fingerprint
from ..masks.packed import PackedMask, pack_mask
from ..typing import Array
from .feature_pooling import pool_packed
from .proposals import Proposals
from .tiles import Tile

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Candidate:
    """Something in an image that may be an object; what it is called does not matter.

    Attributes:
        box: x1 y1 x2 y2 in pixels of the image, x2 and y2 exclusive.
        confidence: stands for the predicted IoU, in [0, 1].
        mask: its mask, which is taken as it is; None if the segmenter is to make one of the box.

    Example:
        >>> from ntt_plugin.engine import Candidate
        >>> mask = np.zeros((40, 60), bool)
        >>> mask[10:20, 5:30] = True
        >>> Candidate.of_mask(mask, confidence=0.8).box
        (5, 10, 30, 20)
        >>> Candidate.of_box([5, 10, 30, 20]).confidence
        1.0
    """

    box: Box
    confidence: float = 1.0
    mask: PackedMask | None = None

    @classmethod
    def of_box(cls, box: Sequence[float], confidence: float = 1.0) -> Candidate:
        """A candidate of a box x1 y1 x2 y2, in pixels of the image.

        Raises:
            ImageError: the box is not made of four finite numbers, or has no area; or the
                confidence is no number from 0 to 1.
        """
        try:
            x1, y1, x2, y2 = (float(edge) for edge in box)
            right = bool(np.isfinite([x1, y1, x2, y2]).all()) and x1 < x2 and y1 < y2
        except (TypeError, ValueError, OverflowError):
            right = False
        if not right:
            raise ImageError(
                f"A candidate's box is {box!r}; it must be four finite numbers x1 y1 x2 y2, in "
                "pixels, with x1 < x2 and y1 < y2."
            )
        return cls((x1, y1, x2, y2), _confidence(confidence))

    @classmethod
    def of_mask(
        cls, mask: Array, left: int = 0, top: int = 0, confidence: float = 1.0
    ) -> Candidate:
        """A candidate of a mask, bool (h, w), whose corner lies at ``left``, ``top`` in the image.

        Raises:
            ImageError: the mask has another form or no pixel, or lies before the image's
                beginning; or the confidence is no number from 0 to 1.
        """
        if not isinstance(mask, np.ndarray) or mask.ndim != 2:
            form = getattr(mask, "shape", type(mask).__name__)
            raise ImageError(f"A candidate's mask is {form}, not an array (height, width).")
        packed = pack_mask(mask.astype(bool), left, top) if min(left, top) >= 0 else None
        if packed is None:
            raise ImageError(
                f"A candidate's mask at {left}, {top} has no pixel, or lies outside of the image."
            )
        return cls(packed.box, _confidence(confidence), packed)


def _confidence(value: float) -> float:
    if isinstance(value, (int, float, np.number)) and 0 <= value <= 1:
        return float(value)
    raise ImageError(f"A candidate's confidence is {value!r}; it must be a number from 0 to 1.")


def candidates_digest(candidates: Sequence[Candidate], grid: bool, box_points: int = 0) -> str:
    """Digest of all that proposals from candidates depend on beside the image, 64 hex digits.

    ``grid`` is whether they are joined with the proposals of the point grid; ``box_points`` is
    the recipe's.
    """
    # Masks do not depend on points in boxes, nor did those of boxes in former versions.
    points = box_points if any(candidate.mask is None for candidate in candidates) else 0
    kind = f"candidates {grid} {len(candidates)}" + (f" {points} points" if points else "")
    digest = hashlib.blake2b(kind.encode(), digest_size=32)
    for candidate in candidates:
        digest.update(np.array([*candidate.box, candidate.confidence], "<f8").tobytes())
        if candidate.mask is not None:
            digest.update(f"mask {candidate.mask.words.shape}".encode())
            digest.update(candidate.mask.words.astype("<u8", copy=False).tobytes())
    return digest.hexdigest()


def require_in_image(candidates: Sequence[Candidate], image_size: tuple[int, int]) -> None:
    """Raise ``ImageError`` for a mask that reaches over the edge of its image (H, W)."""
    height, width = image_size
    for index, candidate in enumerate(candidates):
        _, _, x2, y2 = candidate.box
        if candidate.mask is not None and not (x2 <= width and y2 <= height):
            raise ImageError(
                f"The mask of candidate {index} reaches to {x2:g}, {y2:g}, and the image has "
                f"{width} x {height} pixels; is it the mask of another image?"
            )


def of_masks(
    candidates: Sequence[Candidate],
    indices: Sequence[int],
    tile: Tile,
    features_map: Tensor,
    fingerprint: Fingerprint,
) -> Proposals:
    """Proposals of candidates that have masks, in coordinates of their tile.

    Args:
        candidates: n with masks that lie in the tile.
        indices: what the proposals' ``sources`` are to be.
        tile: of the image.
        features_map: patch features of the tile, float (C, gh, gw).
        fingerprint: the encoder that made them.
    """
    size = (tile.bottom - tile.top, tile.right - tile.left)
    masks = [c.mask.shifted(-tile.left, -tile.top) for c in candidates if c.mask is not None]
    return Proposals(
        ious=torch.tensor([candidate.confidence for candidate in candidates]),
        features=pool_packed(features_map, masks, size),
        boxes=torch.tensor([mask.box for mask in masks], dtype=torch.float32),
        masks=masks,
        image_size=size,
        fingerprint=fingerprint,
        sources=torch.tensor(indices),
    )


def assign_to_tiles(
    candidates: Sequence[Candidate], tiles: Sequence[Tile], image_size: tuple[int, int]
) -> list[list[int]]:
    """Which tile each candidate is looked at in: where it lies nearest to the middle, uncut.

    Args:
        candidates: of an image.
        tiles: the image as a whole first, which takes those that no tile shows whole.
        image_size: (H, W).

    Returns:
        For each tile the indices of its candidates.
    """
    assigned: list[list[int]] = [[] for _ in tiles]
    for index, candidate in enumerate(candidates):
        x1, y1, x2, y2 = candidate.box
        whole = [
            (abs(t.left + t.right - x1 - x2) + abs(t.top + t.bottom - y1 - y2), place)
            for place, t in enumerate(tiles[1:], start=1)
            if not t.cuts(candidate.box, image_size)
        ]
        assigned[min(whole)[1] if whole else 0].append(index)
    return assigned
