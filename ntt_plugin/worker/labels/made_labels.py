"""A short digest of each label as a run made it, to tell later which labels a person changed.

A sample's labels carry them as the text ``made``: base64 of 18 bytes a label, its id (12) and its
digest (6), 24 characters. A label whose id is missing there was added since; one whose digest
differs was changed; one that is named there and gone was deleted.
"""

from __future__ import annotations

import hashlib
import json
import struct
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from bson import ObjectId

from ...engine.typing import Array

MADE = "made"
"""Where a sample's labels keep the digests."""

MADE_TAGS = "made_tags"
"""Where labels made of others, with the tags of these, keep the tags as they were written."""

_ID_BYTES, _DIGEST_BYTES = 12, 6
_RECORD = _ID_BYTES + _DIGEST_BYTES


def label_digest(label: str | None, bounding_box: Sequence[float], mask: Array | None) -> bytes:
    """Digest of what a label shows: its class, its box and its mask's pixels, 6 bytes.

    The pixels count, not how they are stored: in the database and in a file they are the same.

    Args:
        label: its class.
        bounding_box: x y w h in [0, 1].
        mask: (h, w), everything but 0 is object; None if it has none.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    digest.update(f"{label}\0".encode())
    digest.update(struct.pack(f"<{len(bounding_box)}d", *bounding_box))
    if mask is not None:
        pixels = mask if mask.dtype == bool else mask != 0
        digest.update(struct.pack("<2q", *pixels.shape))
        digest.update(np.packbits(pixels).tobytes())
    return digest.digest()


def pack_made(digests: Iterable[tuple[ObjectId, bytes]]) -> str:
    """Ids of labels with their digests as the text that is stored."""
    return b64encode(b"".join(key.binary + digest for key, digest in digests)).decode("ascii")


def read_made(text: str) -> dict[str, bytes]:
    """The digests by label id that ``pack_made`` packed; none of a text that is none of its.

    A stored text may be damaged by whoever can write to the database; then nothing is known.
    """
    try:
        packed = b64decode(text, validate=True)
    except (TypeError, ValueError):
        return {}
    if len(packed) % _RECORD:
        return {}
    records = (packed[start : start + _RECORD] for start in range(0, len(packed), _RECORD))
    return {str(ObjectId(record[:_ID_BYTES])): record[_ID_BYTES:] for record in records}


def pack_made_tags(tags: Mapping[ObjectId, Sequence[str]]) -> str:
    """Tags by label as the text that is stored: JSON, without labels that have none."""
    return json.dumps({str(key): list(names) for key, names in tags.items() if names})


def read_made_tags(text: Any) -> dict[str, list[str]] | None:
    """The tags by label id that ``pack_made_tags`` packed; None of a text that is none of its."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def made_of(text: str, label_ids: Collection[str]) -> str:
    """Of what ``pack_made`` packed the part that tells of some labels."""
    return _pack({key: one for key, one in read_made(text).items() if key in label_ids})


def joined_made(first: str, second: str) -> str:
    """Two texts of ``pack_made`` as one; of a label in both, the second tells."""
    return _pack(read_made(first) | read_made(second))


def made_tags_of(text: Any, label_ids: Collection[str]) -> str | None:
    """Of what ``pack_made_tags`` packed the part that tells of some labels; None of others."""
    tags = read_made_tags(text)
    if tags is None:
        return None
    return json.dumps({key: names for key, names in tags.items() if key in label_ids})


def joined_made_tags(first: Any, second: str) -> str:
    """Two texts of ``pack_made_tags`` as one; of a label in both, the second tells."""
    return json.dumps((read_made_tags(first) or {}) | (read_made_tags(second) or {}))


def _pack(made: Mapping[str, bytes]) -> str:
    return pack_made((ObjectId(key), digest) for key, digest in made.items())
