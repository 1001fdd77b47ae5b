"""Atomic file writes, and the folder of cached proposals."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import StoreError


def write_whole(path: Path, data: bytes | bytearray, part: Path) -> None:
    """Write or replace a file atomically, through the temporary file ``part`` in its folder.

    Raises:
        OSError: it cannot be written; an existing file is unchanged.
        ValueError: the path is invalid for the file system.
    """
    with whole_file(path, part) as file:
        file.write(data)


@contextmanager
def whole_file(path: Path, part: Path) -> Iterator[BinaryIO]:
    """Write or replace a file piece by piece: it gets its name at the end of the ``with``.

    ``part`` is the temporary file, in the same folder. Errors as for ``write_whole``.
    """
    try:
        with part.open("wb") as file:
            yield file
            # Otherwise a power failure could leave the name without the bytes.
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


MAX_BYTES = 20 * 10**9
PART_OF_DISK = 10


def default_folder() -> Path:
    """Default folder of cached proposals: `proposals` in the cache folder.

    Raises:
        StoreError: there is no usable cache folder.
    """
    return cache_home() / "proposals"


def cache_home() -> Path:
    """The cache folder: NTT_CACHE_DIR, else `ntt` in the platform's cache folder.

    Raises:
        StoreError: NTT_CACHE_DIR names the home of an unknown user.
    """
    return chosen_home() or platform_home()


def chosen_home() -> Path | None:
    """The cache folder that NTT_CACHE_DIR names; None if it is not set.

    Raises:
        StoreError: it names the home of an unknown user.
    """
    chosen = os.environ.get("NTT_CACHE_DIR")
    if not chosen:
        return None
    try:
        return Path(chosen).expanduser().absolute()
    except RuntimeError as error:
        raise StoreError(
            f"NTT_CACHE_DIR is {chosen[:200]!r}, but there is no such user on this computer; "
            "set it to a folder that you may write to, or unset it."
        ) from error


def platform_home() -> Path:
    """`ntt` in the platform's cache folder."""
    return _platform_caches() / "ntt"


def default_budget(folder: Path, held: int) -> int:
    """Default cache budget in bytes: 20 GB or a tenth of the free disk space, whichever is less.

    ``folder`` need not exist yet; ``held`` are the bytes already in the cache, counted as free.

    Raises:
        OSError: the free space cannot be determined.
    """
    present = next(place for place in (folder, *folder.parents) if place.exists())
    return min(MAX_BYTES, (shutil.disk_usage(present).free + held) // PART_OF_DISK)


def _platform_caches() -> Path:
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    # By its specification, a relative path there is to be ignored.
    if os.path.isabs(chosen):
        return Path(chosen)
    try:
        home = Path.home()
    except RuntimeError:
        # A container's user may have none.
        return Path(tempfile.gettempdir())
    return home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
