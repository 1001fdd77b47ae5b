"""An image's file, opened with care: what it is, how large, and what its header tells."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, UnidentifiedImageError

from ..errors import ImageError

LIMIT_VARIABLE = "NTT_MAX_IMAGE_PIXELS"
MAX_PIXELS = 300_000_000
"""Pixels an image may have: 1.2 GB in memory. ``NTT_MAX_IMAGE_PIXELS`` gives another limit."""

# The only format for which PIL starts another program, Ghostscript, on what a stranger wrote.
_REFUSED_FORMATS = {"EPS"}

# A photograph's further pictures are previews and depth maps of the same moment.
_SINGLE_FORMATS = {"MPO"}

# TIFF's tag for what a page is, and its bits for a smaller copy and for a transparency mask.
_PAGE_KIND, _NO_PAGE_OF_ITS_OWN = 254, 0b101


class _PilsLimit:
    """PIL's limit on pixels, one number for all threads: the first lifts it, the last puts it back.

    Nobody waits for another's reading, and ``_require_usable`` has a limit of our own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._limit: int | None = None

    @contextmanager
    def lifted(self) -> Iterator[None]:
        with self._lock:
            if self._readers == 0:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._readers += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                if self._readers == 0:
                    Image.MAX_IMAGE_PIXELS = self._limit


_pils_limit = _PilsLimit()


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image's file; pixels are read, by ``load_pixels``, only when they are wanted.

    Raises:
        ImageError: the path leads to no file that can be read, the file is empty or of no format
            that is read, or the image has more pixels than the limit; also whatever PIL raises
            inside the block.
    """
    try:
        _require_file(path)
        # Given a path, PIL maps an uncompressed TIFF into memory, and turned ones wrongly.
        with path.open("rb") as file, _opened(file) as opened:
            _require_usable(opened, path)
            yield opened
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"There is no image file {path}; check the path.") from error
    except PermissionError as error:
        raise ImageError(
            f"This user may not read the image {path}; give it the right to read the file and to "
            "enter its folder."
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path} is damaged at its beginning, or of a format that is not read; convert it (SVG "
            "and HEIC too) to PNG or JPEG, or leave it out."
        ) from error
    except MemoryError as error:
        raise ImageError(
            f"There is not enough memory to read the image {path}; make it smaller, or cut it "
            "into tiles."
        ) from error
    except Exception as error:
        # PIL's decoders raise many types (OSError, SyntaxError, struct.error, ...) on damage.
        raise ImageError(
            f"Cannot read the image {path} ({error!s:.200}); open it in an image viewer, and "
            "replace or leave out the file if it is damaged."
        ) from error


def load_pixels(image: Image.Image) -> None:
    """Read an opened image's pixels, of a large one past PIL's own limit too."""
    pils = Image.MAX_IMAGE_PIXELS
    # None may be another thread's, which puts the limit back at any moment.
    if pils is not None and image.width * image.height <= pils:
        image.load()
        return
    with _pils_limit.lifted():
        image.load()


def image_notes(path: str | Path) -> list[str]:
    """What a person should know of how a file is read, from its header alone.

    Returns:
        A sentence for each thing; none for an ordinary image, and none for a file that cannot be
        read, of which ``read_image`` tells.
    """
    try:
        with open_image(Path(path)) as opened:
            if not _has_more_pictures(opened):
                return []
            if opened.format == "TIFF":
                return ["several pages: its first page was used"]
            return ["animated: its first frame was used"]
    except ImageError:
        return []


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an opened image, 1 to 8; 1 for none and for damaged EXIF data."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        # A viewer shows an image with damaged EXIF data as it lies.
        return 1
    return found if found in range(1, 9) else 1


def shown_size(path: str | Path) -> tuple[int, int]:
    """(H, W) of an image file as ``read_image`` gives it, from its header alone.

    Raises:
        ImageError: the file is missing, too large or no image.
    """
    with open_image(Path(path)) as opened:
        # PIL gives the size of a TIFF as it is shown, though it has not turned it yet.
        turned = opened.format != "TIFF" and orientation(opened) >= 5
        return (opened.width, opened.height) if turned else (opened.height, opened.width)


def _require_file(path: Path) -> None:
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise ImageError(f"{path} is a folder, not an image; give the path of an image file.")
    if not stat.S_ISREG(found.st_mode):
        # Opening a pipe would wait for its writer, for ever if there is none.
        raise ImageError(
            f"{path} is a pipe, a socket or a device; save the image as a file and give its path."
        )
    if found.st_size == 0:
        raise ImageError(
            f"The image {path} is empty (0 bytes); copy or download it again, or leave it out."
        )


def _require_usable(image: Image.Image, path: Path) -> None:
    if image.format in _REFUSED_FORMATS:
        raise ImageError(
            f"{path} is {image.format}, a program that draws an image; convert it to PNG first."
        )
    pixels, most = image.width * image.height, _limit()
    if pixels > most:
        raise ImageError(
            f"The image {path} is {image.width} x {image.height}, {pixels:,} pixels, and the limit "
            f"is {most:,}; cut it into tiles, or set the environment variable {LIMIT_VARIABLE} to "
            "a higher number if you trust the file and have the memory."
        )


def _limit() -> int:
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return MAX_PIXELS
    try:
        return int(text)
    except ValueError as error:
        raise ImageError(
            f"The environment variable {LIMIT_VARIABLE} is {text!r}; set it to a whole number of "
            f"pixels, such as {MAX_PIXELS}, or remove it."
        ) from error


def _opened(file: BinaryIO) -> Image.Image:
    with _pils_limit.lifted():
        return Image.open(file)


def _has_more_pictures(image: Image.Image) -> bool:
    if image.format in _SINGLE_FORMATS or not getattr(image, "is_animated", False):
        return False
    if image.format != "TIFF":
        return True
    # A satellite image keeps smaller copies of itself as further pages.
    pages = range(1, getattr(image, "n_frames", 1))
    return any(not _page_kind(image, page) & _NO_PAGE_OF_ITS_OWN for page in pages)


def _page_kind(image: Image.Image, page: int) -> int:
    image.seek(page)
    return int(getattr(image, "tag_v2", {}).get(_PAGE_KIND, 0))
