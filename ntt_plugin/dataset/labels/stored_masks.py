"""Masks as labels hold them, in the database or in a file: which pixels are the object's.

Accepted are bool, {0, 1}, {0, 255} and {0, 65535}; of several channels, one colour on black or
the alpha channel. Anything else (probabilities, logits, ids, NaN) is refused: no threshold and no
id is guessed.
"""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
from PIL import Image

from ...engine.images.image_file import load_pixels, open_image
from ...engine.typing import Array
from ...errors import DatasetError, ImageError
from ..samples.checks import quoted

# What stands for "the object" beside 0.
_FILLED = (1, 255, 65535)

# Formats that change pixels when they save.
_LOSSY = {"JPEG", "MPO", "WEBP", "JPEG2000", "AVIF"}
_DARK, _BRIGHT = 64, 191
# Pixels of a lossy mask between dark and bright, as a share of the bright ones. JPEG of quality 50
# leaves 0.013 at most; masks with soft edges have more.
_UNCLEAR = 0.02

# What OpenCV, and with it FiftyOne, reads as one channel.
_ONE_CHANNEL = {"1", "L", "I", "I;16", "I;16L", "I;16B", "F"}

_ALLOWED = "a mask holds False and True, 0 and 1, or 0 and 255"


def stored_mask(detection: fo.Detection, most_pixels: int) -> tuple[Array, bool]:
    """A label's own mask, before it is placed in the image.

    Its ``mask`` is read, or else the file ``mask_path``; a file of more than ``most_pixels`` is
    refused before they are read.

    Returns:
        The mask, bool (h, w), and whether FiftyOne reads the same (h, w) and takes the same
        pixels for the object: it takes all that are not 0.

    Raises:
        DatasetError: there is no mask, it cannot be read, or it has values that no mask has.
    """
    if detection.mask is not None:
        values = np.asarray(detection.mask)
        return binary_mask(values), values.ndim == 2
    # An empty path, as tables have it for "none", would be the current folder.
    if detection.mask_path:
        return _mask_of_file(detection.mask_path, most_pixels)
    raise DatasetError("It has no mask; draw one, or make it with masks_from_boxes().")


def binary_mask(values: Array) -> Array:
    """An array of a mask's values as bool (h, w).

    ``values`` are (h, w), (1, h, w), or (h, w, channels) with up to four channels; two and four
    channels end with alpha.

    Raises:
        DatasetError: no mask has such a shape or values; says how to convert them.
    """
    if values.ndim == 3 and values.shape[0] == 1 and values.shape[2] > 4:
        values = values[0]
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    channels = values.shape[2] if values.ndim == 3 else 1
    if values.ndim not in (2, 3) or channels > 4 or values.size == 0:
        raise DatasetError(f"Its mask has the shape {values.shape}; it must be (height, width).")
    if values.dtype.kind not in "buif":
        raise DatasetError(f"Its mask holds values of the type {values.dtype}; {_ALLOWED}.")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DatasetError(
            "Its mask holds values that are not finite numbers (NaN or infinity); save "
            "`mask > 0.5` of probabilities, or `mask > 0` of logits."
        )
    mask = _one_channel(values) if values.ndim == 2 else _channels(values)
    if mask is None:
        raise DatasetError(_wrong_values(values))
    return mask


def _one_channel(values: Array) -> Array | None:
    """A mask of one channel, (h, w); None for values that no mask has."""
    if values.dtype == bool:
        return values
    high = values.max()
    if high == 0:
        return np.zeros(values.shape, dtype=bool) if values.min() == 0 else None
    filled: Array = values == high
    is_mask = high in _FILLED and np.count_nonzero(values) == np.count_nonzero(filled)
    return filled if is_mask else None


def _channels(values: Array) -> Array | None:
    """A mask in one or more of 2 to 4 channels, (h, w, channels); None if there is none."""
    if values.shape[2] == 3:
        return _on_black(values)
    colours, alpha = values[..., :-1], values[..., -1]
    drawn = _on_black(colours)
    if alpha.min() == alpha.max():
        return drawn
    opaque = _one_channel(alpha)
    if drawn is None or opaque is None or (colours == colours[0, 0]).all():
        return opaque
    if not np.array_equal(drawn, opaque):
        raise DatasetError(
            "Its mask has colours and an alpha channel, which show different objects; save one of "
            "them as a mask of one channel."
        )
    return drawn


