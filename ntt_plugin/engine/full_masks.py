"""Masks at the image's own size, one bit a pixel and cropped to their boxes (recipe, 4.3).

Hundreds of masks of a large image do not fit in memory as arrays of the image's size; cropped
and packed, 800 of 12 megapixels take 1.2 GB even if each covers the whole image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .pooling import resize_matrix

Array = np.ndarray[Any, Any]
PixelBox = tuple[int, int, int, int]

_WORD = 64
_BAND = 128


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A mask that is not empty, one bit a pixel.

    Attributes:
        box: tight box x1 y1 x2 y2 in pixels, x2 and y2 exclusive.
        words: uint64 (y2 - y1, columns); the first column holds the image's pixel columns from
            the multiple of 64 at or before x1, so that words of two masks line up.
        area: number of pixels.
    """

    box: PixelBox
    words: Array
    area: int

    def unpack(self) -> Array:
        """The mask cropped to its box, bool (y2 - y1, x2 - x1)."""
        x1, _, x2, _ = self.box
        bits = np.unpackbits(self.words.view(np.uint8), axis=1)
        start = x1 % _WORD
        return bits[:, start : start + x2 - x1].astype(bool)

    def intersection(self, other: PackedMask) -> int:
        """Number of pixels that both masks hold."""
        top, bottom = max(self.box[1], other.box[1]), min(self.box[3], other.box[3])
        first = max(self.box[0], other.box[0]) // _WORD
        last = -(-min(self.box[2], other.box[2]) // _WORD)
        if top >= bottom or first >= last:
            return 0
        return _count(
            self._window(top, bottom, first, last) & other._window(top, bottom, first, last)
        )

    def _window(self, top: int, bottom: int, first: int, last: int) -> Array:
        x1, y1, _, _ = self.box
        column = x1 // _WORD
        return self.words[top - y1 : bottom - y1, first - column : last - column]


def pack_mask(mask: Array, left: int = 0, top: int = 0) -> PackedMask | None:
    """Pack a mask, bool (h, w), that lies at ``left``, ``top`` in its image; None if empty."""
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return None
    tight = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    x1, y1 = left + int(columns[0]), top + int(rows[0])
    x2, y2 = x1 + tight.shape[1], y1 + tight.shape[0]
    aligned = np.pad(tight, ((0, 0), (x1 % _WORD, -x2 % _WORD)))
    words = np.packbits(aligned, axis=1).view(np.uint64)
    return PackedMask((x1, y1, x2, y2), words, int(np.count_nonzero(tight)))


def upsample_masks(
    logits: Tensor, boxes: Tensor, image_size: tuple[int, int]
) -> list[PackedMask | None]:
    """Mask logits at the image's own size, cut at 0 (recipe, section 4.3).

    Args:
        logits: float (n, m, m).
        boxes: x1 y1 x2 y2 of ``logits > 0``, inclusive pixel indices, (n, 4).
        image_size: (H, W).

    Returns:
        One mask for each, None where no pixel of the image is left.
    """
    upsampler = MaskUpsampler(logits.shape[-1], image_size, logits.device)
    pairs = zip(logits, boxes.long().tolist(), strict=True)
    return [upsampler.upsample(mask, box) for mask, box in pairs]


class MaskUpsampler:
    """Resizes mask logits to one image's size: bilinear with antialiasing, cut at 0.

    Args:
        side: m, the side of the logits.
        image_size: (H, W).
        device: where the logits are.
    """

    def __init__(self, side: int, image_size: tuple[int, int], device: torch.device) -> None:
        self._rows = _Axis(side, image_size[0], device)
        self._columns = _Axis(side, image_size[1], device)

    def upsample(self, logits: Tensor, box: Sequence[int]) -> PackedMask | None:
        """One mask at the image's size; only what a positive logit can reach is computed.

        Args:
            logits: float (m, m).
            box: x1 y1 x2 y2 of ``logits > 0``, inclusive pixel indices.

        Returns:
            The mask, or None where no pixel of the image is left.
        """
        x1, y1, x2, y2 = box
        xs, ys = self._columns.targets(x1, x2), self._rows.targets(y1, y2)
        if not xs or not ys:
            return None
        source = logits[:, self._columns.sources(xs)].to(torch.float32)
        wide = source @ self._columns.weights(xs).T
        mask = np.empty((len(ys), len(xs)), dtype=bool)
        # In bands: a few rows see a few source rows only, which keeps the product small.
        for start in range(0, len(ys), _BAND):
            band = ys[start : start + _BAND]
            full = self._rows.weights(band) @ wide[self._rows.sources(band)]
            mask[start : start + _BAND] = (full > 0).cpu().numpy()
        return pack_mask(mask, xs.start, ys.start)


class _Axis:
    """Resizing along one axis: the matrix, and which source samples each target sample sees."""

    def __init__(self, source: int, target: int, device: torch.device) -> None:
        self.matrix = resize_matrix(source, target, device)
        seen = self.matrix.cpu().numpy() != 0
        self.first = seen.argmax(axis=1)
        self.last = source - 1 - seen[:, ::-1].argmax(axis=1)

    def targets(self, low: int, high: int) -> range:
        """Target samples that see any of the source samples low..high."""
        start = np.searchsorted(self.last, low, side="left")
        stop = np.searchsorted(self.first, high, side="right")
        return range(int(start), int(stop))

    def sources(self, targets: range) -> slice:
        """All source samples that target samples, one at least, see."""
        return slice(int(self.first[targets[0]]), int(self.last[targets[-1]]) + 1)

    def weights(self, targets: range) -> Tensor:
        """The part of the matrix for target samples and the source samples that they see."""
        return self.matrix[targets.start : targets.stop, self.sources(targets)]


def _count_by_table(words: Array) -> int:
    """Number of set bits of uint64 words, for numpy before 2.0."""
    return int(_BITS_OF_BYTE[np.ascontiguousarray(words).view(np.uint8)].sum(dtype=np.int64))


def _count_by_instruction(words: Array) -> int:
    """Number of set bits of uint64 words."""
    return int(np.bitwise_count(words).sum(dtype=np.int64))


_BITS_OF_BYTE = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)
_count: Callable[[Array], int] = (
    _count_by_instruction if hasattr(np, "bitwise_count") else _count_by_table
)
