"""An image's file, opened with care: what it is, how large, and what its header tells."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import ExifTags, Image, UnidentifiedImageError

from ...errors import ImageError, NoFileHandlesError

LIMIT_VARIABLE = "NTT_MAX_IMAGE_PIXELS"
MAX_PIXELS = 300_000_000
"""Pixels an image may have: 1.2 GB in memory. ``NTT_MAX_IMAGE_PIXELS`` gives another limit."""

# A file may have this many bytes a pixel: four bands of 64 bits.
_BYTES_A_PIXEL = 32
# What may lie in a file beside its pixels: metadata, previews, a phone's short film.
_BYTES_BESIDE = 256 * 2**20

# Of the formats that PIL reads an orientation of, those in which browsers follow the EXIF data.
# Tried with Chromium 156; it ignores the EXIF data of WebP, and the XMP data of every format.
_TURNED_BY_BROWSERS = {"JPEG", "MPO", "PNG", "AVIF"}
_NOT_SHOWN_BY_BROWSERS = {"TIFF", "JPEG2000"}

# The only format for which PIL starts another program, Ghostscript, on what a stranger wrote.
_REFUSED_FORMATS = {"EPS"}

# A photograph's further pictures are previews and depth maps of the same moment.
_SINGLE_FORMATS = {"MPO"}

# TIFF's tag for what a page is, and its bits for a smaller copy and for a transparency mask.
_PAGE_KIND, _NO_PAGE_OF_ITS_OWN = 254, 0b101
# TIFF's tag for the number of bands.
_BANDS = 277
_PNG_BEGIN = b"\x89PNG\r\n\x1a\n"
_METADATA_CHUNKS = {b"eXIf", b"tEXt", b"zTXt", b"iTXt"}
_MOST_CHUNKS = 100_000
_ORIENTATION = int(ExifTags.Base.Orientation)


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
        NoFileHandlesError: no file can be opened, whichever it is.
    """
    try:
        size = _require_file(path)
        # Given a path, PIL maps an uncompressed TIFF into memory, and turned ones wrongly.
        with path.open("rb") as file, _opened(file) as opened:
            _require_usable(opened, path, size)
            yield opened
    except (ImageError, NoFileHandlesError):
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
        raise out_of_memory(f"image {path}") from error
    except Exception as error:
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
            raise NoFileHandlesError(
                f"The system has no file handles left ({os.strerror(error.errno)}), so the image "  # type: ignore[attr-defined]
                f"{path} could not be opened; close other programs or notebooks, or raise the "
                "limit (ulimit -n), and start again."
            ) from error
        # PIL's decoders raise many types (OSError, SyntaxError, struct.error, ...) on damage.
        raise ImageError(
            f"Cannot read the image {path} ({error!s:.200}); open it in an image viewer, and "
            "replace or leave out the file if it is damaged."
        ) from error


def out_of_memory(name: str) -> ImageError:
    """The error for an image that does not fit in memory."""
    return ImageError(
        f"There is not enough memory to read the {name}; make it smaller, or cut it into tiles."
    )


def load_pixels(image: Image.Image) -> None:
    """Read an opened image's pixels, of a large one past PIL's own limit too."""
    if image.format == "TIFF" and getattr(image, "tile", None) and getattr(image, "filename", ""):
        # PIL maps a file of a known name into memory, and then turns orientations 5 to 8 wrongly.
        image.filename = ""  # type: ignore[attr-defined]
    pils = Image.MAX_IMAGE_PIXELS
    # None may be another thread's, which puts the limit back at any moment.
    if pils is not None and image.width * image.height <= pils:
        image.load()
        return
    with _pils_limit.lifted():
        image.load()


def header_notes(image: Image.Image) -> list[str]:
    """A sentence for each unusual thing about an opened image, from its header alone."""
    notes = []
    if _has_more_pictures(image):
        several = image.format == "TIFF"
        notes.append(
            "several pages: its first page was used"
            if several
            else "animated: its first frame was used"
        )
    bands = getattr(image, "tag_v2", {}).get(_BANDS, 0)
    if image.mode == "RGB" and bands > 3:
        notes.append(f"{bands} bands: the first three were read as red, green and blue")
    if orientation(image) != 1 and not _is_turned_by_browsers(image):
        notes.append(
            "turned upright by the orientation in its metadata, which browsers do not follow in "
            f"this {image.format} file: the App shows it unturned, and masks not on their "
            "objects; save it upright (PIL.ImageOps.exif_transpose)"
        )
    return notes


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an opened image, 1 to 8; 1 for none and for damaged EXIF data."""
    try:
        found = _exif(image).get(_ORIENTATION, 1)
    except Exception:
        # A viewer shows an image with damaged EXIF data as it lies.
        return 1
    return found if found in range(1, 9) else 1


def _exif(image: Image.Image) -> Image.Exif:
    """An opened image's EXIF data; of a PNG, without reading its pixels if that can be."""
    if image.format != "PNG" or not getattr(image, "tile", None) or _has_late_metadata(image):
        return image.getexif()
    # PIL's reader of PNG first reads all pixels, as metadata may follow them.
    return Image.Image.getexif(image)


