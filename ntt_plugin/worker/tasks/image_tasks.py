"""What a run does with one image: a function of what was read, to labels or to nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ...engine.bank.memory_bank import MemoryBank
from ...engine.masks.containers import UnpackedMasks
from ...engine.masks.packed import PackedMask
from ...engine.matching.match import Instances, match
from ...engine.proposals.proposals import Proposals
from ...engine.recipe import Recipe
from ...engine.references import Box, tight_box
from ...engine.typing import Array
from ...errors import StoreError
from ..handler import tell_alive
from ..labels.boxes import pixel_corners, relative_box
from ..labels.given_candidates import given_candidates
from ..labels.label_bytes import NewLabel, Origin, to_labels
from ..messages import SampleError
from .cached_proposals import CachedProposals
from .networks import SegmenterLike
from .reading import ReadImage

# Masks of an image's size, bytes at once; each further batch embeds its image again.
_MASK_BYTES = 2**30


@dataclass
class Made:
    """What a task made of an image.

    Attributes:
        labels: its labels; None if the task makes none.
        notes: what a person should know of it, a sentence each.
        left_out: candidates dropped by the limit ``max_instances``.
    """

    labels: list[NewLabel] | None = None
    notes: Sequence[str] = ()
    left_out: int = 0


Task = Callable[[ReadImage], Made]


def segmenting(name: str, bank: MemoryBank, recipe: Recipe, cached: CachedProposals) -> Task:
    """Find a bank's classes; ``name`` is the bank's."""
    labels_of = labels_from(name, bank, recipe)

    def task(read: ReadImage) -> Made:
        instances = cached.use(read, lambda proposals: match(proposals, bank, recipe))
        labels = labels_of(instances)
        given = given_candidates(read.item.content)
        if given is not None:
            _name_candidates(labels, instances, given.ids)
        return Made(labels, left_out=instances.left_out)

    return task


def _name_candidates(labels: Sequence[NewLabel], instances: Instances, ids: Sequence[str]) -> None:
    """Tell of each label which candidate it was made of; none of those of the point grid."""
    sources = [-1] * len(labels) if instances.sources is None else instances.sources.tolist()
    for label, source in zip(labels, sources, strict=True):
        label.attributes["candidate"] = ids[source] if source >= 0 else None


def proposing(cached: CachedProposals) -> Task:
    """Compute proposals and keep them.

    The task raises ``StoreError`` where they cannot be kept: hours of work that nobody will find
    again are worse than none.
    """

    def task(read: ReadImage) -> Made:
        cached.use(read, lambda proposals: None)
        require_stored(cached.not_stored)
        return Made()

    return task


def require_stored(not_stored: str | None) -> None:
    """Make sure that all proposals so far were kept; ``not_stored`` is why some were not.

    Raises:
        StoreError: the store did not take some; says why.
    """
    if not_stored is not None:
        raise StoreError(
            f"Proposals cannot be kept: {not_stored} Free some space, check that you may "
            "write there, or choose another folder with NTT_CACHE_DIR."
        )


def filling_boxes(segmenter: SegmenterLike) -> Task:
    """Cut the object out of each box of an item's content.

    A box is a mapping: ``id``, ``label``, ``bounding_box`` (x y w h in [0, 1]), ``confidence``,
    ``tags`` and ``note``, how a note on it begins.
    """

    def task(read: ReadImage) -> Made:
        assert read.image is not None
        size = read.image.height, read.image.width
        usable, boxes, notes = [], [], []
        for source in read.item.content:
            box = _inside(pixel_corners(source["bounding_box"], size), size)
            if box is None:
                covers = f"Its box {source['bounding_box']} covers nothing of the image."
                notes.append(source["note"] + covers)
            else:
                usable.append(source)
                boxes.append(box)
        labels = []
        masks = _masks(segmenter, read.image, boxes)
        for source, given, mask in zip(usable, boxes, masks, strict=True):
            if mask is None:
                notes.append(source["note"] + "The segmenter found nothing in its box.")
            else:
                labels.append(_box_label(source, given, *mask, size, segmenter.recipe.name))
        return Made(labels, notes)

    return task


def placing_suggestions(
    name: str, bank: MemoryBank, recipe: Recipe, cached: CachedProposals
) -> Task:
    """Make labels of an item's suggestions, mappings with the fields of ``Suggestion``."""
    labels_of = labels_from(name, bank, recipe)

    def task(read: ReadImage) -> Made:
        wanted: list[dict[str, Any]] = read.item.content
        labels = labels_of(cached.use(read, lambda found: _instances(found, wanted, bank)))
        for label, suggestion in zip(labels, wanted, strict=True):
            label.attributes |= {
                "suggested": suggestion["label"],
                "reason": suggestion["reason"],
                "gain": suggestion["gain"],
            }
        return Made(labels)

    return task


