"""Masks at the image's own size, one bit a pixel and cropped to their boxes.

Hundreds of masks of a large image do not fit in memory as arrays of the image's size; cropped
and packed, 800 of 12 megapixels take 1.2 GB even if each covers the whole image.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from ..typing import Array

_OF_BYTE = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)

PixelBox = tuple[int, int, int, int]

WORD = 64
"""Pixels of a word; words of two masks line up because each begins at a multiple of it."""


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A non-empty mask, one bit per pixel, cropped to its box.

    Attributes:
        box: tight box x1 y1 x2 y2 in pixels, x2 and y2 exclusive.
        words: uint64 (y2 - y1, columns); the first column holds the image's pixel columns from
            the multiple of 64 at or before x1, so that words of two masks line up.
    """

    box: PixelBox
    words: Array
    area: int

    def unpack(self) -> Array:
        """The mask cropped to its box, bool (y2 - y1, x2 - x1)."""
        x1, _, x2, _ = self.box
        bits = np.unpackbits(self.words.view(np.uint8), axis=1)
        start = x1 % WORD
        # Each is 0 or 1, so the bytes are those of bool.
        return np.ascontiguousarray(bits[:, start : start + x2 - x1]).view(bool)

    def shifted(self, right: int, down: int) -> PackedMask:
        """The mask moved by so many pixels, to a place at or after the image's origin."""
        x1, y1, x2, y2 = self.box
        if right % WORD == 0:
            return replace(self, box=(x1 + right, y1 + down, x2 + right, y2 + down))
        moved = pack_mask(self.unpack(), x1 + right, y1 + down)
        assert moved is not None
        return moved

    def intersection(self, other: PackedMask) -> int:
        """Number of pixels in both masks."""
        top, bottom = max(self.box[1], other.box[1]), min(self.box[3], other.box[3])
        first = max(self.box[0], other.box[0]) // WORD
        last = -(-min(self.box[2], other.box[2]) // WORD)
        if top >= bottom or first >= last:
            return 0
        return set_bits(
            self._window(top, bottom, first, last) & other._window(top, bottom, first, last)
        )

    def _window(self, top: int, bottom: int, first: int, last: int) -> Array:
        x1, y1, _, _ = self.box
        column = x1 // WORD
        return self.words[top - y1 : bottom - y1, first - column : last - column]


def pack_mask(mask: Array, left: int = 0, top: int = 0) -> PackedMask | None:
    """Pack a mask, bool (h, w), with its top left corner at ``left``, ``top``; None if empty."""
    height, width = mask.shape
    start = left % WORD
    aligned = np.zeros((height, -(-(start + width) // WORD) * WORD), dtype=bool)
    aligned[:, start : start + width] = mask
    return trim_words(np.packbits(aligned, axis=1).view(np.uint64), left - start, top)


def trim_words(words: Array, left: int, top: int) -> PackedMask | None:
    """Crop bits to their tight box and make a mask of them; None if all are 0.

    Args:
        words: uint64 (h, k), as a ``PackedMask`` has them.
        left: the image's pixel column where they begin, a multiple of 64.
        top: the image's row where they begin.
    """
    rows = np.flatnonzero(words.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(np.unpackbits(np.bitwise_or.reduce(words, axis=0).view(np.uint8)))
    y1, y2, x1, x2 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    tight = np.ascontiguousarray(words[y1:y2, x1 // WORD : -(-x2 // WORD)])
    return PackedMask((left + x1, top + y1, left + x2, top + y2), tight, set_bits(tight))


def shared_areas(boxes: Array, others: Array) -> Array:
    """Intersection area of each pair of boxes.

    Args:
        boxes: x1 y1 x2 y2, (n, 4).
        others: the same, of the same dtype, (k, 4).

    Returns:
        Areas (n, k), 0 for disjoint boxes.
    """
    # x and y are handled separately: numpy is slow if the last axis is short.
    x1, y1, x2, y2 = (boxes[:, side, None] for side in range(4))
    u1, v1, u2, v2 = np.ascontiguousarray(others.T)
    width, height = np.minimum(x2, u2), np.minimum(y2, v2)
    width -= np.maximum(x1, u1)
    height -= np.maximum(y1, v1)
    np.maximum(width, 0, out=width)
    np.maximum(height, 0, out=height)
    width *= height
    return np.asarray(width)


def set_bits(words: Array) -> int:
    """Total number of set bits in uint64 words."""
    return int(_counts(words).sum(dtype=np.int64))


def set_bits_of_rows(words: Array) -> Array:
    """Number of set bits of each row of uint64 (n, k), int64 (n,)."""
    return np.asarray(_counts(words).sum(axis=1, dtype=np.int64))


def _counts(words: Array) -> Array:
    if hasattr(np, "bitwise_count"):
        return cast(Array, np.bitwise_count(words))
    return np.asarray(_OF_BYTE[np.ascontiguousarray(words).view(np.uint8)])


Buffer = bytes | bytearray | memoryview

# Raw deflate, without header and checksum: the container has its own.
_RAW_DEFLATE = -15


class RecordError(ValueError):
    """An invalid record; handled internally, and counted as a cache miss."""


def encode_mask(mask: PackedMask) -> bytes:
    """Compress the bits of a mask; its box and area must be stored separately."""
    changes = mask.words.copy()
    changes[1:] ^= mask.words[:-1]
    deflater = zlib.compressobj(6, zlib.DEFLATED, _RAW_DEFLATE, 8, zlib.Z_RLE)
    return deflater.compress(changes.tobytes()) + deflater.flush()


def decode_mask(data: Buffer, box: PixelBox, area: int) -> PackedMask:
    """Decompress the result of ``encode_mask`` for a mask of this box, not empty, and area.

    Raises:
        RecordError: the bytes do not hold a mask of that box and area.
    """
    x1, y1, x2, y2 = box
    columns = -(-x2 // WORD) - x1 // WORD
    size = (y2 - y1) * columns * (WORD // 8)
    inflater = zlib.decompressobj(_RAW_DEFLATE)
    try:
        # Inflate at most one byte too many: enough to detect excess data, and bounded.
        raw = inflater.decompress(data, size + 1)
    except zlib.error as error:
        raise RecordError(f"a mask cannot be inflated: {error}") from error
    if len(raw) != size or not inflater.eof or inflater.unused_data:
        raise RecordError("a mask has another size than its box")
    changes = np.frombuffer(raw, dtype=np.uint64).reshape(y2 - y1, columns)
    words = np.bitwise_xor.accumulate(changes, axis=0)
    if set_bits(words) != area:
        raise RecordError("a mask has another area than is said of it")
    return PackedMask(box, words, area)
