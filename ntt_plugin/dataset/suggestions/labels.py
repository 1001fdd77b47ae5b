"""Suggestions as labels: written with what ``segment`` gives a label, and with their reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...engine.active_learning import Suggestion
from ...engine.bank.memory_bank import MemoryBank
from ...engine.masks.containers import UnpackedMasks
from ...engine.masks.packed import PackedMask
from ...engine.matching.instances import Instances
from ...engine.proposals.proposals import Proposals
from ...engine.proposals.store import ProposalStore
from ...errors import DatasetError
from ..labels.convert import Origin, to_labels
from ..segmentation.cached_proposals import KeptProposals
from ..segmentation.pipeline import ReadSample
from ..segmentation.runner import Labelled, Work
from ..segmenters import SegmenterLike


def suggestion_work(
    chosen: Mapping[str, Sequence[Suggestion]],
    bank: MemoryBank,
    segmenter: SegmenterLike,
    store: ProposalStore | None,
    origin: Origin,
) -> Work:
    """The work that gives samples their suggestions as labels.

    Args:
        chosen: the suggestions by the ids of their samples.
        bank: what they are to teach.
        segmenter: computes the proposals that are not kept.
        store: where proposals are kept; None for nowhere.
        origin: what is kept with each label.
    """
    kept = KeptProposals(segmenter, store)
    sources = {
        reference.id: reference.provenance
        for label in bank.classes
        for reference in bank.references(label)
    }

    def label(read: ReadSample) -> Labelled:
        suggestions = chosen[read.sample_id]
        instances = kept.use(read, lambda proposals: _instances(proposals, suggestions, bank))
        labels = to_labels(instances, origin, sources)
        for made, suggestion in zip(labels, suggestions, strict=True):
            made.attributes |= {
                "suggested": suggestion.label,
                "reason": suggestion.reason,
                "gain": suggestion.gain,
            }
        return Labelled(labels, from_cache=read.image is None)

    return Work(label, kept.recall, kept.finish)


def _instances(
    proposals: Proposals, suggestions: Sequence[Suggestion], bank: MemoryBank
) -> Instances:
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
