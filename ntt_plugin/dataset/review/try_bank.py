"""A bank tried on a few images: what it finds, nothing written to the dataset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ...engine.bank.memory_bank import MemoryBank
from ...engine.matching.match import Instances
from ...engine.recipe import Recipe
from ..networks import SegmenterLike
from ..runtime.progress_bar import Progress
from ..segmentation.cached_proposals import Cache
from ..segmentation.report import SampleNote


@dataclass(frozen=True)
class TriedImage:
    """What a bank finds in one image.

    Attributes:
        sample: the sample's id.
        filepath: its image.
        instances: all that was found, unfiltered: ``labels``, ``scores``, ``boxes`` (pixels),
            ``masks`` (cropped to the boxes), ``full_mask(i)``.
    """

    sample: str
    filepath: str
    instances: Instances


@dataclass
class Trial:
    """What ``try_bank`` found.

    Attributes:
        bank: the bank's name.
        images: what was found, by image, in the order of the view.
        failed: images that could not be done, each with the reason.
        notes: what was done about unusual images.
    """

    bank: str
    images: list[TriedImage] = field(default_factory=list)
    failed: list[SampleNote] = field(default_factory=list)
    notes: list[SampleNote] = field(default_factory=list)


def try_bank(
    samples: Any,
    bank: MemoryBank | str | Path,
    count: int = 6,
    seed: int | None = None,
    *,
    exclude: Iterable[str] = (),
    device: str | torch.device | None = None,
    batch_size: int | None = None,
    progress: Progress = None,
    bank_dataset: Any = None,
    preset: str | Recipe | None = None,
    group_slices: str | Iterable[str] | None = None,
    segmenter: SegmenterLike | None = None,
    cache: Cache = True,
) -> Trial:
    """Segment a few images, and write nothing to the dataset.

    Their proposals are kept, so that a later ``segment`` of these images only matches.

    Args:
        samples: a dataset or view of images.
        bank: as for ``segment``.
        count: how many images, at random; all if the view has no more.
        seed: the same seed gives the same images; another one each time if None.
        exclude: ids of samples that were tried before.
        device, batch_size, progress, bank_dataset, preset, group_slices, segmenter, cache: as for
            ``segment``.

    Raises:
        DatasetError: no such bank, an empty one, or no image is left to try.
        BankError: as for ``segment``.
    """
    raise NotImplementedError
