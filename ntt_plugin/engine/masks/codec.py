"""Lossless compression of a packed mask.

Each row is XORed with the row above, which leaves mostly zeros, and deflated with the run-length
strategy. Measured on masks of 384 x 512 to 3000 x 4000 pixels: 8 to 54 times smaller than the
bits. Deflated COCO RLE is up to 2.3 times smaller still, but takes at least twice as long to
write and four times as long to read.
"""

from __future__ import annotations

import zlib

import numpy as np

from .packed import PackedMask, PixelBox, set_bits

Buffer = bytes | bytearray | memoryview

_WORD = 64
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
    columns = -(-x2 // _WORD) - x1 // _WORD
    size = (y2 - y1) * columns * (_WORD // 8)
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
