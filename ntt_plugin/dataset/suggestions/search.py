"""The search for labels that would teach a bank most, and the labels that show them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
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
from ...errors import DatasetError, NoFileHandlesError
from ..labels.convert import Origin, to_labels
from ..runtime.progress_bar import Progress, progress_bar
from ..samples.checks import dataset_of
from ..segmentation.cached_proposals import KeptProposals
from ..segmentation.pipeline import ReadingAhead, ReadSample
from ..segmentation.propose import fetch_paths
from ..segmentation.report import SampleNote
from ..segmentation.runner import Labelled, Work
from ..segmenters import SegmenterLike


@dataclass
class Search:
    """What a pass over images gave.

    Attributes:
        chosen: the suggestions by the ids of their samples.
        images: images looked at.
        failed: samples that could not be looked at, each with the reason.
        notes: what else a person should know, a sentence each.
        noted: by the path of an unusual image, how it was read.
    """

    chosen: dict[str, list[Suggestion]] = field(default_factory=dict)
    images: int = 0
    failed: list[SampleNote] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    noted: dict[str, str] = field(default_factory=dict)


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
        segmenter: computes the proposals that are not kept.
        store: where proposals are kept; None for nowhere.
        count: the most to suggest.
        progress: FiftyOne's.
    """
    found, kept, at_once = Search(), KeptProposals(segmenter, store), segmenter.point_batch
    pool, taught = SuggestionPool(bank, segmenter.recipe), _taught_boxes(bank)
    dataset, sample_ids = dataset_of(images), images.values("id")
    try:
        with (
            progress_bar(len(sample_ids), progress) as bar,
            ReadingAhead(partial(fetch_paths, dataset), sample_ids, recall=kept.recall) as ahead,
        ):
            for number, read in enumerate(ahead):
                # Without either, it was deleted meanwhile.
                if read.sample is not None or read.error is not None:
                    _look_at(read, number, kept, pool, taught, found)
                bar.update()
    finally:
        found.notes += kept.finish()
    if segmenter.point_batch < at_once:
        found.notes.append(f"memory ran out: the point batch was halved to {segmenter.point_batch}")
    if found.noted:
        path, note = next(iter(found.noted.items()))
        found.notes.append(f"{len(found.noted)} images to note, the first {path}: {note}")
    for suggestion in pool.choose(count):
        found.chosen.setdefault(sample_ids[suggestion.image], []).append(suggestion)
    return found


def _look_at(
    read: ReadSample,
    number: int,
    kept: KeptProposals,
    pool: SuggestionPool,
    taught: Mapping[str, Sequence[Box]],
    found: Search,
) -> None:
    try:
        if read.error is not None:
            raise read.error
        if read.notes:
            found.noted[read.sample.filepath] = read.notes[0]
        boxes = taught.get(read.sample_id, ())
        kept.use(read, lambda proposals: pool.add(number, proposals, boxes))
    except NoFileHandlesError:
        raise
    except Exception as error:
        filepath = read.sample.filepath if read.sample is not None else ""
        reason = str(error) or type(error).__name__
        found.failed.append(SampleNote(read.sample_id, filepath, reason))
    else:
        found.images += 1


def _taught_boxes(bank: MemoryBank) -> Mapping[str, list[Box]]:
    """Boxes of the labels that a bank learnt from, in pixels, by id of their sample."""
    boxes = defaultdict(list)
    for *_, stored in bank.entries():
        source = stored.provenance
        if source.sample is not None and source.box is not None:
            boxes[source.sample].append(source.box)
    return boxes


def suggestion_work(
    chosen: Mapping[str, Sequence[Suggestion]],
    bank: MemoryBank,
    segmenter: SegmenterLike,
    store: ProposalStore | None,
    origin: Origin,
) -> Work:
    """The work that writes suggestions to samples as labels.

    Args:
        chosen: the suggestions by the ids of their samples.
        bank: the bank that they should improve.
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
