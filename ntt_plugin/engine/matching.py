"""Proposals and a memory bank become instances (recipe, sections 4 and 5)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import BankError
from .config import Recipe
from .full_masks import PackedMask, upsample_masks
from .instances import Instances
from .memory import MemoryBank
from .merging import redundancy
from .nms import suppress
from .proposals import Proposals

Array = np.ndarray[Any, Any]


def match(proposals: Proposals, bank: MemoryBank, recipe: Recipe) -> Instances:
    """Label proposals by the bank's classes, and leave one of those that show the same thing.

    Recipe, section 4, with section 5 for classes that have negatives. Runs on the device of
    the proposals' logits what is large, and on the CPU what is small.

    Args:
        proposals: of one image; none is an ordinary case.
        bank: made by the encoder that made the proposals' features.
        recipe: thresholds and limits; its networks do not matter here.

    Returns:
        Instances by falling score, ``recipe.max_instances`` at most.

    Raises:
        BankError: the bank is empty or was made by another encoder.
    """
    _check(proposals, bank)
    if len(proposals) == 0:
        return Instances.empty(proposals.image_size)
    similarity = similarities(proposals.features, bank, recipe.negative_sigma).numpy()
    labels, scores, margins = best_class(similarity)
    ious = proposals.ious.detach().cpu().float().numpy()
    order = suppress(proposals.boxes.cpu().numpy(), ious, labels, recipe.nms_iou)
    order = order[: recipe.candidate_factor * recipe.max_instances]
    order = order[scores[order] > 0]

    chosen = torch.from_numpy(order).to(proposals.logits.device)
    upsampled = upsample_masks(
        proposals.logits[chosen], proposals.boxes[chosen], proposals.image_size
    )
    order = order[[mask is not None for mask in upsampled]]
    masks = [mask for mask in upsampled if mask is not None]
    del upsampled

    features = proposals.features.detach().cpu().float()
    covered = redundancy(masks, labels[order], features.numpy()[order])
    decay = (1 - covered.clip(max=1)) ** recipe.merge_exponent
    decayed = scores[order] * decay.astype(np.float32)
    best = np.argsort(-decayed, kind="stable")[: recipe.max_instances]
    # Only the masks that stay: unpacked, each takes eight times the memory.
    masks = [masks[index] for index in best]
    order = order[best]
    classes = bank.classes
    return Instances(
        masks=[mask.unpack() for mask in masks],
        boxes=_boxes(masks),
        scores=decayed[best],
        labels=[classes[index] for index in labels[order]],
        margins=margins[order],
        proposal_ious=ious[order],
        references=_nearest(bank, labels[order], features[order]),
        image_size=proposals.image_size,
    )


def similarities(features: Tensor, bank: MemoryBank, negative_sigma: float) -> Tensor:
    """Similarity of each feature to each class, held down by the class's negatives.

    Recipe, sections 4.1 and 5.

    Args:
        features: unit-length, float (n, C).
        bank: k classes.
        negative_sigma: how slowly negatives take a similarity down.

    Returns:
        Float32 (n, k) on the CPU, at least 0.
    """
    features = features.detach().cpu().float()
    similarity = (features @ bank.prototypes().T).clamp(min=0)
    for column, label in enumerate(bank.classes):
        negatives = bank.negatives(label)
        if len(negatives):
            against = (features @ F.normalize(negatives, dim=1).T).amax(dim=1).clamp(min=0)
            excess = (against - similarity[:, column]).clamp(min=0)
            similarity[:, column] *= torch.exp(-excess / negative_sigma)
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


def _check(proposals: Proposals, bank: MemoryBank) -> None:
    if not bank.classes:
        raise BankError("The memory bank holds no class; add references first.")
    if proposals.fingerprint is not None:
        bank.require_encoder(proposals.fingerprint)
    channels = proposals.features.shape[1]
    if len(proposals) and channels != bank.fingerprint.channels:
        raise BankError(
            f"The proposals' features have {channels} channels, the memory bank's "
            f"{bank.fingerprint.channels}; use the encoder {bank.fingerprint.name} for both."
        )


def _boxes(masks: list[PackedMask]) -> Array:
    return np.array([mask.box for mask in masks], dtype=np.int64).reshape(-1, 4)


def _nearest(bank: MemoryBank, labels: Array, features: Tensor) -> list[str]:
    """Id of the most similar reference of its class, for each feature (n, C)."""
    found = [""] * len(labels)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        ids = bank.nearest_reference(bank.classes[label], features[torch.from_numpy(rows)])
        for row, reference_id in zip(rows, ids, strict=True):
            found[row] = reference_id
    return found
