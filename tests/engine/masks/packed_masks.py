"""Masks and proposals made up for the tests of what is kept of them."""

import numpy as np
import torch

from ntt_plugin.engine.masks.packed import PackedMask, pack_mask
from ntt_plugin.engine.proposals.proposals import Proposals


def blob(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A mask, bool (height, width), of an ellipse with a ragged rim and holes."""
    y, x = np.mgrid[:height, :width]
    cy, cx = rng.uniform(0, height), rng.uniform(0, width)
    ry, rx = rng.uniform(2, height / 2), rng.uniform(2, width / 2)
    distance = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2
    return distance + rng.uniform(-0.1, 0.1, distance.shape) < 1


def some_proposals(
    seed: int = 0, count: int = 6, channels: int = 5, image_size: tuple[int, int] = (90, 140)
) -> Proposals:
    """Proposals of one image, the second without a pixel in it."""
    rng = np.random.default_rng(seed)
    masks: list[PackedMask | None] = [pack_mask(blob(rng, *image_size)) for _ in range(count)]
    if count > 1:
        masks[1] = None
    generator = torch.Generator().manual_seed(seed)
    return Proposals(
        ious=torch.rand(count, generator=generator),
        boxes=torch.randint(0, 256, (count, 4), generator=generator).float(),
        features=torch.nn.functional.normalize(
            torch.randn(count, channels, generator=generator), dim=1
        ),
        masks=masks,
        image_size=image_size,
    )


def same_mask(one: PackedMask | None, other: PackedMask | None) -> bool:
    """Whether two masks are equal in every bit."""
    if one is None or other is None:
        return one is other
    return (
        one.box == other.box
        and one.area == other.area
        and one.words.dtype == other.words.dtype
        and np.array_equal(one.words, other.words)
    )


def same_proposals(one: Proposals, other: Proposals) -> bool:
    """Whether two images' proposals are equal in every bit."""
    return (
        one.image_size == other.image_size
        and torch.equal(one.ious, other.ious)
        and torch.equal(one.boxes, other.boxes)
        and torch.equal(one.features, other.features)
        and len(one.masks) == len(other.masks)
        and all(map(same_mask, one.masks, other.masks))
    )
