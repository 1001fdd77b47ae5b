"""Deep pixel values and fourth bands: how they become 8-bit RGB, and what to say of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from ...errors import ImageError
from ..typing import Array
from .stored_bands import has_deep_colours, is_white_at_zero

_FEW_LEVELS = 32
# Fractions may exceed 1 by this factor: reflectance, sharpening, a lossy format.
_MOST_FRACTION = 2.0
_TRANSPARENCY_MODES = ("RGBA", "LA", "RGBa", "La", "PA")
# Transparency is mostly 0 or 255; a picture in its place is mostly between, at many levels.
_PICTURE_SHARE, _PICTURE_LEVELS = 0.5, 32
# Of a TIFF that does not say that its fourth band is transparency, less is enough.
_UNMARKED_SHARE = 0.1

# Colours of 16 bits may fit 14 up to this high byte: JPEG 2000's decoder rounds.
_DARK_HIGH_BYTE = 64
# Transparency nowhere half as opaque as can be is another thing.
_FAINT = 128

_BITS, _BANDS, _EXTRA_BANDS = 258, 277, 338
_ONE_SCALE = "scale the values to the whole range, by the same factor for all images of a dataset"


def needs_pixels(image: Image.Image) -> bool:
    """Whether an opened image's pixel values decide how it is read: deep ones, or transparency."""
    return is_deep_grey(image) or image.mode in _TRANSPARENCY_MODES or has_deep_colours(image)


def is_deep_grey(image: Image.Image) -> bool:
    """Whether an image has one band of more than 8 bits."""
    return image.mode.startswith(("I", "F"))


def deep_grey_to_rgb(image: Image.Image, name: str) -> tuple[Image.Image, list[str]]:
    """An image of mode ``I``, ``I;16*`` or ``F`` as RGB, and notes.

    Values that all fit 8, 10, 12 or 14 bits are scaled as such; others by their high byte, as
    viewers show them. Floats are 0 to 1 or 0 to 255. A TIFF whose 0 is white is inverted.

    Raises:
        ImageError: the values have no known scale.
    """
    values = np.asarray(image)
    if image.mode == "F":
        shown, notes = _floats_to_bytes(values, name)
    else:
        if image.mode == "I" and not (values.min() >= 0 and values.max() <= 65535):
            raise ImageError(
                f"The {name} has 32-bit values from {values.min()} to {values.max()}, of which "
                "only 0 to 65535 are read; scale them and save it with 8 or 16 bits."
            )
        shown, notes = _deep_to_bytes(values, _packed_bits(image))
    if is_white_at_zero(image):
        shown = 255 - shown
    return Image.fromarray(shown).convert("RGB"), notes


def deep_colours_to_bytes(
    high: Image.Image, low_bytes: Callable[[], Image.Image | None], name: str
) -> tuple[Image.Image, list[str]]:
    """Colours of 16 bits, of which PIL gave the high bytes, as 8 bits, and notes.

    Args:
        high: the high bytes, of any mode of 8 bits.
        low_bytes: reads the low bytes, of the same mode and size; None if that is not possible.
        name: what the image is called.

    Raises:
        ImageError: the low bytes decide how the image is read, and cannot be read.
    """
    bands = _histograms(high)
    colours = bands[:1] if high.mode == "LA" else bands[:3] if high.mode == "RGBA" else bands
    levels = max(int(np.count_nonzero(band)) for band in colours)
    top = max(int(np.flatnonzero(band)[-1]) for band in colours)
    if levels >= _FEW_LEVELS and top > _DARK_HIGH_BYTE:
        return high, []
    low = low_bytes()
    if low is None or low.size != high.size or low.mode != high.mode:
        return high, _notes_without_low_bytes(levels, top, name)
    values = np.asarray(high).astype(np.uint16) << 8 | np.asarray(low)
    shown, notes = _deep_to_bytes(values[..., :3])
    if high.mode == "RGBA":
        # The fourth band may fill its range where the colours do not.
        fourth = np.minimum(values[..., 3] >> (_bits(values[..., :3]) - 8), 255)
        shown = np.concatenate([shown, fourth[..., None].astype(np.uint8)], axis=-1)
    return Image.fromarray(np.ascontiguousarray(shown)), notes


def _notes_without_low_bytes(levels: int, top: int, name: str) -> list[str]:
    if top <= _DARK_HIGH_BYTE:
        raise ImageError(
            f"The {name} has colours of 16 bits that are dark (at most {top * 256 + 255} of "
            "65535), or use fewer bits, and Pillow reads only the upper 8 of them in this format; "
            "save it with 8 bits, or as a 16-bit RGB PNG."
        )
    return [
        f"16-bit file of which {levels} grey levels can be read, which is little to see; save it "
        f"as a 16-bit RGB PNG, or {_ONE_SCALE}"
    ]


def from_premultiplied(image: Image.Image) -> Image.Image:
    """An RGBA image whose colours are multiplied by its alpha, with plain colours."""
    return Image.frombytes("RGBa", image.size, image.tobytes()).convert("RGBA")


