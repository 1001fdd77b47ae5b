"""File format of memory banks: safetensors with JSON metadata, validated on reading."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import BankError
from .records import BankRecord
from .schema import (
    counts_of,
    field,
    fingerprint_of,
    mapping,
    refuse,
    to_document,
    to_record,
    unsound,
)

KEY = "ntt_memory_bank"
MAX_BYTES = 1024**3
# Parsing a header takes many times its length in memory: these limits bound what a malicious file
# can allocate, and leave room for some 60,000 references.
MAX_HEADER_BYTES = 16 * 1024**2
MAX_PARTS = 1_000_000

_PIECE_BYTES = 4 * 1024**2


def pack(record: BankRecord) -> tuple[int, Iterator[bytes]]:
    """Serialise a bank piece by piece: the features of a large one take hundreds of MB.

    Returns:
        The total number of bytes, and an iterator over the pieces.

    Raises:
        BankError: a name or a provenance is not made of texts and finite numbers, a text is too
            long, or there are too many references.
    """
    channels = record.fingerprint.channels
    classes = record.classes.values()
    features = [entry.feature for group in classes for entry in group.references]
    negatives = [entry.feature for group in classes for entry in group.negatives]
    try:
        text = json.dumps(to_document(record), ensure_ascii=False, allow_nan=False)
        header = _header(text, {"features": len(features), "negatives": len(negatives)}, channels)
    except (ValueError, TypeError, RecursionError) as error:
        raise BankError(
            f"A name or a provenance in the bank cannot be written as JSON: {error}."
        ) from error
    rows = [*features, *negatives]
    size = 8 + len(header) + 4 * channels * len(rows)
    if (
        len(header) > MAX_HEADER_BYTES
        or size > MAX_BYTES
        or _count_parts(text.encode()) > MAX_PARTS
    ):
        raise BankError(
            "The bank holds too many references for one file; split it into banks of fewer classes."
        )
    return size, _pieces(header, rows, max(1, _PIECE_BYTES // (4 * channels)))


def unpack(data: bytes | bytearray) -> BankRecord:
    """Deserialise a bank; all sizes are validated before anything is allocated.

    A bytearray is not copied and must not be changed afterwards: the features share its memory.

    Raises:
        BankError: the bytes are damaged or not a memory bank.
    """
    # float32 data must be aligned to four bytes.
    if isinstance(data, bytearray) and int.from_bytes(data[:8], "little") % 4 == 0:
        beginning = io.BytesIO(memoryview(data)[: 8 + MAX_HEADER_BYTES])
        return _unpack(beginning, len(data), data)
    return _unpack(io.BytesIO(data), len(data))


def read(path: Path) -> BankRecord:
    """Read a bank's file, at most the largest size that a valid bank can have.

    Raises:
        BankError: the file is missing, damaged or not a memory bank.
    """
    try:
        kind = path.stat().st_mode
        # Opening a pipe would wait for its writer, and a device need not end.
        if not stat.S_ISREG(kind):
            what = "folder" if stat.S_ISDIR(kind) else "pipe, a socket or a device"
            raise BankError(f"This is a {what}; give the file of a memory bank.")
        with path.open("rb") as file:
            return _unpack(file, os.fstat(file.fileno()).st_size)
    except BankError as error:
        raise BankError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise BankError(f"There is no memory bank {path}; check the path.") from error
    except (OSError, ValueError) as error:
        raise BankError(
            f"Cannot read the memory bank {path} ({error}); check that it may be read."
        ) from error


def _unpack(file: io.BufferedIOBase, size: int, shared: bytearray | None = None) -> BankRecord:
    try:
        if size > MAX_BYTES:
            refuse(f"it is larger than {MAX_BYTES:,} bytes")
        length = _header_length(file.read(8), size)
        header = mapping(_json(file.read(length)))
        document = _document(header)
        fingerprint = fingerprint_of(document)
        features = _bytes_of(header, fingerprint.channels, counts_of(document))
        if size != 8 + length + features:
            refuse("its features are cut short, or something follows them")
        if not features:
            tensors = torch.zeros(0, fingerprint.channels)
        elif shared is not None:
            tensors = _tensor(shared, 8 + length, fingerprint.channels)
        else:
            data = bytearray(features)
            # It may have grown or been cut since its size was asked for.
            if file.readinto(data) != features:
                refuse("it became shorter while it was read")
            tensors = _tensor(data, 0, fingerprint.channels)
        # Either of the two may come first.
        counts = counts_of(document)
        starts = (counts[1], 0) if header["features"]["data_offsets"][0] else (0, counts[0])
        positive, negative = (
            tensors[start : start + count] for start, count in zip(starts, counts, strict=True)
        )
        return to_record(document, fingerprint, positive, negative)
    except RecursionError as error:
        raise unsound("its header is nested too deeply") from error
    except (ValueError, OverflowError) as error:
        raise unsound(str(error)) from error
    except MemoryError as error:
        raise BankError(
            "There is not enough memory to read the memory bank; close other programs."
        ) from error


def _header_length(start: bytes, size: int) -> int:
    if len(start) < 8:
        refuse("it is too short")
    length = int.from_bytes(start, "little")
    if length > min(MAX_HEADER_BYTES, size - 8):
        refuse(f"its header is longer than the file or than {MAX_HEADER_BYTES:,} bytes")
    return length


def _document(header: dict[str, Any]) -> dict[str, Any]:
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(KEY), str):
        refuse("it is a safetensors file, but not a memory bank's")
    if not all(isinstance(value, str) for value in metadata.values()):
        refuse("its metadata are not texts")
    document = mapping(_json(metadata[KEY].encode()))
    if "\\u" in metadata[KEY]:
        # JSON may contain lone surrogates, which files, databases and terminals reject.
        json.dumps(document, ensure_ascii=False).encode()
    return document


def _bytes_of(header: dict[str, Any], channels: int, counts: Sequence[int]) -> int:
    """Validate the tensors that a header declares against the counts; return their total size."""
    if set(header) != {"__metadata__", "features", "negatives"}:
        refuse("its tensors are not `features` and `negatives`")
    ends = []
    for name, count in zip(("features", "negatives"), counts, strict=True):
        tensor = mapping(header[name])
        if tensor.get("dtype") != "F32":
            refuse(f"`{name}` is not float32")
        shape = field(tensor, "shape", list)
        # True equals 1, and is no length.
        if len(shape) != 2 or {type(n) for n in shape} != {int} or shape[1] != channels:
            refuse(f"`{name}` has the shape {shape}, not (n, {channels})")
        if shape[0] != count:
            refuse(f"`{name}` has {shape[0]} rows, and {count} are listed")
        ends.append(field(tensor, "data_offsets", list))
    first, second = (4 * channels * count for count in counts)
    total = first + second
    in_order = ([[0, first], [first, total]], [[second, total], [0, second]])
    if ends not in in_order or {type(n) for end in ends for n in end} != {int}:
        refuse("its features are not where its header says")
    return total


def _json(text: bytes) -> Any:
    if _count_parts(text) > MAX_PARTS:
        refuse(f"its header has more than {MAX_PARTS:,} parts")
    return json.loads(
        text.decode(),
        parse_constant=lambda name: refuse(f"it holds the number {name}"),
        object_pairs_hook=_unique,
    )


def _count_parts(text: bytes) -> int:
    """Approximate number of values in JSON text: each takes memory, however short."""
    most = sum(text.count(mark) for mark in (b",", b"[", b"{"))
    if most <= MAX_PARTS:
        # Those in names count here too, which is fast and does no harm.
        return most
    # Without escaped quotes every other quote ends a string.
    plain = text.replace(rb"\\", b"").replace(rb"\"", b"")
    letters = np.frombuffer(plain, np.uint8)
    inside = np.bitwise_xor.accumulate((letters == ord('"')).view(np.uint8)).view(bool)
    return sum(int(np.count_nonzero((letters == ord(mark)) & ~inside)) for mark in ",[{")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        # Readers differ in which of the two they take.
        refuse("it has a key twice")
    return unique


def _header(text: str, counts: dict[str, int], channels: int) -> bytes:
    """A safetensors header, formatted as the ``safetensors`` package does."""
    header: dict[str, Any] = {"__metadata__": {KEY: text}}
    start = 0
    for name, count in counts.items():
        end = start + 4 * channels * count
        header[name] = {"dtype": "F32", "shape": [count, channels], "data_offsets": [start, end]}
        start = end
    data = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    return data.ljust(-(-len(data) // 8) * 8)


def _pieces(header: bytes, rows: list[Tensor], count: int) -> Iterator[bytes]:
    """Yield the header and then the features, ``count`` rows at a time."""
    yield len(header).to_bytes(8, "little") + header
    for start in range(0, len(rows), count):
        yield torch.stack(rows[start : start + count]).numpy().tobytes()


def _tensor(data: bytearray, start: int, channels: int) -> Tensor:
    """The features (n, channels) as a view of the file's bytes."""
    return torch.frombuffer(data, dtype=torch.float32, offset=start).view(-1, channels)
