"""The search for labels that would teach a bank most, and the labels that show them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...engine.active_learning import Suggestion, SuggestionPool
from ...engine.bank.memory_bank import MemoryBank
from ...engine.masks.containers import UnpackedMasks
from ...engine.masks.packed import PackedMask
from ...engine.matching.instances import Instances
from ...engine.proposals.proposals import Proposals
from ...engine.proposals.store import ProposalStore
from ...engine.references import Box
from ...errors import DatasetError
from ..runtime.progress_bar import Progress
from ..segmentation.cached_proposals import CachedProposals
from ..segmentation.pipeline import ReadSample
from ..segmentation.report import SampleNote
from ..segmenters import SegmenterLike, halved_note


@dataclass(frozen=True)
class Search:
    """What a pass over images gave.

    Attributes:
        chosen: the suggestions by the ids of their samples.
        images: images looked at.
        failed: samples that could not be looked at, each with the reason.
        notes: what else a person should know, a sentence each.
    """

    chosen: dict[str, list[Suggestion]]
    images: int
    failed: list[SampleNote]
    notes: list[str]


def search(
    images: Any,
    bank: MemoryBank,
    segmenter: SegmenterLike,
    store: ProposalStore | None,
    count: int,
    progress: Progress = None,
) -> Search:
    """Search images for suggestions, in memory independent of their number.

    Args:
        images: a dataset or view of images, not grouped.
        bank: the bank to improve.
        segmenter: computes the proposals that are not cached.
        store: where proposals are cached; None for nowhere.
        count: the most to suggest.
        progress: FiftyOne's.
    """
    cached, at_once = CachedProposals(segmenter, store), segmenter.point_batch
    pool, taught = SuggestionPool(bank, segmenter.recipe), _taught_boxes(bank)
    sample_ids = images.values("id")
    numbers = {sample_id: number for number, sample_id in enumerate(sample_ids)}
    looked_at: list[str] = []
    noted: dict[str, str] = {}

    def look_at(read: ReadSample) -> None:
        if read.notes:
            noted[read.sample.filepath] = read.notes[0]
        number, boxes = numbers[read.sample_id], taught.get(read.sample_id, ())
        cached.use(read, lambda proposals: pool.add(number, proposals, boxes))
        looked_at.append(read.sample_id)

    try:
        failed, _ = cached.each_image(images, look_at, progress)
    finally:
        notes = cached.finish()
    notes += halved_note(segmenter, at_once)
    if noted:
        path, note = next(iter(noted.items()))
        notes.append(f"{len(noted)} images to note, the first {path}: {note}")
    chosen: dict[str, list[Suggestion]] = {}
    for suggestion in pool.choose(count):
        chosen.setdefault(sample_ids[suggestion.image], []).append(suggestion)
    return Search(chosen, len(looked_at), failed, notes)


def _taught_boxes(bank: MemoryBank) -> Mapping[str, list[Box]]:
    """Boxes of the labels that a bank learnt from, in pixels, by id of their sample."""
    boxes = defaultdict(list)
    for label in bank.classes:
        for stored in (*bank.references(label), *bank.negative_references(label)):
            source = stored.provenance
            if source.sample is not None and source.box is not None:
                boxes[source.sample].append(source.box)
    return boxes


def instances_of(
    proposals: Proposals, suggestions: Sequence[Suggestion], bank: MemoryBank
) -> Instances:
    """Suggestions as instances of their image, for a bank that they should improve."""
    masks = [_mask_of(proposals, suggestion) for suggestion in suggestions]

    def column(name: str) -> np.ndarray[Any, Any]:
        return np.array([getattr(entry, name) for entry in suggestions], dtype=np.float32)

    return Instances(
        masks=UnpackedMasks(masks),
        boxes=np.array([mask.box for mask in masks], dtype=np.int64),
        scores=column("score"),
        labels=[suggestion.label for suggestion in suggestions],
        margins=column("margin"),
        proposal_ious=column("proposal_iou"),
        references=[_nearest_reference(proposals, entry, bank) for entry in suggestions],
        image_size=proposals.image_size,
    )


def _mask_of(proposals: Proposals, suggestion: Suggestion) -> PackedMask:
    index = suggestion.proposal
    if index < len(proposals) and tuple(proposals.boxes[index].tolist()) == suggestion.box:
        mask = proposals.masks[index]
        if mask is not None:
            return mask
    raise DatasetError("Its image was changed meanwhile; suggest anew.")


def _nearest_reference(proposals: Proposals, suggestion: Suggestion, bank: MemoryBank) -> str:
    feature = proposals.features[suggestion.proposal][None].cpu()
    return bank.nearest_reference(suggestion.label, feature)[0]
