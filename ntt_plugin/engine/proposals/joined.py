"""Proposals of one image from several looks at it: the whole image, its tiles, candidates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from ..bank.memory_bank import Fingerprint
from ..masks.containers import ChosenMasks, CompressedMasks
from ..masks.packed import PackedMask
from .near_duplicates import distinct_packed
from .proposals import Proposals
from .tiles import Tile


def join_proposals(
    parts: Iterable[tuple[Proposals, Tile]],
    image_size: tuple[int, int],
    fingerprint: Fingerprint,
    duplicate_iou: float | None = None,
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
        duplicate_iou: as the recipe's, of the masks at the image's own size, whatever tile they
            are of. Masks made of candidates stay, and no other goes for them.

    Returns:
        The proposals in the order in which they came, on the CPU.
    """
    masks, boxes = CompressedMasks(), []
    ious, features = [torch.zeros(0)], [torch.zeros(0, fingerprint.channels)]
    sources: list[torch.Tensor] = []
    stability: list[torch.Tensor | None] = []
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
        measured = part.stability
        stability.append(None if measured is None else measured.detach().cpu().float()[kept])
        of_grid = torch.full((len(part),), -1)
        sources.append((of_grid if part.sources is None else part.sources)[kept])
    joined = torch.cat([torch.zeros(0, dtype=torch.int64), *sources])
    every = Proposals(
        ious=torch.cat(ious),
        features=torch.cat(features),
        boxes=torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        masks=masks,
        image_size=image_size,
        fingerprint=fingerprint,
        sources=joined if (joined >= 0).any() else None,
        stability=_joined_stability(stability),
    )
    return every if duplicate_iou is None else _without_duplicates(every, masks, duplicate_iou)


def _joined_stability(parts: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    """None unless it was measured in each part."""
    measured = [part for part in parts if part is not None]
    return torch.cat(measured) if measured and len(measured) == len(parts) else None


def _without_duplicates(
    proposals: Proposals, masks: Sequence[PackedMask], threshold: float
) -> Proposals:
    """The proposals, of ``masks``, without near duplicates among those of the point grid."""
    sources = proposals.sources
    of_grid = np.arange(len(masks)) if sources is None else np.flatnonzero(sources.numpy() < 0)
    kept = distinct_packed(ChosenMasks(masks, of_grid.tolist()), proposals.ious[of_grid], threshold)
    stays = np.ones(len(masks), dtype=bool)
    stays[of_grid] = False
    stays[of_grid[kept]] = True
    return replace(
        proposals,
        ious=proposals.ious[stays],
        features=proposals.features[stays],
        boxes=proposals.boxes[stays],
        masks=ChosenMasks(masks, np.flatnonzero(stays).tolist()),
        sources=None if sources is None else sources[stays],
        stability=None if proposals.stability is None else proposals.stability[stays],
    )
