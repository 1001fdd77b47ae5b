"""The kinds of image files that a person may have, and how to write each."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

Array = np.ndarray[Any, Any]
Save = Callable[[Array, Path, int], None]

_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{}"/></rdf:RDF></x:xmpmeta>'
)


@dataclass(frozen=True)
class FileKind:
    """A kind of image file.

    Attributes:
        name: what it is called in the table.
        suffix: its extension.
        save: writes stored pixels (H, W, 3) to a path; takes the orientation of the header.
        picture: a key of ``PICTURES``: what the format can hold of a scene.
        turns: whether its header can hold an orientation.
        loss: largest mean difference between the picture and what is read, of 255 levels.
        unsure: whether a refusal by name is right too: the values have no known scale.
        note: a word of the note that a run's report must have of such a file.
    """

    name: str
    suffix: str
    save: Callable[[Array, Path, int], None] = field(repr=False)
    picture: str = "rgb"
    turns: bool = False
    loss: float = 0.0
    unsure: bool = False
    note: str = ""


def _see_through(scene: Array) -> Array:
    """A scene with a transparent corner, which is shown on white."""
    return np.where(_alpha(scene)[..., None] == 0, np.uint8(255), scene)


def _alpha(scene: Array) -> Array:
    alpha = np.full(scene.shape[:2], 255, np.uint8)
    alpha[: scene.shape[0] // 5, : scene.shape[1] // 3] = 0
    return alpha


def _full_range(scene: Array) -> Array:
    """A scene in grey, as bright as can be."""
    grey = _as_mode(scene, "L").astype(float)
    return (grey * (255 / grey.max())).round().astype(np.uint8)


def _as_mode(scene: Array, mode: str) -> Array:
    return np.asarray(Image.fromarray(scene).convert(mode).convert("RGB"))


PICTURES: dict[str, Callable[[Array], Array]] = {
    "rgb": np.ascontiguousarray,
    "grey": lambda scene: _as_mode(scene, "L"),
    "full grey": _full_range,
    "on white": _see_through,
    "grey on white": lambda scene: _see_through(_as_mode(scene, "L")),
    "256 colours": lambda scene: np.asarray(Image.fromarray(scene).quantize(255).convert("RGB")),
    "black and white": lambda scene: _as_mode(scene, "1"),
}
"""What a format can hold of a scene, RGB (H, W, 3), in and out."""


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    return exif.tobytes()


def pillow(**options: Any) -> Callable[[Array, Path, int], None]:
    """A writer by Pillow; ``mode`` is that of the image, the rest is for ``Image.save``."""
    mode = options.pop("mode", "RGB")
    carrier = options.pop("carrier", None)
    frames = options.pop("frames", 1)

    def save(stored: Array, path: Path, orientation: int) -> None:
        image = _in_mode(stored, mode)
        extra: dict[str, Any] = {}
        if carrier == "exif":
            extra["exif"] = _exif(orientation)
        elif carrier == "xmp":
            extra["xmp"] = _XMP.format(orientation).encode()
        elif carrier == "png xmp":
            extra["pnginfo"] = PngInfo()
            extra["pnginfo"].add_itxt("XML:com.adobe.xmp", _XMP.format(orientation))
        elif carrier == "tiff":
            extra["tiffinfo"] = {0x0112: orientation}
        if frames > 1:
            others = [Image.fromarray(255 - np.asarray(image.convert("RGB"))).convert(mode)]
            extra |= {"save_all": True, "append_images": others * (frames - 1)}
        image.save(path, **options, **extra)

    return save


def _in_mode(stored: Array, mode: str) -> Image.Image:
    """Stored pixels in one of Pillow's modes, without a loss that their picture does not have."""
    if mode == "P":
        colours, index = np.unique(stored.reshape(-1, 3), axis=0, return_inverse=True)
        image = Image.fromarray(index.reshape(stored.shape[:2]).astype(np.uint8), "P")
        image.putpalette(colours.astype(np.uint8).tobytes())
        return image
    if mode in ("RGBA", "LA"):
        # White is what shows through; the colour below it must not matter.
        alpha = np.where((stored == 255).all(axis=-1), 0, 255).astype(np.uint8)
        below = np.where(alpha[..., None] == 0, np.uint8(70), stored)
        if mode == "RGBA":
            return Image.fromarray(np.dstack([below, alpha]), "RGBA")
        return Image.merge("LA", [Image.fromarray(below[..., 0]), Image.fromarray(alpha)])
    if mode == "I;16":
        return Image.fromarray(stored[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(stored).convert(mode)


def _png16(stored: Array, path: Path, orientation: int) -> None:
    cv2.imwrite(str(path), stored[..., ::-1].astype(np.uint16) * 257)


def _dark(factor: int, start: int = 0) -> Callable[[Array, Path, int], None]:
    """Grey levels in a part of 16 bits: 8 bits as they are, 12 bits, a thermal camera's."""

    def save(stored: Array, path: Path, orientation: int) -> None:
        cv2.imwrite(str(path), stored[..., 0].astype(np.uint16) * factor + start)

    return save


def _reflectance(stored: Array, path: Path, orientation: int) -> None:
    """Floats from 0 to 1, and of the brightest pixels a little above it."""
    values = stored[..., 0].astype(np.float32) / 255
    values[values == 1] = 1.02
    Image.fromarray(values).save(path)


def _tiff(**options: Any) -> Callable[[Array, Path, int], None]:
    """A writer by tifffile, for what Pillow does not write; a fourth band is near infrared."""
    infrared, deep = options.pop("infrared", False), options.pop("deep", False)
    options = {"photometric": "rgb", "metadata": None, **options}

    def save(stored: Array, path: Path, orientation: int) -> None:
        pixels = np.dstack([stored, 255 - stored[..., 1]]) if infrared else stored
        if deep:
            pixels = pixels.astype(np.uint16) * 257
        if options.get("planarconfig") == "separate":
            pixels = np.moveaxis(pixels, -1, 0)
        extra = [(274, "H", 1, orientation, True)] if orientation != 1 else []
        tifffile.imwrite(path, pixels, extratags=extra, **options)

    return save


def _png_interlaced(stored: Array, path: Path, orientation: int) -> None:
    """Adam7 in seven passes, which Pillow reads but does not write."""
    steps = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    rows = b""
    for top, left, down, right in [*steps, (1, 0, 2, 1)]:
        part = stored[top::down, left::right]
        if part.size:
            rows += b"".join(b"\0" + row.tobytes() for row in part)
    height, width = stored.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        check = struct.pack(">I", zlib.crc32(name + data))
        content += struct.pack(">I", len(data)) + name + data + check
    path.write_bytes(content)


def _icon(stored: Array, path: Path, orientation: int) -> None:
    Image.fromarray(stored).save(path, sizes=[(stored.shape[1], stored.shape[0])])


_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_EXIF: dict[str, Any] = {"carrier": "exif"}
_TAG: dict[str, Any] = {"carrier": "tiff"}
_GREY_BANDS = _tiff(infrared=True, photometric="minisblack", planarconfig="contig")

FILE_KINDS = (
    FileKind("png", ".png", pillow(**_EXIF), turns=True),
    FileKind("png xmp", ".png", pillow(carrier="png xmp"), turns=True),
    FileKind("png icc", ".png", pillow(icc_profile=_SRGB)),
    FileKind("png interlaced", ".png", _png_interlaced),
    FileKind("png grey", ".png", pillow(mode="L", **_EXIF), "grey", turns=True),
    FileKind("png grey 16", ".png", pillow(mode="I;16", **_EXIF), "grey", turns=True),
    FileKind("png rgb 16", ".png", _png16),
    FileKind("png palette", ".png", pillow(mode="P", **_EXIF), "256 colours", turns=True),
    FileKind("png rgba", ".png", pillow(mode="RGBA", **_EXIF), "on white", turns=True),
    FileKind("png grey alpha", ".png", pillow(mode="LA"), "grey on white"),
    FileKind("png 1 bit", ".png", pillow(mode="1", **_EXIF), "black and white", turns=True),
    FileKind("png 8 in 16", ".png", _dark(1), "grey", unsure=True),
    FileKind("jpeg", ".jpg", pillow(quality=95, subsampling=0, **_EXIF), turns=True, loss=3),
    FileKind("jpeg 4:2:0", ".jpg", pillow(quality=85, **_EXIF), turns=True, loss=4.5),
    FileKind(
        "jpeg progressive",
        ".jpeg",
        pillow(quality=92, progressive=True, **_EXIF),
        turns=True,
        loss=4,
    ),
    FileKind("jpeg xmp", ".jpg", pillow(quality=95, carrier="xmp"), turns=True, loss=4),
    FileKind(
        "jpeg icc", ".jpg", pillow(quality=95, icc_profile=_SRGB, **_EXIF), turns=True, loss=4
    ),
    FileKind(
        "jpeg grey", ".jpg", pillow(quality=95, mode="L", **_EXIF), "grey", turns=True, loss=2
    ),
    FileKind("jpeg cmyk", ".jpg", pillow(quality=95, mode="CMYK", **_EXIF), turns=True, loss=2),
    FileKind(
        "mpo", ".jpg", pillow(format="MPO", quality=95, frames=2, **_EXIF), turns=True, loss=4
    ),
    FileKind("tiff", ".tif", pillow(**_TAG), turns=True),
    FileKind("tiff lzw", ".tif", pillow(compression="tiff_lzw", **_TAG), turns=True),
    FileKind("tiff deflate", ".tiff", pillow(compression="tiff_adobe_deflate", **_TAG), turns=True),
    FileKind("tiff packbits", ".tif", pillow(compression="packbits", **_TAG), turns=True),
    FileKind(
        "tiff jpeg", ".tif", pillow(compression="jpeg", quality=95, **_TAG), turns=True, loss=2
    ),
    FileKind("tiff tiled", ".tif", _tiff(tile=(64, 64)), turns=True),
    FileKind("tiff big endian", ".tif", _tiff(byteorder=">"), turns=True),
    FileKind("tiff planar", ".tif", _tiff(planarconfig="separate"), turns=True),
    FileKind("bigtiff", ".tif", _tiff(bigtiff=True), turns=True),
    FileKind("tiff grey 16", ".tif", pillow(mode="I;16", **_TAG), "grey", turns=True),
    FileKind("tiff 12 in 16", ".tif", _dark(16), "grey", unsure=True),
    FileKind("tiff thermal", ".tif", _dark(4, 29000), "grey", unsure=True),
    FileKind("tiff reflectance", ".tif", _reflectance, "full grey", unsure=True),
    FileKind("tiff rgb 16", ".tif", _tiff(deep=True), turns=True),
    FileKind("tiff rgb nir", ".tif", _tiff(infrared=True, extrasamples=["unspecified"])),
    FileKind("tiff nir as alpha", ".tif", _tiff(infrared=True, extrasamples=[2]), unsure=True),
    FileKind("tiff 4 bands", ".tif", _GREY_BANDS, unsure=True),
    FileKind("tiff pages", ".tif", pillow(frames=3), note="page"),
    FileKind("tiff cmyk", ".tif", pillow(mode="CMYK", **_TAG), turns=True, loss=1),
    FileKind("webp", ".webp", pillow(quality=90, **_EXIF), turns=True, loss=4),
    FileKind("webp lossless", ".webp", pillow(lossless=True, **_EXIF), turns=True),
    FileKind("webp xmp", ".webp", pillow(lossless=True, carrier="xmp"), turns=True),
    FileKind(
        "webp alpha",
        ".webp",
        pillow(lossless=True, exact=True, mode="RGBA", **_EXIF),
        "on white",
        turns=True,
    ),
    FileKind("webp animated", ".webp", pillow(lossless=True, frames=3), note="frame"),
    FileKind("gif", ".gif", pillow(mode="P"), "256 colours"),
    FileKind("gif animated", ".gif", pillow(mode="P", frames=3), "256 colours", note="frame"),
    FileKind("png animated", ".png", pillow(frames=3), note="frame"),
    FileKind("bmp", ".bmp", pillow()),
    FileKind("bmp palette", ".bmp", pillow(mode="P"), "256 colours"),
    FileKind("ppm", ".ppm", pillow()),
    FileKind("pgm", ".pgm", pillow(mode="L"), "grey"),
    FileKind("jpeg 2000", ".jp2", pillow(irreversible=False)),
    FileKind("avif", ".avif", pillow(quality=90, **_EXIF), turns=True, loss=4),
    FileKind("tga", ".tga", pillow(compression="tga_rle")),
    FileKind("ico", ".ico", _icon),
    FileKind("pcx", ".pcx", pillow()),
)
"""Every kind of file, the commonest of each format first."""
