"""A memory bank's file as the JSON of a run's results, made and read piece by piece."""

from __future__ import annotations

import base64
import binascii
import json
import sys
from collections.abc import Iterable, Iterator

from bson import json_util

from ..database.custom_runs import RESULTS_CLASS

_START, _END = (
    part.encode() for part in json.dumps({"cls": RESULTS_CLASS, "bank": "@"}).rsplit("@", 1)
)


def to_results(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The JSON of the results that hold a bank's file, as FiftyOne would write it."""
    yield _START
    yield from _base64(pieces)
    yield _END


def from_results(pieces: Iterator[bytes], length: int) -> bytearray:
    """The bytes of a bank's file in the JSON of its results, decoded piece by piece.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: there are none.
    """
    text = next(pieces, b"")
    if not text.startswith(_START):
        results = json_util.loads(b"".join([text, *pieces]).decode())
        return bytearray(_decode(results["bank"].encode()))
    # As one block: growing piece by piece would leave holes in memory.
    data, size, text = bytearray(3 * length // 4), 0, text[len(_START) :]
    while piece := next(pieces, b""):
        text += piece
        # Fours of letters; the last ones wait, for the end may be among them.
        count = max(0, len(text) - len(_END)) // 4 * 4
        decoded = _decode(memoryview(text)[:count])
        data[size : size + len(decoded)] = decoded
        size += len(decoded)
        text = text[count:]
    if not text.endswith(_END):
        raise ValueError("its JSON is cut short")
    data[size:] = _decode(memoryview(text)[: -len(_END)])
    return data


def _base64(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Base64 of a stream of bytes; the remainder modulo 3 is carried over to the next piece."""
    rest = b""
    for piece in pieces:
        data = rest + piece
        count = len(data) // 3 * 3
        yield binascii.b2a_base64(memoryview(data)[:count], newline=False)
        rest = data[count:]
    yield binascii.b2a_base64(rest, newline=False)


def _decode(text: bytes | memoryview) -> bytes:
    if sys.version_info >= (3, 11):
        return binascii.a2b_base64(text, strict_mode=True)
    return base64.b64decode(bytes(text), validate=True)
