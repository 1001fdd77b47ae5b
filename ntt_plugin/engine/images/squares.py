"""Overlapping squares that cover an oblong image, whose patch features are joined to one map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

# More squares cost time, and of a longer image they would show little else than its background.
_MOST_SQUARES = 8


class SquareParts(NamedTuple):
    """Squares along the longer side of an image, each of ``grid`` patches there.

    Attributes:
        image_size: (H, W) of the image.
        grid: patches along a square's side (g in the recipe).
        patches: along the image's longer side, of all squares together.
        starts: each square's first patch.
    """

    image_size: tuple[int, int]
    grid: int
    patches: int
    starts: list[int]

    @property
    def boxes(self) -> list[tuple[float, float, float, float]]:
        """Left, top, right and bottom of each square in pixels of the image."""
        height, width = self.image_size
        # Multiplied first, so that the last end is the image's, to the last bit.
        places = [(start, start + self.grid) for start in self.starts]
        length = max(height, width)
        ends = [(a * length / self.patches, b * length / self.patches) for a, b in places]
        if width >= height:
            return [(first, 0, last, height) for first, last in ends]
        return [(0, first, width, last) for first, last in ends]

    def join(self, features: Sequence[Tensor]) -> Tensor:
        """The squares' features as those of the image; their mean where squares overlap.

        Args:
            features: of each square, float (C, g, g).

        Returns:
            Float (C, g, patches), or (C, patches, g) of an image higher than wide.
        """
        along = 2 if self.image_size[1] >= self.image_size[0] else 1
        shape = list(features[0].shape)
        shape[along] = self.patches
        # Both on the features' device: a copy to a GPU would wait for it.
        total, count = features[0].new_zeros(shape), features[0].new_zeros(self.patches)
        for start, part in zip(self.starts, features, strict=True):
            total.narrow(along, start, self.grid).add_(part)
            count[start : start + self.grid] += 1
        over = [1, 1, 1]
        over[along] = -1
        return total / count.view(over)


def square_parts(image_size: tuple[int, int], grid: int) -> SquareParts:
    """As few squares as cover an image, spread evenly; one if it is nearly square itself.

    A square is as large as the image's shorter side, but for what whole patches ask for. An image
    more than eight times longer than wide has eight parts, longer than wide themselves.

    Args:
        image_size: (H, W).
        grid: patches along a square's side.
    """
    short, long = sorted(image_size)
    patches = min(max(grid, round(grid * long / short)), _MOST_SQUARES * grid)
    count = -(-patches // grid)
    steps = max(1, count - 1)
    starts = [round(index * (patches - grid) / steps) for index in range(count)]
    return SquareParts(image_size, grid, patches, starts)
