"""Set bits of packed masks, counted by numpy's own instruction where it has one (from 2.0 on)."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_OF_BYTE = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)


def set_bits(words: Array) -> int:
    """Number of set bits of uint64 words."""
    return int(_counts(words).sum(dtype=np.int64))


def set_bits_of_rows(words: Array) -> Array:
    """Number of set bits of each row of uint64 (n, k), int64 (n,)."""
    return np.asarray(_counts(words).sum(axis=1, dtype=np.int64))


def _counts(words: Array) -> Array:
    """Of each word, or of each byte of it."""
    if hasattr(np, "bitwise_count"):
        return np.asarray(np.bitwise_count(words))
    return np.asarray(_OF_BYTE[np.ascontiguousarray(words).view(np.uint8)])
