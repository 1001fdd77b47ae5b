"""The segmenter that tasks use, and what to say of its memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from ...engine.bank.memory_bank import Fingerprint
from ...engine.images.load import ImageLike
from ...engine.proposals.candidates import Candidate
from ...engine.proposals.proposals import Proposals
from ...engine.recipe import Recipe
from ...engine.references import Reference
from ...engine.typing import Array, Progress


class SegmenterLike(Protocol):
    """What runs over samples need of an engine ``Segmenter``.

    Attributes:
        device: where the networks run.
    """

    device: torch.device

    @property
    def recipe(self) -> Recipe:
        """The constants it runs with."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Its encoder's fingerprint."""

    @property
    def upstream(self) -> str | None:
        """A digest of all that its proposals depend on but the image; None if that is unknown."""

    @property
    def point_batch(self) -> int:
        """Prompts decoded at once: the recipe's, or fewer since memory ran out."""

    def reference_feature(self, reference: Reference) -> Tensor:
        """The feature of one reference, float (C,)."""

    def propose(self, image: ImageLike, progress: Progress | None = None) -> Proposals:
        """The proposals of one image; ``progress`` is called after each look of several."""

    def propose_candidates(
        self,
        image: ImageLike,
        candidates: Sequence[Candidate],
        *,
        grid: bool = False,
        progress: Progress | None = None,
    ) -> Proposals:
        """Proposals made of boxes and masks from anywhere."""

    def masks_from_boxes(
        self, image: ImageLike, boxes: Array | Sequence[Sequence[float]]
    ) -> list[Array]:
        """A mask of the image's size, bool (H, W), for each pixel box x1 y1 x2 y2."""


def halved_note(segmenter: SegmenterLike, before: int) -> list[str]:
    """What to note if memory ran out: the point batch is smaller than before."""
    if segmenter.point_batch >= before:
        return []
    return [f"memory ran out: the point batch was halved to {segmenter.point_batch}"]
