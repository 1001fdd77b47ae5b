"""Pictures of what a trial found: an image with its masks above a confidence, by class."""

from __future__ import annotations

import colorsys
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...engine.images.load import read_image
from ...engine.typing import Array
from ...errors import ImageError
from ..review.try_bank import TriedImage
from .thumbnails import kept_picture

_STRENGTH = 0.55
# Turned by the golden angle, neighbours in a list of classes differ most.
_TURN = 0.382


def found_above(tried: TriedImage, confidence: float) -> Counter[str]:
    """Number of objects of each class of at least a confidence."""
    found = tried.instances
    return Counter(
        label
        for label, score in zip(found.labels, found.scores, strict=True)
        if score >= confidence
    )


def class_colour(classes: Sequence[str], label: str) -> tuple[int, int, int]:
    """The colour of a class among others, RGB from 0 to 255."""
    place = list(classes).index(label) if label in classes else len(classes)
    red, green, blue = colorsys.hsv_to_rgb((place * _TURN) % 1.0, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def trial_picture(
    tried: TriedImage, classes: Sequence[str], confidence: float, side: int
) -> Path | None:
    """An image with its masks drawn over it, as a file in the cache folder.

    Args:
        tried: what was found in it.
        classes: the bank's classes, which decide on the colours.
        confidence: only what is at least as sure.
        side: the picture's longer side, pixels.

    Returns:
        A JPEG file; None if the image cannot be read.
    """
    shown = [index for index, score in enumerate(tried.instances.scores) if score >= confidence]
    made_of = (tried.filepath, tried.instances.scores.tobytes(), tuple(classes), shown, side)
    key = hashlib.sha256(repr(made_of).encode()).hexdigest()
    return kept_picture(key, lambda: _draw(tried, classes, shown, side))


def _draw(
    tried: TriedImage, classes: Sequence[str], shown: Sequence[int], side: int
) -> Image.Image | None:
    try:
        image = read_image(Path(tried.filepath))
    except ImageError:
        return None
    image.thumbnail((side, side))
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32).copy()
    # The surest one last: it lies above the others.
    for index in sorted(shown, key=lambda index: tried.instances.scores[index]):
        mask = _small(np.asarray(tried.instances.full_mask(index)), image.size)
        colour = np.array(class_colour(classes, tried.instances.labels[index]), np.float32)
        pixels[mask] = (1 - _STRENGTH) * pixels[mask] + _STRENGTH * colour
    return Image.fromarray(pixels.round().astype(np.uint8))


def _small(mask: Array, size: tuple[int, int]) -> Array:
    """A mask at a picture's size (width, height)."""
    drawn = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(drawn) >= 128