def without_false_transparency(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """An image whose last band is transparency, without it where it holds a picture; and notes."""
    if image.mode not in _TRANSPARENCY_MODES:
        return image, []
    counts = _histograms(image)[-1]
    if counts[0] == counts.sum():
        return image, ["wholly transparent, so it was read as white; save it without its alpha"]
    most = int(np.flatnonzero(counts)[-1])
    if most < _FAINT:
        # An image of which no pixel can be seen well is no picture: a mask, class ids, depth.
        return _without_last(image), [
            f"its last band reaches {most} of 255, so it is no transparency (a mask, class ids or "
            "depth?): the other bands were read without it; if it is, save the image on a plain "
            "background"
        ]
    share = counts[1:255].sum() / counts.sum()
    several = np.count_nonzero(counts[1:255]) >= _PICTURE_LEVELS
    if not (share > _PICTURE_SHARE and several) and not (
        share > _UNMARKED_SHARE and _is_unmarked(image)
    ):
        return image, []
    notes = [
        "its last band holds a picture and not transparency (near infrared or depth?): the other "
        "bands were read without it; if it is transparency, save the image on a plain background"
    ]
    return _without_last(image), notes


def _without_last(image: Image.Image) -> Image.Image:
    """The colours or grey of an image, as they are: ``convert`` may divide by the last band."""
    if image.mode == "PA":
        return image.convert("RGB")
    bands = image.split()[:-1]
    return bands[0] if len(bands) == 1 else Image.merge("RGB", bands)


def _deep_to_bytes(values: Array, packed_bits: int | None = None) -> tuple[Array, list[str]]:
    """Values from 0 to 65535 as uint8 of the same shape, and notes.

    ``packed_bits`` is how many bits the file says that a value has, if fewer than 16.
    """
    bits = packed_bits or _bits(values)
    shown = np.minimum(values >> (bits - 8), 255).astype(np.uint8)
    notes = []
    if bits < 16 and packed_bits is None:
        notes.append(
            f"16-bit file that uses {bits} bits (values up to {values.max()}): they were read as "
            f"{bits}-bit values; if it is a dark 16-bit image, save it with 8 bits"
        )
    return shown, notes + _few_levels(shown, values)


def _floats_to_bytes(values: Array, name: str) -> tuple[Array, list[str]]:
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 255):
        raise ImageError(
            f"The {name} has floating-point values from {low:g} to {high:g}, and only 0 to 1 or "
            "0 to 255 are read; scale them and save it with 8 or 16 bits."
        )
    notes = []
    fractions = high <= 1
    if 1 < high <= _MOST_FRACTION and not (values == np.rint(values)).all():
        fractions = True
        notes.append(
            f"values from {low:g} to {high:g}: they were read as fractions, and those above 1 as 1"
        )
    shown = (np.minimum(values, 1) * 255 if fractions else values).round().astype(np.uint8)
    return shown, notes + _few_levels(shown, values)


def _bits(values: Array) -> int:
    """How many bits values from 0 to 65535 use: 8, 10, 12, 14 or 16.

    A camera's 14-bit values and a dark picture of 16 bits cannot always be told apart. The
    values' maximum decides, with a note: at a quarter of its brightness a 14-bit picture is of
    less use than a dark one that was brightened. Multiples of 256 or 257 are certain: 8 bits were
    made 16, so that their maximum is the picture's own.
    """
    top = int(values.max())
    if top == 0 or (top > 255 and (not (values % 257).any() or not (values % 256).any())):
        return 16
    return next(bits for bits in (8, 10, 12, 14, 16) if top < 2**bits)


def _few_levels(shown: Array, values: Array) -> list[str]:
    levels = int(np.count_nonzero(np.bincount(shown.ravel(), minlength=256)))
    if levels >= _FEW_LEVELS:
        return []
    distinct = len(np.unique(values))
    if distinct <= 2 * levels:
        return []
    return [
        f"its {distinct} values, from {values.min():g} to {values.max():g}, became {levels} grey "
        f"levels, which is little to see; {_ONE_SCALE}"
    ]


def _packed_bits(image: Image.Image) -> int | None:
    """Bits of a value as a TIFF of packed values says; None where they fill 16 or are unknown."""
    found = getattr(image, "tag_v2", {}).get(_BITS)
    bits = found[0] if isinstance(found, tuple) and found else found
    return bits if isinstance(bits, int) and 8 < bits < 16 else None


def _histograms(image: Image.Image) -> list[Array]:
    counts = np.array(image.histogram())
    return list(counts.reshape(-1, 256))


def _is_unmarked(image: Image.Image) -> bool:
    """Whether an image comes from a TIFF that does not say what its further bands are."""
    tags = getattr(image, "tag_v2", None)
    return tags is not None and tags.get(_BANDS, 0) > 1 and _EXTRA_BANDS not in tags
