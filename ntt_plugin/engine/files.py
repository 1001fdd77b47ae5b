"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, data: bytes | bytearray, part: Path) -> None:
    """Write a file so that its name stands for all of its bytes, whatever ends the program.

    Args:
        path: the file; one that is there is replaced at once.
        data: its bytes.
        part: where the bytes are before they get the name, in the same folder.

    Raises:
        OSError: it cannot be written; what was there before is as it was.
        ValueError: a path is none that a file system can have.
    """
    try:
        with part.open("wb") as file:
            file.write(data)
            # In a loss of power the name could else be there before the bytes are.
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
