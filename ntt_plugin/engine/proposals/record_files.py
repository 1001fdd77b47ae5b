"""Files of a proposal store: written atomically, verified by checksum on reading."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"NTTPROP1"
_CHECKSUM_BYTES = 16
HEADER_BYTES = len(_MAGIC) + _CHECKSUM_BYTES

MAX_RECORD_BYTES = 2**30
"""Largest size of one record; those of photographs have 0.05 to 5 MB."""

# Without O_NONBLOCK, opening a pipe waits for its writer.
_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_KEY = re.compile(r"[0-9a-f]{64}")
_SHELF = re.compile(r"[0-9a-f]{2}")
_RECORD = re.compile(r"[0-9a-f]{64}\.proposals")
_UNFINISHED = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{32}\.tmp")


@dataclass(frozen=True)
class RecordFile:
    """A file of a store.

    Attributes:
        path: where it is.
        size: bytes.
        used: when it was last read or written, nanoseconds since 1970.
        finished: False for one that is being written, or whose writer was killed.
    """

    path: Path
    size: int
    used: int
    finished: bool


def record_path(folder: Path, key: str) -> Path:
    """The file of a key: 64 hexadecimal digits.

    Raises:
        ValueError: the key is of another form.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"A key is 64 hexadecimal digits, not {key!r}.")
    # 256 shelves: file systems slow down on folders of very many files.
    return folder / key[:2] / f"{key}.proposals"


def write_record(path: Path, key: str, payload: bytes) -> None:
    """Write a record atomically: readers see the old one or the new one.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    temporary = path.with_name(f"{key}.{uuid.uuid4().hex}.tmp")
    try:
        file = temporary.open("xb")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = temporary.open("xb")
    try:
        with file:
            file.write(_MAGIC + _checksum(key, payload))
            file.write(payload)
        touch(temporary)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def read_record(path: Path, key: str) -> memoryview | None:
    """Payload of a record; None if it is damaged or was written under another key.

    Only a regular file that begins as a record does and is not too large for one is read.

    Raises:
        OSError: it cannot be read; FileNotFoundError if it is not there.
        MemoryError: there is not enough memory for it.
    """
    # Checked before opening, which can start a device, and again after, in case it was replaced.
    if not stat.S_ISREG(path.stat().st_mode):
        return None
    with open(os.open(path, _OPEN), "rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or not HEADER_BYTES <= found.st_size <= MAX_RECORD_BYTES:
            return None
        header = file.read(HEADER_BYTES)
        if not header.startswith(_MAGIC):
            return None
        data = bytearray(found.st_size - HEADER_BYTES)
        payload = memoryview(data).toreadonly()
        filled = 0
        while filled < len(data) and (count := file.readinto(memoryview(data)[filled:])):
            filled += count
    return payload if filled == len(data) and header == _MAGIC + _checksum(key, payload) else None


def touch(path: Path) -> None:
    """Set a record's time of last use to now."""
    # The file system's own clock is too coarse to order two records by last use.
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def list_records(folder: Path) -> Iterator[RecordFile]:
    """All files that a store wrote in a folder; other files are passed over.

    Raises:
        OSError: the folder is there, but cannot be looked into.
    """
    for shelf in _entries(folder):
        if not _SHELF.fullmatch(shelf.name):
            continue
        for entry in _entries(shelf):
            finished = _RECORD.fullmatch(entry.name) is not None
            if finished or _UNFINISHED.fullmatch(entry.name):
                # Others remove files meanwhile.
                with suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    yield RecordFile(Path(entry.path), found.st_size, found.st_mtime_ns, finished)


def remove_record(path: Path) -> bool:
    """Remove a file; False if another process did.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _entries(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _checksum(key: str, payload: bytes | memoryview) -> bytes:
    """Checksum over key and payload, so that a record is valid under its own key only."""
    return hashlib.blake2b(payload, digest_size=_CHECKSUM_BYTES, key=bytes.fromhex(key)).digest()
