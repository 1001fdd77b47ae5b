"""Binary format of the proposals of one image; lossless for matching.

Masks are stored at full size, since they do not depend on the bank: decoding one is far cheaper
than upsampling its logits again, and takes less space than the logits (256 KB). Features are
stored uncompressed: deflated they would be 15 to 24% smaller, but several times slower to read.

Layout, little-endian: a header; predicted IoUs; boxes; features; for each mask its box, its area
and its length in bytes; if the version says so, the candidates' indices, and the masks' stability;
the masks. The store verifies checksums; the reader checks the structure, so that no bytes can
crash it.
"""

from __future__ import annotations

import struct

import numpy as np
import torch
from torch import Tensor

from ..bank.memory_bank import Fingerprint
from ..device.device import float_array
from ..masks.containers import LazySequence
from ..masks.packed import Buffer, PackedMask, RecordError, decode_mask, encode_mask
from ..typing import Array
from .proposals import Proposals

CODEC_VERSION = 1
"""Part of every key: a record of another version is not found, rather than found and refused."""
# Bits of the version: proposals made of candidates, and of recipes that ask for the stability of
# masks. Both have keys of their own.
_SOURCES, _STABILITY = 0x100, 0x200
_VERSIONS = [CODEC_VERSION | bits for bits in (0, _SOURCES, _STABILITY, _SOURCES | _STABILITY)]

# Version, image height and width, proposals, channels.
_HEADER = struct.Struct("<5I")
# No larger image can be read.
_MAX_PIXELS = 2**32
_FLOAT = np.dtype("<f4")
_SOURCE = np.dtype("<i4")
_MASK = np.dtype([("box", "<u4", (4,)), ("area", "<u8"), ("length", "<u4")])


def encode_proposals(proposals: Proposals) -> bytes:
    """The bytes of an image's proposals; the fingerprint is not among them."""
    table, masks = np.zeros(len(proposals), dtype=_MASK), []
    for row, mask in zip(table, proposals.some_masks(range(len(proposals))), strict=True):
        if mask is not None:
            masks.append(encode_mask(mask))
            row["box"], row["area"], row["length"] = mask.box, mask.area, len(masks[-1])
    count, channels = proposals.features.shape
    version, extra = CODEC_VERSION, []
    if proposals.sources is not None:
        version |= _SOURCES
        extra.append(proposals.sources.numpy().astype(_SOURCE).tobytes())
    if proposals.stability is not None:
        version |= _STABILITY
        extra.append(_floats(proposals.stability))
    return b"".join(
        [
            _HEADER.pack(version, *proposals.image_size, count, channels),
            *(_floats(part) for part in (proposals.ious, proposals.boxes, proposals.features)),
            table.tobytes(),
            *extra,
            *masks,
        ]
    )


def decode_proposals(data: Buffer, fingerprint: Fingerprint | None = None) -> Proposals:
    """Deserialise proposals to the CPU; masks are decoded on access.

    Every size is validated before it is used.

    ``fingerprint`` is of the encoder that made the features, if it is known.

    Raises:
        RecordError: the bytes are not those of proposals; so may asking for a mask later.
    """
    if len(data) < _HEADER.size:
        raise RecordError("it is too short")
    version, height, width, count, channels = _HEADER.unpack_from(data)
    if version not in _VERSIONS:
        raise RecordError(f"its version is {version}, not {CODEC_VERSION}")
    if height * width > _MAX_PIXELS:
        raise RecordError("its image is larger than any that can be read")
    numbers = count * (1 + 4 + channels)
    table_end = _HEADER.size + numbers * _FLOAT.itemsize + count * _MASK.itemsize
    stability_start = table_end + (count * _SOURCE.itemsize if version & _SOURCES else 0)
    masks_start = stability_start + (count * _FLOAT.itemsize if version & _STABILITY else 0)
    if len(data) < masks_start:
        raise RecordError("it is cut short")
    floats = np.frombuffer(data, _FLOAT, numbers, _HEADER.size)
    ious, boxes, features = floats[:count], floats[count : 5 * count], floats[5 * count :]
    table = np.frombuffer(data, _MASK, count, table_end - count * _MASK.itemsize)
    sources = stability = None
    if version & _SOURCES:
        numbered = np.frombuffer(data, _SOURCE, count, table_end)
        sources = torch.from_numpy(numbered.astype(np.int64))
    if version & _STABILITY:
        stability = _tensor(np.frombuffer(data, _FLOAT, count, stability_start))
    _check(table, (height, width), len(data) - masks_start)
    return Proposals(
        ious=_tensor(ious),
        boxes=_tensor(boxes.reshape(count, 4)),
        features=_tensor(features.reshape(count, channels)),
        masks=_EncodedMasks(memoryview(data)[masks_start:], table),
        image_size=(height, width),
        fingerprint=fingerprint,
        sources=sources,
        stability=stability,
    )


class _EncodedMasks(LazySequence[PackedMask | None]):
    """Masks decoded on access: matching needs only those that survive NMS."""

    def __init__(self, data: memoryview, table: Array) -> None:
        self._data = data
        self._boxes = table["box"].tolist()
        self._areas = table["area"].tolist()
        self._ends = table["length"].cumsum(dtype=np.int64).tolist()

    def __len__(self) -> int:
        return len(self._boxes)

    def _item(self, place: int) -> PackedMask | None:
        start = self._ends[place - 1] if place else 0
        data = self._data[start : self._ends[place]]
        x1, y1, x2, y2 = self._boxes[place]
        return decode_mask(data, (x1, y1, x2, y2), self._areas[place]) if data else None


def _check(table: Array, image_size: tuple[int, int], length: int) -> None:
    """Check that boxes lie in the image and that the masks' lengths add up to ``length``."""
    x1, y1, x2, y2 = np.ascontiguousarray(table["box"].T, dtype=np.int64)
    area, lengths, width, height = table["area"], table["length"], x2 - x1, y2 - y1
    valid = (width > 0) & (height > 0) & (x2 <= image_size[1]) & (y2 <= image_size[0])
    valid &= (area > 0) & (area <= (width * height).astype(np.uint64))
    drawn = lengths > 0
    if not drawn.all():
        empty = (x1 | y1 | x2 | y2 | area.astype(np.int64)) == 0
        valid = np.where(drawn, valid, empty)
    if not valid.all():
        raise RecordError("a mask does not lie in its image")
    if int(lengths.sum(dtype=np.uint64)) != length:
        raise RecordError("its masks are longer or shorter than they should be")


def _floats(tensor: Tensor) -> bytes:
    return float_array(tensor).astype(_FLOAT, copy=False).tobytes()


def _tensor(array: Array) -> Tensor:
    # A copy in torch's own memory: matrix products may differ by how their operands are aligned.
    copy = torch.empty(array.shape, dtype=torch.float32)
    copy.numpy()[...] = array
    return copy
