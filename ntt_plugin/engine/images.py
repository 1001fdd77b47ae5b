"""Images in: a file, an array or a PIL image becomes RGB pixels and tensors in [0, 1]."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import ImageError
from .config import IMAGE_MEAN, IMAGE_STD
from .image_file import image_notes, load_pixels, open_image, orientation, shown_size
from .sending import send

__all__ = ["ImageLike", "image_notes", "normalise", "read_image", "shown_size", "to_tensor"]

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

    Transparent parts are shown on white. 16 bits become 8 by their high byte, as viewers show
    them; floats are 0 to 1 or 0 to 255. Of an animation the first frame is taken.

    Args:
        image: a path, a PIL image, or a uint8 array (H, W, 3) in RGB order or (H, W).

    Raises:
        ImageError: the file is missing, damaged or too large, also that of a PIL image which is
            read only now, its values have no known scale, or the array is of another form.
    """
    if isinstance(image, (str, Path)):
        with open_image(Path(image)) as opened:
            return _as_rgb(opened, f"image {image}")
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
    return Image.fromarray(np.ascontiguousarray(image)).convert("RGB")


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


def _read_picture(image: Image.Image) -> Image.Image:
    try:
        return _as_rgb(image, "PIL image")
    except ImageError:
        raise
    except Exception as error:
        # PIL reads a file's pixels when they are first asked for, which is here.
        raise ImageError(
            f"Cannot read the PIL image ({error}); replace or leave out its file if it is damaged."
        ) from error


def _as_rgb(image: Image.Image, name: str) -> Image.Image:
    load_pixels(image)
    upright = _upright(image)
    if upright.mode == "F":
        return _from_floats(upright, name)
    if upright.mode.startswith("I"):
        return _from_deep_grey(upright, name)
    if upright.has_transparency_data:
        return _on_white(upright)
    return upright.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    turn = _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def _from_deep_grey(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image)
    if image.mode == "I" and not (values.min() >= 0 and values.max() <= 65535):
        raise ImageError(
            f"The {name} has 32-bit values from {values.min()} to {values.max()}, of which only "
            "0 to 65535 are read; scale them and save it with 8 or 16 bits."
        )
    # PIL would clip 16 bits to 255, which leaves an almost white image.
    return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")


def _from_floats(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 255):
        raise ImageError(
            f"The {name} has floating-point values from {low:g} to {high:g}, and only 0 to 1 or "
            "0 to 255 are read; scale them and save it with 8 or 16 bits."
        )
    scale = 255 if high <= 1 else 1
    return Image.fromarray((values * scale).round().astype(np.uint8)).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    # La is the one mode that PIL converts to LA only.
    image = image.convert("LA") if image.mode == "La" else image
    shown = Image.new("RGB", image.size, "white")
    rgba = image.convert("RGBA")
    shown.paste(rgba, mask=rgba)
    return shown
