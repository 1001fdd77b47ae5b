"""Tiles: the parts of a large image that are looked at by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import numpy as np


class Tile(NamedTuple):
    """A rectangle of an image, in pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def cuts(self, box: Sequence[float], image_size: tuple[int, int]) -> bool:
        """Whether a box reaches an edge of the tile that is no edge of the image (H, W).

        ``box`` is x1 y1 x2 y2 in pixels of the image, x2 and y2 exclusive, of a mask of the tile.
        """
        x1, y1, x2, y2 = box
        height, width = image_size
        return (
            (x1 <= self.left and self.left > 0)
            or (y1 <= self.top and self.top > 0)
            or (x2 >= self.right and self.right < width)
            or (y2 >= self.bottom and self.bottom < height)
        )


def whole_image(image_size: tuple[int, int]) -> Tile:
    """The image (H, W) as one tile."""
    height, width = image_size
    return Tile(0, 0, width, height)


def tile_grid(image_size: tuple[int, int], side: int | None, overlap: float) -> list[Tile]:
    """Overlapping tiles that cover an image, row by row.

    Tiles are spread evenly. Along an axis that is shorter than a tile, a tile is as long as the
    image.

    Args:
        image_size: (H, W).
        side: of a tile, pixels; None for no tiles.
        overlap: of neighbours, relative to the side, at least; in [0, 1).

    Returns:
        The tiles; none if the image is no larger than one.
    """
    height, width = image_size
    if side is None or max(height, width) <= side:
        return []
    return [
        Tile(left, top, min(left + side, width), min(top + side, height))
        for top in _starts(height, side, overlap)
        for left in _starts(width, side, overlap)
    ]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Where the tiles begin along an axis."""
    if length <= side:
        return [0]
    count = 1 + ceil((length - side) / max(1, int(side * (1 - overlap))))
    return [int(start) for start in np.linspace(0, length - side, count)]
