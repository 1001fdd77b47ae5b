"""Match proposals against a memory bank to get instances (recipe, sections 4 to 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...errors import BankError, RecipeError
from ..bank.memory_bank import MemoryBank
from ..device.batching import SMALLER_IMAGE, reraise_oom
from ..device.device import float_array, to_array
from ..device.threads import require_own_process, threads_by_load
from ..masks.containers import CompressedMasks, UnpackedMasks
from ..masks.packed import PackedMask
from ..proposals.mask_upsampling import UpsampledMasks
from ..proposals.proposals import Proposals
from ..recipe import Recipe
from ..typing import Array
from .nms import suppress
from .soft_merging import diffused_redundancy, redundancy


@dataclass(frozen=True, eq=False)
class Instances:
    """Labelled masks of one image, in descending order of score.

    Attributes:
        masks: one bool array (h, w) per instance, cropped to its box; may be decoded on each
            access.
        boxes: tight boxes x1 y1 x2 y2 in pixels, x2 and y2 exclusive, int64 (n, 4).
        scores: float32 (n,), in [0, 1].
        labels: n class labels.
        margins: similarity minus that of the second best class, float32 (n,); with a single
            class the similarity.
        proposal_ious: IoU predicted by the segmenter, float32 (n,).
        references: id of the most similar reference of the instance's class, n texts.
        image_size: (H, W) of the image.
        left_out: number of candidates dropped by the limit ``max_instances``.
        sources: index of the given candidate that each was made of, -1 for the point grid, int64
            (n,); None if no candidates were given.

    Example:
        >>> from ntt_plugin.engine import Instances
        >>> score, mask = np.float32([0.9]), np.ones((1, 2), bool)
        >>> boxes = np.array([[1, 0, 3, 1]])
        >>> found = Instances([mask], boxes, score, ["cat"], score, score, ["an id"], (2, 4))
        >>> found.full_mask(0).astype(int)
        array([[0, 1, 1, 0],
               [0, 0, 0, 0]])
    """

    masks: Sequence[Array]
    boxes: Array
    scores: Array
    labels: list[str]
    margins: Array
    proposal_ious: Array
    references: list[str]
    image_size: tuple[int, int]
    left_out: int = 0
    sources: Array | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def empty(cls, image_size: tuple[int, int]) -> Instances:
        """No instance in an image of (H, W)."""
        none = np.zeros(0, dtype=np.float32)
        boxes = np.zeros((0, 4), dtype=np.int64)
        return cls([], boxes, none, [], none, none, [], image_size)

    def full_mask(self, index: int) -> Array:
        """The mask of one instance at the image's size, bool (H, W)."""
        full = np.zeros(self.image_size, dtype=bool)
        x1, y1, x2, y2 = self.boxes[index]
        full[y1:y2, x1:x2] = self.masks[index]
        return full


_REDUNDANCIES: dict[str, Callable[[Sequence[PackedMask], Array, Array], Array]] = {
    "decay": redundancy,
    "diffusion": lambda masks, _, labels: diffused_redundancy(masks, labels),
}


