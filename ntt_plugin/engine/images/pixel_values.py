"""Deep pixel values and fourth bands: how they become 8-bit RGB, and what to say of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from ...errors import ImageError

Array: TypeAlias = np.ndarray[Any, Any]

_FEW_LEVELS = 32
# Fractions may exceed 1 by this factor: reflectance, sharpening, a lossy format.
_MOST_FRACTION = 2.0
_TRANSPARENCY_MODES = ("RGBA", "LA", "RGBa", "La", "PA")
# Transparency is mostly 0 or 255; a picture in its place is mostly between, at many levels.
_PICTURE_SHARE, _PICTURE_LEVELS = 0.5, 32
# Of a TIFF that does not say that its fourth band is transparency, less is enough.
_UNMARKED_SHARE = 0.1

_BITS, _BANDS, _EXTRA_BANDS = 258, 277, 338
_ONE_SCALE = "scale the values to the whole range, by the same factor for all images of a dataset"


def needs_pixels(image: Image.Image) -> bool:
    """Whether an opened image's pixel values decide how it is read: deep ones, or transparency."""
    return is_deep_grey(image) or image.mode in _TRANSPARENCY_MODES or has_deep_colours(image)


def is_deep_grey(image: Image.Image) -> bool:
    """Whether an image has one band of more than 8 bits."""
    return image.mode.startswith(("I", "F"))


def has_deep_colours(image: Image.Image) -> bool:
    """Whether an opened file has colours of 16 bits, of which PIL gives the high bytes only."""
    return _raw_mode(image)[0] is not None


def deep_grey_to_rgb(image: Image.Image, name: str) -> tuple[Image.Image, list[str]]:
    """An image of mode ``I``, ``I;16*`` or ``F`` as RGB, and notes.

    Values that all fit 8 or 12 bits are scaled as such; others by their high byte, as viewers
    show them. Floats are 0 to 1 or 0 to 255.

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
    return Image.fromarray(shown).convert("RGB"), notes


def deep_colours_to_bytes(
    high: Image.Image, low_bytes: Callable[[], Image.Image | None]
) -> tuple[Image.Image, list[str]]:
    """Colours of 16 bits, of which PIL gave the high bytes, as 8 bits, and notes.

    Args:
        high: the high bytes, RGB, RGBA or LA.
        low_bytes: reads the low bytes, of the same mode and size; None if that is not possible.
    """
    colours = _histograms(high)[:1] if high.mode == "LA" else _histograms(high)[:3]
    levels = max(int(np.count_nonzero(band)) for band in colours)
    top = max(int(np.flatnonzero(band)[-1]) for band in colours)
    if levels >= _FEW_LEVELS and top >= 16:
        return high, []
    low = low_bytes()
    if low is None or low.size != high.size or low.mode != high.mode:
        return high, [
            f"16-bit file of which {levels} grey levels can be read, which is little to see; "
            f"save it without its alpha, or {_ONE_SCALE}"
        ]
    values = np.asarray(high).astype(np.uint16) << 8 | np.asarray(low)
    shown, notes = _deep_to_bytes(values[..., :3])
    if high.mode == "RGBA":
        # The fourth band may fill its range where the colours do not.
        fourth = np.minimum(values[..., 3] >> (_bits(values[..., :3]) - 8), 255)
        shown = np.concatenate([shown, fourth[..., None].astype(np.uint8)], axis=-1)
    return Image.fromarray(np.ascontiguousarray(shown)), notes


def swap_bytes(image: Image.Image) -> bool:
    """Make an opened image, whose pixels are not read yet, give the low bytes of its colours.

    Returns:
        Whether it has colours of 16 bits.
    """
    raw, swapped = _raw_mode(image)
    if raw is None or not swapped:
        return False
    tiles: list[Any] = image.tile  # type: ignore[attr-defined]
    for index, tile in enumerate(tiles):
        args = swapped if isinstance(tile.args, str) else (swapped, *tile.args[1:])
        tiles[index] = tile._replace(args=args)
    return True


def without_false_transparency(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """An image whose last band is transparency, without it where it holds a picture; and notes."""
    if image.mode not in _TRANSPARENCY_MODES:
        return image, []
    counts = _histograms(image)[-1]
    if counts[0] == counts.sum():
        return image, ["wholly transparent, so it was read as white; save it without its alpha"]
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
    return image.convert("L" if image.mode in ("LA", "La") else "RGB"), notes


def _deep_to_bytes(values: Array, packed_bits: int | None = None) -> tuple[Array, list[str]]:
    """Values from 0 to 65535 as uint8 of the same shape, and notes.

    Args:
        values: whole numbers.
        packed_bits: how many bits the file says that a value has, if fewer than 16.
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
    """How many bits values from 0 to 65535 use: 8, 12 or 16."""
    top = int(values.max())
    return 16 if top == 0 or top > 4095 else 12 if top > 255 else 8


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


def _raw_mode(image: Image.Image) -> tuple[str | None, str]:
    """How a file's 16-bit colours lie in it, and how they would with their bytes swapped.

    None if it has none; an empty text where PIL cannot read them swapped.
    """
    tiles = getattr(image, "tile", None)
    if image.mode not in ("RGB", "RGBA", "LA") or not tiles:
        return None, ""
    args = tiles[0].args
    raw = args[0] if isinstance(args, tuple) and args else args
    if not isinstance(raw, str):
        return None, ""
    form, _, order = raw.partition(";")
    native = "16L" if sys.byteorder == "little" else "16B"
    order = native if order == "16N" else order
    if order not in ("16L", "16B") or form not in ("RGB", "RGBX", "RGBA", "LA"):
        return None, ""
    if form == "LA":
        return raw, ""
    return raw, f"{form};{'16B' if order == '16L' else '16L'}"
