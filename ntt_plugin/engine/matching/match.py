"""Proposals and a memory bank become instances (recipe, sections 4 to 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import BankError
from ..bank.memory_bank import MemoryBank
from ..device.batching import SMALLER_IMAGE, reraise_oom
from ..device.forked import require_own_process
from ..device.threads import with_threads_by_load
from ..masks.containers import CompressedMasks, UnpackedMasks
from ..masks.packed import PackedMask
from ..proposals.proposals import Proposals
from ..recipe import Recipe
from .instances import Instances
from .nms import suppress
from .soft_merging import diffused_redundancy, redundancy

Array = np.ndarray[Any, Any]

_REDUNDANCIES: dict[str, Callable[[Sequence[PackedMask], Array, Array], Array]] = {
    "decay": redundancy,
    "diffusion": lambda masks, _, labels: diffused_redundancy(masks, labels),
}


@with_threads_by_load
@reraise_oom("match the proposals of an image", SMALLER_IMAGE)
def match(proposals: Proposals, bank: MemoryBank, recipe: Recipe) -> Instances:
    """Label proposals by the bank's classes, and leave one of those that show the same thing.

    Recipe, section 4, with section 5 for classes that have negatives, and section 6 in place of
    4.4 if the recipe says so. Runs on the device of
    the proposals' masks what is large, and on the CPU what is small. Proposals that were kept
    and read back give the same, bit for bit.

    Args:
        proposals: of one image; none is an ordinary case.
        bank: made by the encoder that made the proposals' features.
        recipe: thresholds and limits; its networks do not matter here.

    Returns:
        Instances by falling score, ``recipe.max_instances`` at most.

    Raises:
        BankError: the bank is empty or was made by another encoder.
        RecipeError: this process was forked from one that computed.
    """
    require_own_process(proposals.features.device)
    _check(proposals, bank)
    if len(proposals) == 0:
        return Instances.empty(proposals.image_size)
    features = compared_features(proposals)
    similarity = similarities(features, bank, recipe.negative_sigma)
    labels, scores, margins = best_class(similarity)
    ious = proposals.ious.detach().cpu().float().numpy()
    order = suppress(proposals.boxes.cpu().numpy(), ious, labels, recipe.nms_iou)
    candidates = int((scores[order] > 0).sum())
    order = order[: recipe.candidate_factor * recipe.max_instances]
    order = order[scores[order] > 0]

    best = _merge(proposals, order, labels, scores, features, recipe)
    # Where there is room for more, what is missing had no mask at the image's size.
    left_out = candidates - len(best) if len(best) == recipe.max_instances else 0
    index = np.array([found.proposal for found in best], dtype=np.int64)
    boxes = np.array([found.mask.box for found in best], dtype=np.int64).reshape(-1, 4)
    decayed = np.array([found.score for found in best], dtype=np.float32)
    classes = bank.classes
    return Instances(
        masks=UnpackedMasks([found.mask for found in best]),
        boxes=boxes,
        scores=decayed,
        labels=[classes[label] for label in labels[index]],
        margins=margins[index],
        proposal_ious=ious[index],
        references=_nearest(bank, labels[index], features[index]),
        image_size=proposals.image_size,
        left_out=left_out,
    )


def similarities(features: Array, bank: MemoryBank, negative_sigma: float) -> Array:
    """Similarity of each feature to each class, held down by the class's negatives.

    Recipe, sections 4.1 and 5. By numpy, whose product is one thread's where it is small: torch's
    wakes all threads for a few hundred thousand additions, and waits for them longer than it
    computes.

    Args:
        features: unit-length, float32 (n, C).
        bank: k classes.
        negative_sigma: how slowly negatives take a similarity down.

    Returns:
        Float32 (n, k), at least 0.
    """
    units = bank.unit_features
    similarity: Array = (features @ units.prototypes.numpy().T).clip(min=0)
    for column, negatives in units.negatives:
        against = (features @ negatives.numpy().T).max(axis=1)
        # The similarity is at least 0, so that this floors the negatives' at 0 as well.
        excess = (against - similarity[:, column]).clip(min=0)
        similarity[:, column] *= np.exp(-excess / negative_sigma)
    return similarity


def best_class(similarity: Array) -> tuple[Array, Array, Array]:
    """Best class of each row, the first among equals (recipe, section 4.1).

    Args:
        similarity: float (n, k), k at least 1.

    Returns:
        Class index (n,), its similarity (n,), and by how much that is above the next best's
        (n,); with one class that is the similarity itself.
    """
    # numpy's argmax promises the first of equal values; torch's does not.
    labels = similarity.argmax(axis=1)
    best = np.take_along_axis(similarity, labels[:, None], axis=1)[:, 0]
    if similarity.shape[1] == 1:
        return labels, best, best.copy()
    return labels, best, best - np.partition(similarity, -2, axis=1)[:, -2]


def compared_features(proposals: Proposals) -> Array:
    """The proposals' features as they are compared, float32 (n, C), whoever made them."""
    # Of one layout: matrix products may differ by it in the last bit.
    return np.asarray(proposals.features.detach().cpu().float().contiguous().numpy())


