"""Thresholds without ground truth: each reference image matched with a bank without it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from ...worker.tasks.networks import SegmenterLike
from ..runtime.progress_bar import Progress
from ..segmentation.proposal_stores import Cache
from ..segmentation.report import SampleNote


@dataclass(frozen=True)
class EstimatedThreshold:
    """A class's threshold as its reference images suggest it.

    Attributes:
        value: predictions of at least this confidence are kept.
        recall: the expected share of the class's objects that are kept, 0 to 1.
        objects: number of the class's reference objects that it was estimated on.
        pooled: whether other classes' objects were used too, for want of the class's own.
    """

    value: float
    recall: float
    objects: int
    pooled: bool


@dataclass
class EstimatedThresholds:
    """What ``estimate_thresholds`` found; the thresholds are kept with the bank.

    Attributes:
        bank: the bank's name.
        thresholds: by class, sorted by name.
        images: number of reference images that it was estimated on.
        without: why the other classes have none.
        failed: reference images that could not be used, each with the reason.
    """

    bank: str
    thresholds: dict[str, EstimatedThreshold] = field(default_factory=dict)
    images: int = 0
    without: dict[str, str] = field(default_factory=dict)
    failed: list[SampleNote] = field(default_factory=list)


def estimate_thresholds(
    samples: Any,
    bank: str,
    *,
    save: bool = True,
    device: str | torch.device | None = None,
    progress: Progress = None,
    segmenter: SegmenterLike | None = None,
    cache: Cache = True,
) -> EstimatedThresholds:
    """Thresholds for a bank without ground truth, from its own reference images.

    Args:
        samples: the dataset, or a view of it.
        bank: a bank saved with the dataset.
        save: keep them with the bank, marked as estimated, in place of the ones it has.
        device: where to run; the best there is if None.
        progress: FiftyOne's: True, False, a callback, or None for the configured default.
        segmenter: an engine ``Segmenter`` to use in place of the bank's recipe and ``device``.
        cache: as for ``segment``.

    Raises:
        DatasetError: there is no such bank, or no image of its references is there any more.
        BankError: the bank is damaged, or another encoder made it than the segmenter has.
    """
    raise NotImplementedError