def labels_from(
    name: str, bank: MemoryBank, recipe: Recipe
) -> Callable[[Instances], list[NewLabel]]:
    """A function that makes labels of instances, each with its source in a bank."""
    origin = Origin(name, bank.version, recipe.name)
    sources = {
        reference.id: reference.provenance
        for label in bank.classes
        for reference in bank.references(label)
    }
    return lambda instances: to_labels(instances, origin, sources)


def _inside(box: Box, size: tuple[int, int]) -> Box | None:
    """A pixel box cut at the image's border; None if nothing is left."""
    height, width = size
    x1, y1, x2, y2 = box
    x1, y1, x2, y2 = max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2)
    return None if x1 >= x2 or y1 >= y2 else (x1, y1, x2, y2)


def _masks(
    segmenter: SegmenterLike, image: Image.Image, boxes: list[Box]
) -> list[tuple[Array, Box] | None]:
    """For each box its mask, cropped, with the mask's tight box; None for an empty mask."""
    at_once = max(1, _MASK_BYTES // (image.height * image.width))
    found: list[tuple[Array, Box] | None] = []
    for start in range(0, len(boxes), at_once):
        for mask in segmenter.masks_from_boxes(image, boxes[start : start + at_once]):
            if not mask.any():
                found.append(None)
                continue
            box = tight_box(mask)
            x1, y1, x2, y2 = map(int, box)
            # A copy: a window into it would hold the whole mask in memory.
            found.append((mask[y1:y2, x1:x2].copy(), box))
        tell_alive()
    return found


def _box_label(
    source: Mapping[str, Any],
    given: Box,
    mask: Array,
    box: Box,
    size: tuple[int, int],
    preset: str,
) -> NewLabel:
    return NewLabel(
        label=source["label"],
        bounding_box=relative_box(box, size),
        mask=mask,
        confidence=source["confidence"],
        tags=list(source["tags"]),
        attributes={"source": source["id"], "preset": preset, "box_iou": _box_iou(given, box)},
    )


def _box_iou(one: Box, other: Box) -> float:
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (one, other)]
    return float(width * height / (sum(areas) - width * height))


def _instances(
    proposals: Proposals, suggestions: Sequence[Mapping[str, Any]], bank: MemoryBank
) -> Instances:
    """Suggestions as instances of their image, for a bank that they should improve."""
    masks = [_mask_of(proposals, suggestion) for suggestion in suggestions]

    def column(name: str) -> Array:
        return np.array([entry[name] for entry in suggestions], dtype=np.float32)

    return Instances(
        masks=UnpackedMasks(masks),
        boxes=np.array([mask.box for mask in masks], dtype=np.int64),
        scores=column("score"),
        labels=[suggestion["label"] for suggestion in suggestions],
        margins=column("margin"),
        proposal_ious=column("proposal_iou"),
        references=[_nearest_reference(proposals, entry, bank) for entry in suggestions],
        image_size=proposals.image_size,
    )


def _mask_of(proposals: Proposals, suggestion: Mapping[str, Any]) -> PackedMask:
    index = suggestion["proposal"]
    if index < len(proposals) and proposals.boxes[index].tolist() == list(suggestion["box"]):
        mask = proposals.masks[index]
        if mask is not None:
            return mask
    raise SampleError("Its image was changed meanwhile; suggest anew.")


def _nearest_reference(
    proposals: Proposals, suggestion: Mapping[str, Any], bank: MemoryBank
) -> str:
    feature = proposals.features[suggestion["proposal"]][None].cpu()
    return bank.nearest_reference(suggestion["label"], feature)[0]
