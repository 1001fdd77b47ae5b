"""Segmenters kept in memory between calls, so that networks are loaded once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import fiftyone as fo
import torch
from torch import Tensor

from ..engine.bank.memory_bank import Fingerprint
from ..engine.device.device import resolve_device
from ..engine.images.load import ImageLike
from ..engine.proposals.proposals import Proposals
from ..engine.recipe import Recipe
from ..engine.references import Reference
from ..engine.typing import Array
from .samples.checks import is_whole

if TYPE_CHECKING:
    from ..engine.segmenter import Segmenter

# Two pairs of full-size networks are 4 GB in float32.
_MOST_KEPT = 2

_Networks = tuple[str, str, int, str]
_kept: OrderedDict[tuple[_Networks, str], Segmenter] = OrderedDict()
_lock = Lock()


class SegmenterLike(Protocol):
    """What the dataset floor needs of an engine ``Segmenter``.

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

    def propose(self, image: ImageLike) -> Proposals:
        """The proposals of one image."""

    def masks_from_boxes(
        self, image: ImageLike, boxes: Array | Sequence[Sequence[float]]
    ) -> list[Array]:
        """A mask of the image's size, bool (H, W), for each pixel box x1 y1 x2 y2."""


def get_segmenter(
    recipe: Recipe,
    device: str | torch.device | None = None,
    batch_size: int | None = None,
) -> SegmenterLike:
    """The segmenter of a recipe on a device; its networks from memory if they were used lately.

    Args:
        recipe: its constants.
        device: where to run; the best there is if None.
        batch_size: points decoded at once, in place of the recipe's ``point_batch``.

    Raises:
        CheckpointError: a network cannot be loaded.
        RecipeError: the device is not there, or the batch size is not allowed.
    """
    # The networks' code takes seconds to import, and a form or the panel needs none of it.
    from ..engine.segmenter import Segmenter

    if batch_size is not None:
        # numpy's whole numbers too; the recipe refuses what is none.
        batch_size = int(batch_size) if is_whole(batch_size) else batch_size
        recipe = replace(recipe, point_batch=batch_size)
    resolved = resolve_device(device)
    key = (recipe.networks, str(resolved))
    with _lock:
        if key not in _kept:
            while len(_kept) >= _MOST_KEPT:
                _kept.popitem(last=False)
            # FiftyOne's model zoo may hold Meta's files already.
            zoo = Path(fo.config.model_zoo_dir)
            _kept[key] = Segmenter.from_preset(recipe, device=resolved, zoo_dirs=[zoo])
        _kept.move_to_end(key)
        return _kept[key].with_recipe(recipe)


def upstream_in_memory(recipe: Recipe, device: str | torch.device | None = None) -> str | None:
    """The ``upstream`` of a recipe's segmenter; None if its networks are not in memory."""
    # Without the lock, which is held for as long as others are loaded.
    kept = _kept.get((recipe.networks, str(resolve_device(device))))
    return None if kept is None else kept.with_recipe(recipe).upstream


def forget_segmenters() -> None:
    """Let go of every segmenter that is kept, and of the memory its networks hold."""
    with _lock:
        _kept.clear()


def halved_note(segmenter: SegmenterLike, before: int) -> list[str]:
    """What to note if memory ran out: the point batch is smaller than before."""
    if segmenter.point_batch >= before:
        return []
    return [f"memory ran out: the point batch was halved to {segmenter.point_batch}"]


def as_recipe(preset: str | Recipe) -> Recipe:
    """A preset's recipe, or the recipe itself.

    Raises:
        RecipeError: there is no preset of that name.
    """
    return preset if isinstance(preset, Recipe) else Recipe.from_preset(preset)
