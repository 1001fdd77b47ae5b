"""Files in GridFS, each call with a handle of its own.

FiftyOne's documents keep one open file, whose place all threads share.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

import gridfs
from bson import Int64, ObjectId
from gridfs.errors import CorruptGridFile, NoFile

from .fiftyone_internals import database

# A file of several hundred MB would be thousands of chunks of GridFS's default size.
_CHUNK_BYTES = 4 * 1024**2
_WRITERS = 2


def put(file: ObjectId, pieces: Iterable[bytes], filename: str | None = None) -> None:
    """Write a file into GridFS; the database takes a chunk while the next ones are made."""
    files = database().fs
    # As pymongo's own writer: what reads files by chunks relies on it.
    files.chunks.create_index([("files_id", 1), ("n", 1)], unique=True)
    length = 0
    with ThreadPoolExecutor(_WRITERS) as pool:
        waiting: deque[Future[Any]] = deque()
        for number, chunk in enumerate(_chunks(pieces)):
            length += len(chunk)
            document = {"files_id": file, "n": number, "data": chunk}
            waiting.append(pool.submit(files.chunks.insert_one, document))
            if len(waiting) > _WRITERS:
                waiting.popleft().result()
        for written in waiting:
            written.result()
    files.files.insert_one(
        {
            "_id": file,
            "length": Int64(length),
            "chunkSize": _CHUNK_BYTES,
            "uploadDate": datetime.now(timezone.utc),
            "contentType": "application/json",
            **({} if filename is None else {"filename": filename}),
        }
    )


def read(file: ObjectId) -> bytes | None:
    """The bytes of a file in GridFS; None if it is not there whole."""
    try:
        return b"".join(read_pieces(file))
    except (NoFile, CorruptGridFile):
        return None


def read_pieces(file: ObjectId) -> Iterator[bytes]:
    """The pieces of a file in GridFS, few at a time in memory.

    Raises:
        NoFile, CorruptGridFile: it is not there, or not whole.
    """
    stored = _files().get(file)
    few = max(1, _CHUNK_BYTES // stored.chunk_size)
    chunks = database().fs.chunks.find({"files_id": file}, sort=[("n", 1)], batch_size=few)
    rest = stored.length
    for place, chunk in enumerate(chunks):
        piece = bytes(chunk["data"])
        rest -= len(piece)
        if chunk["n"] != place:
            break
        yield piece
    if rest:
        raise CorruptGridFile(f"{rest} bytes are missing")


def length_of(file: ObjectId) -> int:
    """The length of a file in bytes.

    Raises:
        NoFile: it is not there.
    """
    return int(_files().get(file).length)


def named(filename: str) -> set[ObjectId]:
    """The files of a name that were written to their end."""
    return {file["_id"] for file in database().fs.files.find({"filename": filename}, {"_id": 1})}


def delete(file: ObjectId) -> None:
    """Delete a file, also one that was written in part."""
    _files().delete(file)


def _chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= _CHUNK_BYTES:
            yield bytes(waiting[:_CHUNK_BYTES])
            del waiting[:_CHUNK_BYTES]
    if waiting:
        yield bytes(waiting)


def _files() -> gridfs.GridFS:
    return gridfs.GridFS(database())
