"""Images in: a file, an array or a PIL image becomes RGB pixels and tensors in [0, 1]."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..errors import ImageError
from .config import IMAGE_MEAN, IMAGE_STD

ImageLike: TypeAlias = Image.Image | np.ndarray[Any, Any] | str | Path


def read_image(image: ImageLike) -> Image.Image:
    """An image as an RGB PIL image, upright as its EXIF orientation says.

    Args:
        image: a path, a PIL image, or a uint8 array (H, W, 3) in RGB order or (H, W).

    Raises:
        ImageError: the file is missing or damaged, also that of a PIL image which is read only
            now, or the array is of another form.
    """
    if isinstance(image, (str, Path)):
        return _read_file(Path(image))
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
    mean = torch.tensor(IMAGE_MEAN, dtype=images.dtype, device=images.device).view(3, 1, 1)
    std = torch.tensor(IMAGE_STD, dtype=images.dtype, device=images.device).view(3, 1, 1)
    return (images - mean) / std


def _read_file(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings(), Image.open(path) as opened:
            # Large images are ordinary here; PIL still refuses true decompression bombs.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _as_rgb(opened)
    except FileNotFoundError as error:
        raise ImageError(f"There is no image file {path}; check the path.") from error
    except Exception as error:
        # PIL's decoders raise many types (OSError, SyntaxError, struct.error, ...) on damage.
        raise ImageError(
            f"Cannot read the image {path} ({error}); open it in an image viewer, and replace "
            "or leave out the file if it is damaged."
        ) from error


def _read_picture(image: Image.Image) -> Image.Image:
    try:
        return _as_rgb(image)
    except Exception as error:
        # PIL reads a file's pixels when they are first asked for, which is here.
        raise ImageError(
            f"Cannot read the PIL image ({error}); replace or leave out its file if it is damaged."
        ) from error


def _as_rgb(image: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        # PIL would clip 16 bits to 255, which leaves an almost white image.
        return Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8)).convert("RGB")
    return upright.convert("RGB")
