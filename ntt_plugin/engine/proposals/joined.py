"""Proposals of one image from several looks at it: the whole image, its tiles, candidates."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ..bank.memory_bank import Fingerprint
from ..masks.containers import CompressedMasks
from .proposals import Proposals
from .tiles import Tile


def join_proposals(
    parts: Iterable[tuple[Proposals, Tile]], image_size: tuple[int, int], fingerprint: Fingerprint
) -> Proposals:
    """One set of proposals in the image's coordinates, from those of its tiles.

    A mask that touches an edge of its tile inside the image is dropped: it may be a part of
    something. Masks made of candidates stay. Masks are made at once, one tile after the other, and
    kept in bounded memory; those without a pixel are dropped. As low-resolution masks of different
    tiles cannot be compared, ``boxes`` are the masks' tight boxes in pixels, x2 and y2 exclusive.

    Args:
        parts: the proposals of each tile, in coordinates of the tile; consumed one by one.
        image_size: (H, W) of the image.
        fingerprint: the encoder that made all features.

    Returns:
        The proposals in the order in which they came, on the CPU.
    """
    masks, boxes = CompressedMasks(), []
    ious, features = [torch.zeros(0)], [torch.zeros(0, fingerprint.channels)]
    sources: list[torch.Tensor] = []
    for part, tile in parts:
        kept = []
        for index, found in enumerate(part.some_masks(range(len(part)))):
            mask = None if found is None else found.shifted(tile.left, tile.top)
            if mask is None or (part.sources is None and tile.cuts(mask.box, image_size)):
                continue
            masks.append(mask)
            boxes.append(mask.box)
            kept.append(index)
        ious.append(part.ious.detach().cpu().float()[kept])
        features.append(part.features.detach().cpu().float()[kept])
        of_grid = torch.full((len(part),), -1)
        sources.append((of_grid if part.sources is None else part.sources)[kept])
    joined = torch.cat([torch.zeros(0, dtype=torch.int64), *sources])
    return Proposals(
        ious=torch.cat(ious),
        features=torch.cat(features),
        boxes=torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        masks=masks,
        image_size=image_size,
        fingerprint=fingerprint,
        sources=joined if (joined >= 0).any() else None,
    )