def _on_black(colours: Array) -> Array | None:
    filled: Array = (colours != 0).any(axis=-1)
    if not filled.any():
        return filled
    first = tuple(np.argwhere(filled)[0])
    colour = colours[first]
    if colour.max() not in _FILLED or not set(colour.tolist()) <= {0, colour.max()}:
        return None
    return filled if (colours[filled] == colour).all() else None


def _mask_of_file(path: str, most_pixels: int) -> tuple[Array, bool]:
    """A mask's file as bool (h, w), and whether FiftyOne reads the same of it."""
    large = None
    try:
        with open_image(Path(path)) as opened:
            if opened.width * opened.height > most_pixels:
                large = f"{opened.width} x {opened.height}"
            else:
                load_pixels(opened)
                lossy = opened.format in _LOSSY or opened.info.get("compression") == "jpeg"
                mode = opened.mode
                values, indices = _values(opened)
    except ImageError as error:
        raise DatasetError(f"Its mask file cannot be read: {error}") from error
    if large is not None:
        raise DatasetError(
            f"Its mask file {path} has {large} pixels, far more than its image; save the mask at "
            "the size of the image or of its box."
        )
    try:
        if lossy:
            values = _without_loss(values)
        return binary_mask(values), mode in _ONE_CHANNEL and not lossy
    except DatasetError as error:
        by_index = None if indices is None else _one_channel(indices)
        if by_index is None:
            raise DatasetError(f"{error} ({path})") from error
        return by_index, False


def _values(image: Image.Image) -> tuple[Array, Array | None]:
    """The channels of an opened image, and of one with a palette its indices too."""
    if image.mode in ("P", "PA"):
        colours = image.convert("RGBA" if image.has_transparency_data else "RGB")
        return np.array(colours), np.array(image.getchannel(0))
    if image.mode not in {*_ONE_CHANNEL, "LA", "RGB", "RGBA"}:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return np.array(image), None


def _without_loss(image: Array) -> Array:
    """A grey image of a lossy format as 0 and 255, where nearly all values are close to these.

    ``image`` is uint8 (h, w), or (h, w, channels).

    Raises:
        DatasetError: it is not grey, or too many values are not.
    """
    grey = image if image.ndim == 2 else image[..., 0]
    if image.ndim == 3:
        colours = image[..., : 3 if image.shape[2] >= 3 else 1]
        if np.ptp(colours, axis=-1).max() >= _DARK:
            raise DatasetError(
                "Its mask is in colours in a file of a lossy format, which blurs them; save "
                "`mask > 127` of the channel that holds it as PNG."
            )
    bright, unclear = grey > _BRIGHT, (grey >= _DARK) & (grey <= _BRIGHT)
    few = np.count_nonzero(unclear) <= _UNCLEAR * np.count_nonzero(bright)
    if not few or (grey.any() and not bright.any()):
        raise DatasetError(
            "Its mask is a file of a lossy format whose values are not close to 0 and 255; save "
            "`mask > 127` as PNG."
        )
    cleaned: Array = np.where(grey > (_DARK + _BRIGHT) // 2, np.uint8(255), np.uint8(0))
    return cleaned


def _wrong_values(values: Array) -> str:
    """A sentence about values that no mask has, and how to convert them."""
    if values.ndim == 3:
        count = len(np.unique(values.reshape(-1, values.shape[2])[: 2**20], axis=0))
        return (
            f"Its mask has {values.shape[2]} channels with {count} colours, and must be one full "
            "colour on black or one channel; save `(mask == colour).all(axis=-1)` of the object's "
            "colour."
        )
    low, high = values.min(), values.max()
    found = np.unique(values.ravel()[: 2**20])
    if values.dtype.kind == "f":
        kind = "probabilities" if low >= 0 and high <= 1 else "logits"
        threshold = "0.5" if kind == "probabilities" else "0"
        return (
            f"Its mask holds values from {low:g} to {high:g}, as {kind} have them; {_ALLOWED}. "
            f"Save `mask > {threshold}`."
        )
    shown = quoted(found[:6].tolist())
    return (
        f"Its mask holds the values {shown[:-1] + ', ...]' if len(found) > 6 else shown}, as a map "
        f"of ids does; {_ALLOWED}. Save `mask == id` with the object's id (of grey levels, "
        "`mask > 127`)."
    )
