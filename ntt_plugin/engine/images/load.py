"""Images in: a file, an array or a PIL image becomes RGB pixels and tensors in [0, 1]."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...errors import ImageError
from ..device.device import send
from ..recipe import IMAGE_MEAN, IMAGE_STD
from .image_file import (
    header_notes,
    load_pixels,
    open_image,
    orientation,
    out_of_memory,
    shown_size,
)
from .pixel_values import (
    deep_colours_to_bytes,
    deep_grey_to_rgb,
    from_premultiplied,
    is_deep_grey,
    needs_pixels,
    without_false_transparency,
)
from .stored_bands import has_deep_colours, prepare_bands, swap_bytes

__all__ = [
    "READING_VERSION",
    "TURNED_ONCE",
    "ImageLike",
    "image_notes",
    "normalise",
    "read_image",
    "read_with_notes",
    "reading_of",
    "shown_size",
    "to_tensor",
]

READING_VERSION = 3
"""To be raised where a file is read otherwise than before. Before 2, turned photographs of a
dataset were turned twice, and deep values and fourth bands were read by their form alone. Before
3, 10 and 14 of 16 bits, separate bands, 0 as white and faint fourth bands were not known."""

TURNED_ONCE = 2
"""The ``READING_VERSION`` since which photographs are turned once."""

ImageLike: TypeAlias = Image.Image | np.ndarray[Any, Any] | str | Path

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the image upright; 1 means that it is."""


def read_image(image: ImageLike) -> Image.Image:
    """An image as an RGB PIL image, upright as its EXIF orientation says.

    What is returned carries no orientation and no other metadata: reading it again changes
    nothing. Transparent parts are shown on white. 16 bits become 8 by their high byte, as
    viewers show them, unless all values fit 8, 10, 12 or 14 bits; floats are 0 to 1 or 0 to 255.
    Of an animation the first frame is taken.

    ``image`` is a path, a PIL image, or a uint8 array (H, W, 3) in RGB order or (H, W).

    Raises:
        ImageError: the file is missing, damaged or too large, also that of a PIL image which is
            read only now, its values have no known scale, or the array is of another form.
    """
    return read_with_notes(image)[0]


def read_with_notes(image: ImageLike) -> tuple[Image.Image, list[str]]:
    """As ``read_image``, with a sentence for each unusual thing about how the image was read.

    Raises:
        ImageError: as ``read_image``.
    """
    if isinstance(image, (str, Path)):
        path = Path(image)
        with open_image(path) as opened:
            notes = header_notes(opened)
            shown, more = _as_rgb(opened, f"image {image}", path)
            return shown, notes + more
    if isinstance(image, Image.Image):
        return _read_picture(image)
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"An image must be a path, a PIL image or a numpy array, not {type(image).__name__}."
        )
    is_grey, is_rgb = image.ndim == 2, image.ndim == 3 and image.shape[-1] == 3
    if image.dtype != np.uint8 or not (is_grey or is_rgb) or image.size == 0:
        raise ImageError(
            f"An image array must be uint8 of shape (H, W, 3) or (H, W), not {image.dtype} of "
            f"shape {image.shape}; scale its values to 0..255 and put channels last."
        )
    return Image.fromarray(np.ascontiguousarray(image)).convert("RGB"), []


def image_notes(path: str | Path) -> list[str]:
    """A sentence for each unusual thing about how a file is read; none for an unreadable one.

    Pixels are read only where they decide: of more than 8 bits, or with transparency.
    """
    try:
        with open_image(Path(path)) as opened:
            notes, pixels = header_notes(opened), needs_pixels(opened)
        return read_with_notes(path)[1] if pixels else notes
    except ImageError:
        return []


def reading_of(opened: Image.Image) -> int:
    """The last ``READING_VERSION`` that may have changed how an opened file is read.

    By its header alone; 1 for an ordinary file.
    """
    if needs_pixels(opened):
        return 3
    return TURNED_ONCE if orientation(opened) != 1 else 1


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB PIL image as float32 (3, H, W) in [0, 1]."""
    pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
    return pixels.permute(2, 0, 1).contiguous().to(torch.float32) / 255


def normalise(images: Tensor) -> Tensor:
    """Pixels in [0, 1], float (..., 3, H, W), as both networks expect them."""
    mean, std = (
        send(torch.tensor(values, dtype=images.dtype).view(3, 1, 1), images.device)
        for values in (IMAGE_MEAN, IMAGE_STD)
    )
    return (images - mean) / std


def _read_picture(image: Image.Image) -> tuple[Image.Image, list[str]]:
    try:
        # Colours of 16 bits are read twice, if they are read only now: by the path.
        path = getattr(image, "filename", "")
        return _as_rgb(image, "PIL image", Path(path) if path else None)
    except ImageError:
        raise
    except MemoryError as error:
        raise out_of_memory("PIL image") from error
    except Exception as error:
        # PIL reads a file's pixels when they are first asked for, which is here.
        raise ImageError(
            f"Cannot read the PIL image ({error}); replace or leave out its file if it is damaged."
        ) from error


def _as_rgb(image: Image.Image, name: str, path: Path | None) -> tuple[Image.Image, list[str]]:
    """An opened image as an upright RGB image without metadata, and notes."""
    deep_colours = has_deep_colours(image)
    premultiplied = prepare_bands(image, name)
    load_pixels(image)
    if is_deep_grey(image):
        shown, notes = deep_grey_to_rgb(image, name)
        return _bare(_upright(shown, image)), notes
    notes, shown = [], image
    if deep_colours:
        shown, notes = deep_colours_to_bytes(
            image, lambda: None if path is None else _low_bytes(path), name
        )
    shown, more = without_false_transparency(shown)
    if premultiplied and shown.mode == "RGBA":
        shown = from_premultiplied(shown)
    shown = _on_white(shown) if shown.has_transparency_data else shown.convert("RGB")
    return _bare(_upright(shown, image)), notes + more


def _low_bytes(path: Path) -> Image.Image | None:
    """The low bytes of a file's 16-bit colours; None if it has none (any more)."""
    with open_image(path) as opened:
        prepare_bands(opened, f"image {path}")
        if not swap_bytes(opened):
            return None
        load_pixels(opened)
        return opened.copy()


def _upright(shown: Image.Image, image: Image.Image) -> Image.Image:
    """The pixels of an image turned by the orientation that the image carries."""
    turn = _TURNS.get(orientation(image))
    return shown if turn is None else shown.transpose(turn)


def _bare(image: Image.Image) -> Image.Image:
    """An image without metadata: whoever reads it again must not turn it again."""
    image.info = {}
    return image


def _on_white(image: Image.Image) -> Image.Image:
    # La is the one mode that PIL converts to LA only.
    image = image.convert("LA") if image.mode == "La" else image
    shown = Image.new("RGB", image.size, "white")
    rgba = image.convert("RGBA")
    shown.paste(rgba, mask=rgba)
    return shown
