"""How the bands of an opened file lie in it, and how PIL is made to give them as they are stored.

PIL gives colours as 8 bits. Of 16-bit colours most decoders take the high byte; by another raw
mode (PIL's name for the order of bytes) the same decoder gives the low byte.
"""

from __future__ import annotations

import sys
from typing import Any

from PIL import Image

from ...errors import ImageError

_COLOUR_MODES = ("RGB", "RGBA", "LA", "CMYK")
_BITS, _PHOTOMETRIC, _PLANAR = 258, 262, 284
_WHITE_IS_ZERO, _SEPARATE = 0, 2
_NATIVE = "16L" if sys.byteorder == "little" else "16B"
# Raw modes that the decoder knows in both orders of bytes.
_SWAPPABLE = ("RGB", "RGBX", "RGBA", "R", "G", "B", "A")
# A JPEG 2000 file's codestream begins with this; its boxes before it are small.
_CODESTREAM, _MOST_BOXES = b"\xff\x4f\xff\x51", 4 * 2**20


def prepare_bands(image: Image.Image, name: str) -> bool:
    """Make an opened file, whose pixels are not read yet, give its bands as they are stored.

    Returns:
        Whether the colours are multiplied by the last band (a TIFF's associated alpha).

    Raises:
        ImageError: PIL reads this order of bands wrongly.
    """
    tiles: list[Any] = getattr(image, "tile", None) or []
    premultiplied = False
    if image.format == "PPM" and _is_deep_ppm(image):
        # The plain raw decoder gives the same high bytes, and can give the low ones.
        tiles[0] = tiles[0]._replace(codec_name="raw", args="RGB;16B")
    if image.format != "TIFF":
        return False
    separate = _is_separate_deep(image)
    if separate and image.mode not in ("RGB", "RGBA", "I;16", "I;16B"):
        raise ImageError(
            f"The {name} is a {image.mode} TIFF of 16 bits whose bands are stored one after the "
            "other, which is not read; save it as RGB with interleaved bands "
            "(planarconfig='contig')."
        )
    for index, tile in enumerate(tiles):
        raw = _raw(tile)
        form, _, order = raw.partition(";")
        if "RGBa" in form or form == "a":
            premultiplied = True
            # PIL divides by the band "a", and takes "A" as it is.
            form = form.replace("a", "A")
        if separate and tile.codec_name == "raw" and form in ("R", "G", "B", "A"):
            # PIL names the bands of a separate file as if they had 8 bits.
            order = "16L" if image.tag_v2.prefix == b"II" else "16B"  # type: ignore[attr-defined]
        tiles[index] = _with_raw(tile, f"{form};{order}" if order else form)
    return premultiplied


def has_deep_colours(image: Image.Image) -> bool:
    """Whether an opened file has colours of 16 bits, of which PIL gives the high bytes only.

    True as well for the grey of SGI files, and for any colours that the file stores with more
    than 8 bits and PIL's decoder cuts down itself.
    """
    tiles = getattr(image, "tile", None)
    if not tiles:
        return False
    if image.format == "SGI":
        return tiles[0].codec_name == "SGI16" or ";16" in _raw(tiles[0])
    if image.mode not in _COLOUR_MODES:
        return False
    if image.format == "JPEG2000":
        return _jpeg2000_bits(image) > 8
    if image.format == "PPM":
        # Of numbers written as text PIL gives the upper bytes, and no other raw mode.
        as_text = tiles[0].codec_name == "ppm_plain" and tiles[0].args[1:] == (65535,)
        return as_text or _is_deep_ppm(image) or _raw(tiles[0]).startswith("RGB;16")
    return _order(tiles[0]) is not None or _is_separate_deep(image)


def swap_bytes(image: Image.Image) -> bool:
    """Make an opened, unread image give the low bytes of its 16-bit colours; False if it cannot."""
    tiles: list[Any] = getattr(image, "tile", None) or []
    # libtiff's reader of separate bands does not look at the raw mode.
    if (
        not tiles
        or image.format == "SGI"
        or (_is_separate_deep(image) and tiles[0].codec_name != "raw")
    ):
        return False
    swapped = []
    for tile in tiles:
        form, order = _raw(tile).partition(";")[0], _order(tile)
        if order is None or form not in _SWAPPABLE:
            return False
        swapped.append(_with_raw(tile, f"{form};{'16B' if order == '16L' else '16L'}"))
    tiles[:] = swapped
    return True


def is_white_at_zero(image: Image.Image) -> bool:
    """Whether 0 is white in a file of one deep band. PIL inverts such files of 8 bits only."""
    return getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def _is_deep_ppm(image: Image.Image) -> bool:
    """Whether an opened PPM file has colours of 16 bits that lie in it as bytes."""
    tiles: list[Any] = image.tile  # type: ignore[attr-defined]
    return image.mode == "RGB" and tiles[0].codec_name == "ppm" and tiles[0].args[1:] == (65535,)


def _is_separate_deep(image: Image.Image) -> bool:
    """Whether an opened TIFF has 16-bit bands that lie in it one after the other."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS, (1,))
    return tags.get(_PLANAR) == _SEPARATE and isinstance(bits, tuple) and max(bits) > 8


def _jpeg2000_bits(image: Image.Image) -> int:
    """The most bits that a component of a JPEG 2000 file has; 16 where that cannot be found."""
    file: Any = image.fp  # type: ignore[attr-defined]
    place = file.tell()
    try:
        file.seek(0)
        data = file.read(_MOST_BOXES)
    finally:
        file.seek(place)
    # Lengths and sizes take 38 bytes after the codestream's own marker; then three a component.
    start = data.find(_CODESTREAM) + len(_CODESTREAM) + 36
    if start < len(_CODESTREAM) + 36 or len(data) < start + 2:
        return 16
    count = int.from_bytes(data[start : start + 2], "big")
    components = data[start + 2 : start + 2 + 3 * count : 3]
    return max(((bits & 0x7F) + 1 for bits in components), default=16)


def _raw(tile: Any) -> str:
    """A tile's raw mode; empty where its decoder has none."""
    args = tile.args
    raw = args[0] if isinstance(args, tuple) and args else args
    return raw if isinstance(raw, str) else ""


def _with_raw(tile: Any, raw: str) -> Any:
    if not _raw(tile) or raw == _raw(tile):
        return tile
    args = raw if isinstance(tile.args, str) else (raw, *tile.args[1:])
    return tile._replace(args=args)


def _order(tile: Any) -> str | None:
    """The order of a tile's 16-bit values: ``16L`` or ``16B``; None if it has none."""
    order = _raw(tile).partition(";")[2]
    order = _NATIVE if order == "16N" else order
    return order if order in ("16L", "16B") else None