def _check(proposals: Proposals, bank: MemoryBank) -> None:
    bank.require_classes()
    if proposals.fingerprint is not None:
        bank.require_encoder(proposals.fingerprint)
    channels = proposals.features.shape[1]
    if len(proposals) and channels != bank.fingerprint.channels:
        raise BankError(
            f"The proposals' features have {channels} channels, the memory bank's "
            f"{bank.fingerprint.channels}; use the encoder {bank.fingerprint.name} for both."
        )


@dataclass(frozen=True, eq=False)
class _Found:
    """A proposal that may become an instance; ``rank`` is its place by predicted IoU."""

    score: float
    rank: int
    proposal: int
    mask: PackedMask


def _merge(
    proposals: Proposals,
    order: Array,
    labels: Array,
    scores: Array,
    features: Array,
    recipe: Recipe,
) -> list[_Found]:
    """Candidates, by falling predicted IoU, with decayed scores; the best ones, best first.

    A few labels at a time, and no more kept than can be instances in the end: full-size masks
    are what takes the memory.
    """
    best: list[_Found] = []
    by_label = np.argsort(labels[order], kind="stable")
    order, labels = order[by_label], labels[order[by_label]]
    scores, features = scores[order], features[order]
    # One after the other over all labels, so that a GPU makes them in full batches.
    made = proposals.some_masks(order.tolist())
    for start, stop in _whole_labels(labels, recipe.max_instances):
        masks, places = CompressedMasks(), []
        for place, mask in zip(range(start, stop), made, strict=False):
            if mask is not None:
                masks.append(mask)
                places.append(place)
        covered = _REDUNDANCIES[recipe.rescoring](masks, features[places], labels[places])
        decayed = scores[places] * (1 - covered.clip(max=1)) ** recipe.merge_exponent
        ranks = by_label[places]
        # Only of those that may be instances is the mask taken from the shelf.
        for at in np.lexsort((ranks, -decayed))[: recipe.max_instances].tolist():
            index = int(order[places[at]])
            best.append(_Found(float(decayed[at]), int(ranks[at]), index, masks[at]))
        best.sort(key=lambda found: (-found.score, found.rank))
        del best[recipe.max_instances :]
    return best


def _whole_labels(labels: Array, count: int) -> Iterator[tuple[int, int]]:
    """Where some labels start and stop among labels in order, ``count`` rows or more at a time."""
    start = 0
    for stop in [*(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]:
        if stop - start >= count or stop == len(labels):
            yield start, stop
            start = stop


def _nearest(bank: MemoryBank, labels: Array, features: Array) -> list[str]:
    """Id of the most similar reference of its class, for each feature (n, C)."""
    found, classes = [""] * len(labels), bank.classes
    for label in set(labels.tolist()):
        rows = np.flatnonzero(labels == label)
        ids = bank.unit_features.nearest_reference(classes[label], features[rows])
        for row, reference_id in zip(rows.tolist(), ids, strict=True):
            found[row] = reference_id
    return found
