"""What the sizes of images say: whether tiles may pay, what they cost, and what is oblong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...engine.images.load import shown_size
from ...engine.proposals.tiles import tile_grid
from ...engine.recipe import Recipe
from ...errors import NttError

# Images whose headers are read where the dataset does not keep their sizes.
_MOST_READ = 20
_SEED = 51
# Sides of the segmenters' square inputs, pixels; SAM 2 and 2.1 have one in all sizes.
_SIDES = {"tiny": 256}
_SIDE = 1024
# Images are oblong from here on: longer side by shorter side. Photographs have 1.33 and more.
_OBLONG = 1.2


@dataclass(frozen=True)
class TileCost:
    """What tiles cost in some images.

    Attributes:
        looks: of an image, the whole image included; the mean over the images looked at.
        large: share of these images whose longer side is more than twice the segmenter's input.
        looked_at: number of images whose size was looked up.
    """

    looks: float
    large: float
    looked_at: int


def segmenter_side(recipe: Recipe) -> int:
    """Side of the input of a recipe's segmenter, pixels; no network is loaded."""
    return _SIDES.get(recipe.segmenter, _SIDE)


def tile_cost(images: Any, recipe: Recipe, tile: int) -> TileCost:
    """What tiles of a side cost in a random few of some images.

    Args:
        images: a dataset or view of images, not grouped.
        recipe: tells the tiles' overlap and the segmenter.
        tile: side of the tiles, pixels; 0 for none.
    """
    sizes = _some_sizes(images)
    if not sizes:
        return TileCost(1.0, 0.0, 0)
    looks = [1 + len(tile_grid(size, tile or None, recipe.tile_overlap)) for size in sizes]
    large = sum(max(size) > 2 * segmenter_side(recipe) for size in sizes)
    return TileCost(sum(looks) / len(sizes), large / len(sizes), len(sizes))


def are_oblong(images: Any) -> bool:
    """Whether most of a random few of some images are clearly longer than wide, or wider."""
    oblong = [max(size) >= _OBLONG * min(size) for size in _some_sizes(images)]
    return 2 * sum(oblong) > len(oblong)


def _some_sizes(images: Any) -> list[tuple[int, int]]:
    """Sizes of a random few of some images, of those that can be read; few files are opened.

    Of an image that is to be turned upright the sides may be swapped.
    """
    sizes = []
    some = images.take(_MOST_READ, seed=_SEED)
    paths = ("filepath", "metadata.height", "metadata.width")
    for filepath, height, width in zip(*some.values(list(paths)), strict=True):
        try:
            sizes.append((height, width) if height and width else shown_size(filepath))
        except (NttError, TypeError):
            continue
    return sizes