@reraise_oom("match the proposals of an image", SMALLER_IMAGE)
def match(proposals: Proposals, bank: MemoryBank, recipe: Recipe) -> Instances:
    """Classify proposals and suppress duplicates.

    Recipe, section 4; section 5 for classes with negatives; section 6 instead of 4.4 if
    ``recipe.rescoring`` is ``diffusion``. Masks are upsampled on their own device, everything
    else runs on the CPU. Cached proposals give the same result as fresh ones, bit for bit.

    Args:
        proposals: of one image; may be empty.
        bank: must come from the encoder that computed the proposals' features.
        recipe: thresholds and limits; its networks are ignored.

    Returns:
        At most ``recipe.max_instances`` instances, in descending order of score.

    Raises:
        BankError: the bank is empty or comes from another encoder.
        RecipeError: this process was forked after torch computed in its parent, or the proposals
            lack what the recipe asks for.

    Example:
        >>> import torch
        >>> from ntt_plugin.engine import Fingerprint, MemoryBank, Proposals, Recipe, match
        >>> bank = MemoryBank(Fingerprint("an encoder", "digest", size=224, channels=2))
        >>> ids = bank.add("cat", torch.tensor([1.0, 0.0]))
        >>> ids = bank.add("dog", torch.tensor([0.0, 1.0]))
        >>> logits = torch.full((1, 8, 8), -1.0)
        >>> logits[0, 2:5, 2:5] = 1.0
        >>> features = torch.tensor([0.6, 0.8]).view(2, 1, 1).expand(2, 4, 4)
        >>> proposals = Proposals.from_logits(logits, torch.tensor([0.9]), features, (16, 16))
        >>> instances = match(proposals, bank, Recipe())
        >>> instances.labels, f"{instances.scores[0]:.2f}"
        (['dog'], '0.80')
    """
    require_own_process(proposals.features.device)
    _check(proposals, bank)
    if len(proposals) == 0:
        return Instances.empty(proposals.image_size)
    # 4.1, 5: classify each proposal by its most similar prototype.
    features = compared_features(proposals)
    similarity = similarities(features, bank, recipe.negative_sigma)
    labels, scores, margins = best_class(similarity)
    ious = float_array(proposals.ious)
    scores = scores * mask_quality(proposals, recipe)
    # 4.2: NMS per label on the low-resolution boxes, then drop what has a score of 0.
    order = suppress(to_array(proposals.boxes), ious, labels, recipe.nms_iou)
    candidates = int((scores[order] > 0).sum())
    # The limit comes first: candidates of score 0 count for it.
    order = order[: recipe.candidate_factor * recipe.max_instances]
    order = order[scores[order] > 0]
    # 4.3, 4.4: upsample the masks, lower the scores of overlapping ones.
    with _threads(proposals):
        best = _merge(proposals, order, labels, scores, features, recipe)
    # Below the limit, candidates are missing only because their full-size mask is empty.
    left_out = candidates - len(best) if len(best) == recipe.max_instances else 0
    # 4.5: the best by score, with tight boxes of the full-size masks.
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
        sources=None if proposals.sources is None else proposals.sources.numpy()[index],
    )


def similarities(features: Array, bank: MemoryBank, negative_sigma: float) -> Array:
    """Cosine similarity of each feature to each class, reduced by the class's negatives.

    Recipe, sections 4.1 and 5. Uses numpy because torch starts all its threads even for such a
    small matrix product, which takes longer than the product itself.

    Args:
        features: unit-length, float32 (n, C).
        bank: k classes.
        negative_sigma: the larger, the less a negative reduces the similarity.

    Returns:
        Float32 (n, k), in [0, 1].
    """
    units = bank.unit_features
    # s_pos = max(0, cosine(feature, prototype)), section 4.1.
    similarity: Array = (features @ units.prototypes.numpy().T).clip(min=0)
    for column, negatives in units.negatives:
        # score = s_pos * exp(-max(0, s_neg - s_pos) / sigma), section 5.
        against = (features @ negatives.numpy().T).max(axis=1)
        # As s_pos >= 0, clipping the difference also clips s_neg at 0.
        excess = (against - similarity[:, column]).clip(min=0)
        similarity[:, column] *= np.exp(-excess / negative_sigma)
    return similarity


def mask_quality(proposals: Proposals, recipe: Recipe) -> Array:
    """Factor of each score: predicted IoU and stability, to the recipe's powers (section 4).

    Returns:
        Float32 (n,), in [0, 1]; ones where both exponents are 0.

    Raises:
        RecipeError: the proposals were made by a recipe that does not ask for the stability.
    """
    factor = np.ones(len(proposals), np.float32)
    if recipe.iou_exponent:
        ious = float_array(proposals.ious)
        factor *= ious.clip(0, 1) ** np.float32(recipe.iou_exponent)
    if recipe.stability_exponent:
        if proposals.stability is None:
            raise RecipeError(
                "The recipe's stability_exponent needs the stability of masks, which these "
                "proposals lack; make them by a recipe that has a stability_exponent above 0."
            )
        stability = float_array(proposals.stability)
        factor *= stability ** np.float32(recipe.stability_exponent)
    return factor


