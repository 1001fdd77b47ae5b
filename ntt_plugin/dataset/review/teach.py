"""What a review says taught to a bank: rejected labels as negatives, approved as references."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from ..banks.add_references import AddedReferences
from ..networks import SegmenterLike
from ..runtime.progress_bar import Progress

MOST_TAUGHT = 10
"""How many labels of a class are taught at once, so that a bank does not drown in them."""


def teach_review(
    samples: Any,
    label_field: str,
    bank: str,
    kind: str,
    most: int = MOST_TAUGHT,
    *,
    classes: str | Iterable[str] | None = None,
    group_slices: str | Iterable[str] | None = None,
    device: str | torch.device | None = None,
    progress: Progress = None,
    segmenter: SegmenterLike | None = None,
) -> AddedReferences:
    """Teach a bank the labels that a review rejected or approved.

    Of each class at most ``most`` are taken, as different from each other as they come: of
    different images first, the most confident mistakes first.

    Args:
        samples: a dataset or view of images.
        label_field: the reviewed field.
        bank: a bank saved with the dataset.
        kind: ``negatives`` (the rejected labels) or ``references`` (the approved ones).
        most: the most labels of a class.
        classes: only labels of these classes; all if None.
        group_slices, device, progress, segmenter: as for ``add_references``.

    Raises:
        DatasetError, ReferenceRefusedError, BankError: as ``add_references``; or nothing was
            rejected or approved.
    """
    raise NotImplementedError
