"""Messages between a driver and its local workers: a kind, a length, and bytes."""

from __future__ import annotations

import struct

HANDLER, SPEC, ITEM, FINISH = b"H", b"S", b"I", b"F"
"""From the driver: the handler's name, its spec, an item, and that there are no more items."""
ALIVE, READY, REFUSED, RESULT, CLOSED = b"a", b"r", b"x", b"o", b"c"
"""From a worker: that what takes long gets on, that it has its handler, or why it has none, a
result, and what its handler says at its end.
"""

_HEADER = struct.Struct(">cQ")


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """A message as it is sent."""
    return _HEADER.pack(kind, len(payload)) + payload


class Frames:
    """Takes messages out of a stream of bytes that comes in pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, received: bytes) -> list[tuple[bytes, bytes]]:
        """Kind and payload of each message that the new bytes complete."""
        buffer, found, start = self._buffer, [], 0
        buffer += received
        while len(buffer) - start >= _HEADER.size:
            kind, length = _HEADER.unpack_from(buffer, start)
            end = start + _HEADER.size + length
            if len(buffer) < end:
                break
            found.append((kind, bytes(memoryview(buffer)[start + _HEADER.size : end])))
            start = end
        del buffer[:start]
        return found