def best_class(similarity: Array) -> tuple[Array, Array, Array]:
    """Best class of each row; of equal ones the first (recipe, section 4.1).

    ``similarity`` is float (n, k), k at least 1.

    Returns:
        Class index (n,), its similarity (n,), and its margin over the second best class (n,);
        with a single class the margin is the similarity.
    """
    # numpy's argmax returns the first of equal values; torch's does not guarantee it.
    labels = similarity.argmax(axis=1)
    best = similarity[np.arange(len(similarity)), labels]
    if similarity.shape[1] == 1:
        return labels, best, best.copy()
    return labels, best, best - np.partition(similarity, -2, axis=1)[:, -2]


def compared_features(proposals: Proposals) -> Array:
    """Features of the proposals as a contiguous float32 array (n, C)."""
    # The last bit of a matrix product can depend on the memory layout.
    return float_array(proposals.features)


def _threads(proposals: Proposals) -> AbstractContextManager[None]:
    """Cached masks need no thread of torch, and so nobody to measure how many are free."""
    return threads_by_load() if isinstance(proposals.masks, UpsampledMasks) else nullcontext()


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


class _Found(NamedTuple):
    """A candidate instance; ``rank`` is its position by descending predicted IoU."""

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
    """Rescore the candidates ``order`` (by descending predicted IoU), return the best, best first.

    Full-size masks take most of the memory, so a few labels are processed at a time and at most
    ``recipe.max_instances`` masks are kept between them.
    """
    best: list[_Found] = []
    # Group by label; the stable sort keeps the order by predicted IoU within a label.
    by_label = np.argsort(labels[order], kind="stable")
    order, labels = order[by_label], labels[order[by_label]]
    scores, features = scores[order], features[order]
    # 4.3: one generator over all labels, so that a GPU upsamples in full batches.
    made = proposals.some_masks(order.tolist())
    for start, stop in _whole_labels(labels, recipe.max_instances):
        # Proposals without a pixel in the full-size image are dropped here.
        masks, places = CompressedMasks(), []
        for place, mask in zip(range(start, stop), made, strict=False):
            if mask is not None:
                masks.append(mask)
                places.append(place)
        # 4.4 or 6: score *= (1 - min(1, d)) ** merge_exponent.
        covered = _REDUNDANCIES[recipe.rescoring](masks, features[places], labels[places])
        decayed = scores[places] * (1 - np.minimum(covered, 1)) ** recipe.merge_exponent
        ranks = by_label[places]
        # 4.5: decompress only the masks that can still be among the best.
        for at in np.lexsort((ranks, -decayed))[: recipe.max_instances].tolist():
            index = int(order[places[at]])
            best.append(_Found(float(decayed[at]), int(ranks[at]), index, masks[at]))
        best.sort(key=lambda found: (-found.score, found.rank))
        del best[recipe.max_instances :]
    return best


def _whole_labels(labels: Array, count: int) -> Iterator[tuple[int, int]]:
    """Ranges (start, stop) of sorted labels: whole labels, at least ``count`` rows each."""
    start = 0
    for stop in [*(np.flatnonzero(labels[1:] != labels[:-1]) + 1).tolist(), len(labels)]:
        if stop - start >= count or stop == len(labels):
            yield start, stop
            start = stop


def _nearest(bank: MemoryBank, labels: Array, features: Array) -> list[str]:
    """Id of the most similar reference of its class for each feature, float (n, C)."""
    # Each instance names a reference of its own class only, so go class by class.
    found, classes = [""] * len(labels), bank.classes
    rows_of: dict[int, list[int]] = {}
    for row, label in enumerate(labels.tolist()):
        rows_of.setdefault(label, []).append(row)
    for label, rows in rows_of.items():
        ids = bank.unit_features.nearest_reference(classes[label], features[rows])
        for row, reference_id in zip(rows, ids, strict=True):
            found[row] = reference_id
    return found