def _has_late_metadata(image: Image.Image) -> bool:
    """Whether metadata follow the pixels of a PNG that is being read."""
    file = image.fp  # type: ignore[attr-defined]
    place, pixels_seen = file.tell(), False
    try:
        file.seek(len(_PNG_BEGIN))
        for _ in range(_MOST_CHUNKS):
            head = file.read(8)
            kind = head[4:]
            if len(head) < 8 or kind == b"IEND":
                return False
            if pixels_seen and kind in _METADATA_CHUNKS:
                return True
            pixels_seen = pixels_seen or kind == b"IDAT"
            # Over the chunk's content and its checksum.
            file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
        return True
    finally:
        file.seek(place)


def shown_size(path: str | Path) -> tuple[int, int]:
    """(H, W) of an image file as ``read_image`` gives it, from its header alone.

    Raises:
        ImageError: the file is missing, too large or no image.
    """
    return image_sizes(path).shown


class ImageSizes(NamedTuple):
    """The sizes of an image file, each (H, W).

    Attributes:
        shown: of the upright picture, as ``read_image`` gives it.
        stored: of the pixels as they lie in the file, before they are turned.
        listed: as FiftyOne's metadata list it: of a JPEG file the upright size, of other files
            what PIL says before it has read the pixels.
        orientation: the EXIF orientation, 1 to 8.
    """

    shown: tuple[int, int]
    stored: tuple[int, int]
    listed: tuple[int, int]
    orientation: int


def image_sizes(path: str | Path) -> ImageSizes:
    """The sizes of an image file, from its header alone.

    Raises:
        ImageError: the file is missing, too large or no image.
    """
    with open_image(Path(path)) as opened:
        return sizes_of(opened)


def sizes_of(opened: Image.Image) -> ImageSizes:
    """The sizes of an opened image whose pixels were not read yet."""
    turn, size = orientation(opened), (opened.height, opened.width)
    if turn < 5:
        return ImageSizes(size, size, size, turn)
    swapped = size[::-1]
    if opened.format == "TIFF" and getattr(opened, "tag_v2", {}).get(_ORIENTATION) == turn:
        # PIL gives the size of a TIFF as it is shown, though it has not turned it yet.
        return ImageSizes(size, swapped, size, turn)
    return ImageSizes(swapped, size, swapped if opened.format == "JPEG" else size, turn)


def _require_file(path: Path) -> int:
    """The length of a file that may be opened, in bytes."""
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
    return found.st_size


def _require_usable(image: Image.Image, path: Path, size: int) -> None:
    if image.format in _REFUSED_FORMATS:
        raise ImageError(
            f"{path} is {image.format}, a program that draws an image; convert it to PNG first."
        )
    pixels, most = image.width * image.height, pixel_limit()
    if pixels > most:
        raise ImageError(
            f"The image {path} is {image.width} x {image.height}, {pixels:,} pixels, and the limit "
            f"is {most:,}; cut it into tiles, or set the environment variable {LIMIT_VARIABLE} to "
            "a higher number if you trust the file and have the memory."
        )
    allowed = _BYTES_A_PIXEL * max(most, MAX_PIXELS)
    own = _BYTES_A_PIXEL * pixels + _BYTES_BESIDE
    # Counting a file's pictures reads much of it, so it is done for suspiciously long files only.
    if size > allowed or (size > own and not getattr(image, "is_animated", False)):
        raise ImageError(
            f"The image file {path} has {size:,} bytes, far more than its {image.width} x "
            f"{image.height} pixels need; something else was written into it. Save the image "
            "anew, or leave it out."
        )


def pixel_limit() -> int:
    """The most pixels that an image may have here.

    Raises:
        ImageError: the environment variable that sets it holds no number.
    """
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


def _is_turned_by_browsers(image: Image.Image) -> bool:
    """Whether a browser shows an image upright, or does not show it at all."""
    if image.format in _NOT_SHOWN_BY_BROWSERS:
        return True
    exif = image.info.get("exif")
    if image.format not in _TURNED_BY_BROWSERS or exif is None:
        return False
    found = Image.Exif()
    found.load(exif)
    return _ORIENTATION in found


def _has_more_pictures(image: Image.Image) -> bool:
    if image.format in _SINGLE_FORMATS or not getattr(image, "is_animated", False):
        return False
    if image.format != "TIFF":
        return True
    # A satellite image keeps smaller copies of itself as further pages.
    pages = range(1, getattr(image, "n_frames", 1))
    try:
        return any(not _page_kind(image, page) & _NO_PAGE_OF_ITS_OWN for page in pages)
    finally:
        # Its pixels may be read next.
        image.seek(0)


def _page_kind(image: Image.Image, page: int) -> int:
    image.seek(page)
    return int(getattr(image, "tag_v2", {}).get(_PAGE_KIND, 0))
