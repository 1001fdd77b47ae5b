"""Image files as cameras and programs write them: turned, and of 16 bits."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

ORIENTATION, XMP = 0x0112, 700

FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpg": ("JPEG", {"quality": 98, "subsampling": 0}),
    "mpo": ("MPO", {"quality": 98, "subsampling": 0}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"lossless": True}),
    "avif": ("AVIF", {"quality": 98, "subsampling": "4:4:4"}),
    "tif": ("TIFF", {}),
    "lzw.tif": ("TIFF", {"compression": "tiff_lzw"}),
}
"""By suffix, the formats in which PIL writes an orientation, and how to lose little."""


def stored(shown: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels (H, W, ...) as a camera stores a picture with an EXIF orientation."""
    swapped = shown.swapaxes(0, 1)
    return {
        1: shown,
        2: shown[:, ::-1],
        3: shown[::-1, ::-1],
        4: shown[::-1],
        5: swapped,
        6: np.rot90(shown, 1),
        7: swapped[::-1, ::-1],
        8: np.rot90(shown, -1),
    }[orientation]


def save_turned(
    path: Path, shown: np.ndarray, orientation: int, suffix: str = "png", where: str = "exif"
) -> None:
    """Save a picture so that a viewer has to turn it.

    Args:
        path: the file.
        shown: the picture as a viewer shows it, any pixels that PIL takes.
        orientation: 1 to 8.
        suffix: a key of ``FORMATS``.
        where: ``exif`` or ``xmp``, the metadata that tell the orientation.
    """
    format, options = FORMATS[suffix]
    options = dict(options)
    xmp = f'<rdf:Description tiff:Orientation="{orientation}"/>'
    if where == "exif":
        options["exif"] = Image.Exif()
        options["exif"][ORIENTATION] = orientation
    elif format == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp)
    elif format == "TIFF":
        options["tiffinfo"] = TiffImagePlugin.ImageFileDirectory_v2()
        options["tiffinfo"][XMP], options["tiffinfo"].tagtype[XMP] = xmp.encode(), 1
    else:
        options["xmp"] = xmp.encode()
    Image.fromarray(np.ascontiguousarray(stored(shown, orientation))).save(path, format, **options)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def deep_png(values: np.ndarray) -> bytes:
    """A PNG file of 16 bits, which PIL cannot write: uint16 (H, W, bands), 1 to 4 bands."""
    height, width, bands = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[bands]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)
