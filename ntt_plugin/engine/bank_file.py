"""A memory bank's file: safetensors with JSON metadata, every part checked on reading."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from ..errors import BankError
from .bank_document import (
    counts_of,
    field,
    fingerprint_of,
    mapping,
    refuse,
    to_document,
    to_record,
    unsound,
)
from .bank_records import BankRecord

KEY = "ntt_memory_bank"
MAX_BYTES = 1024**3
# A header takes many times its length in memory: these bound what a hostile one can take, and
# leave room for some 60,000 references.
MAX_HEADER_BYTES = 16 * 1024**2
MAX_PARTS = 1_000_000


def pack(record: BankRecord) -> bytes:
    """The bytes of a bank's file.

    Raises:
        BankError: a name or a provenance is not made of texts and finite numbers, or there
            are too many references.
    """
    try:
        text = json.dumps(to_document(record), ensure_ascii=False, allow_nan=False)
        # Quotes are escaped once more when the header is written.
        header_bytes = len(json.dumps(text, ensure_ascii=False).encode()) + 10_000
    except (ValueError, TypeError) as error:
        raise BankError(
            f"A name or a provenance in the bank cannot be written as JSON: {error}."
        ) from error
    classes = list(record.classes.values())
    channels = record.fingerprint.channels
    tensors = {
        "features": _stack([e.feature for entry in classes for e in entry.references], channels),
        "negatives": _stack([e.feature for entry in classes for e in entry.negatives], channels),
    }
    total_bytes = header_bytes + sum(4 * tensor.numel() for tensor in tensors.values())
    if (
        header_bytes > MAX_HEADER_BYTES
        or total_bytes > MAX_BYTES
        or _count_parts(text.encode()) > MAX_PARTS
    ):
        raise BankError(
            "The bank holds too many references for one file; split it into banks of fewer classes."
        )
    return bytes(safetensors.torch.save(tensors, metadata={KEY: text}))


def unpack(data: bytes) -> BankRecord:
    """A bank from the bytes of its file.

    Nothing is taken on trust: sizes are checked before anything is allocated.

    Raises:
        BankError: the bytes are damaged or are not a memory bank's.
    """
    return _unpack(io.BytesIO(data), len(data))


def read(path: Path) -> BankRecord:
    """A bank from its file, of which no more is read than a sound bank has.

    Raises:
        BankError: the file is missing, damaged or not a memory bank's.
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


def _unpack(file: BinaryIO, size: int) -> BankRecord:
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
        file.seek(0)
        # It may have grown or been cut since its size was asked for.
        data = file.read(size)
        if len(data) != size:
            refuse("it became shorter while it was read")
        tensors = safetensors.torch.load(data)
        return to_record(document, fingerprint, tensors["features"], tensors["negatives"])
    except (ValueError, RecursionError, OverflowError, safetensors.SafetensorError) as error:
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
    document = mapping(_json(metadata[KEY].encode()))
    # Lone surrogates come through JSON, but no file, database or terminal takes them.
    json.dumps(document, ensure_ascii=False).encode()
    return document


def _bytes_of(header: dict[str, Any], channels: int, counts: Sequence[int]) -> int:
    """Bytes of the header's tensors, once they are those of a bank with so many references."""
    if set(header) != {"__metadata__", "features", "negatives"}:
        refuse("its tensors are not `features` and `negatives`")
    for name, count in zip(("features", "negatives"), counts, strict=True):
        tensor = mapping(header[name])
        if tensor.get("dtype") != "F32":
            refuse(f"`{name}` is not float32")
        shape = field(tensor, "shape", list)
        if len(shape) != 2 or shape[1] != channels:
            refuse(f"`{name}` has the shape {shape}, not (n, {channels})")
        if shape[0] != count:
            refuse(f"`{name}` has {shape[0]} rows, and {count} are listed")
    return 4 * channels * sum(counts)


def _json(text: bytes) -> Any:
    if _count_parts(text) > MAX_PARTS:
        refuse(f"its header has more than {MAX_PARTS:,} parts")
    return json.loads(
        text.decode(),
        parse_constant=lambda name: refuse(f"it holds the number {name}"),
        object_pairs_hook=_unique,
    )


def _count_parts(text: bytes) -> int:
    """About how many values JSON text holds; each takes memory, however short it is."""
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


def _stack(rows: list[Tensor], channels: int) -> Tensor:
    return torch.stack(rows) if rows else torch.zeros(0, channels)
