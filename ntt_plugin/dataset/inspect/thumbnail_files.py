"""Pictures kept in the cache folder, under a digest of all that they show; the oldest go first."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from PIL import Image

from ...errors import StoreError
from ..runtime.cache_folder import cache_home

# With 256 shelves of pictures of some 5 KB this is about 100 MB.
_MOST_ON_A_SHELF = 80
_QUALITY = 88


def kept_picture(key: str, draw: Callable[[], Image.Image | None]) -> Path | None:
    """The file of a picture: as it is kept, or else drawn now and kept.

    Args:
        key: hexadecimal digest of all that decides what the picture shows.
        draw: draws it; None if that is not possible.

    Returns:
        A JPEG file; None if there is no picture, or the cache folder cannot be written or be.
    """
    try:
        path = cache_home() / "thumbnails" / key[:2] / f"{key}.jpg"
    except StoreError:
        return None
    with suppress(OSError):
        # The App serves what is there: a link could be to any file, a pipe would be waited for.
        if stat.S_ISREG(path.lstat().st_mode):
            # Used now: the picture that was not looked at for the longest time goes first.
            os.utime(path)
            return path
    picture = draw()
    if picture is None:
        return None
    try:
        _write(path, picture)
        _tidy(path.parent)
    except OSError:
        return None
    return path


def _write(path: Path, picture: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.{uuid.uuid4().hex}.tmp")
    try:
        picture.save(part, "JPEG", quality=_QUALITY, subsampling=0)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _tidy(shelf: Path) -> None:
    """Remove the least recently used pictures of a full subfolder."""
    with os.scandir(shelf) as entries:
        found = list(entries)
    if len(found) <= _MOST_ON_A_SHELF:
        return
    aged = []
    for entry in found:
        # Another process tidies too.
        with suppress(FileNotFoundError):
            aged.append((entry.stat().st_mtime_ns, entry.path))
    for _, path in sorted(aged)[: len(found) - _MOST_ON_A_SHELF]:
        Path(path).unlink(missing_ok=True)
