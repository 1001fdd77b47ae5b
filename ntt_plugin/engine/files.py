"""Files written whole or not at all, and the folder of cached proposals."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from ..errors import StoreError


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


MAX_BYTES = 20 * 10**9
PART_OF_DISK = 10


def default_folder() -> Path:
    """Where kept proposals go: `proposals` in the cache folder.

    Raises:
        StoreError: there can be no cache folder.
    """
    return cache_home() / "proposals"


def cache_home() -> Path:
    """The cache folder: NTT_CACHE_DIR, or else `ntt` below the platform's folder for caches.

    Raises:
        StoreError: NTT_CACHE_DIR names the folder of a user that is not there.
    """
    return chosen_home() or platform_home()


def chosen_home() -> Path | None:
    """The cache folder that NTT_CACHE_DIR names; None if it is not set.

    Raises:
        StoreError: it names the folder of a user that is not there.
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
    """`ntt` below the platform's folder for caches."""
    return _platform_caches() / "ntt"


def default_budget(folder: Path, held: int) -> int:
    """20 GB, or a tenth of what the disk has for a cache, whichever is less.

    As the disk fills up with other things, the budget shrinks.

    Args:
        folder: of the cache; need not be there yet.
        held: bytes that the cache holds already, which count as free.

    Raises:
        OSError: the disk cannot be asked.
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
