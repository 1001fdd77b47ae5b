"""The networks a recipe needs: on this machine, to be downloaded, or in memory as a segmenter."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import fiftyone as fo
import torch

from ..engine.device.device import resolve_device
from ..engine.networks.hub import download, find_cached, find_in_zoo
from ..engine.recipe import Recipe
from ..errors import RecipeError
from ..worker.tasks.networks import SegmenterLike
from .runtime.progress_bar import Progress, progress_bar
from .samples.checks import is_whole

if TYPE_CHECKING:
    from ..engine.segmenter import Segmenter


# Sizes of the published weights in float32, as the hub serves them.
_MEGABYTES = {
    "facebook/sam2-hiera-tiny": 156,
    "facebook/sam2-hiera-small": 184,
    "facebook/sam2-hiera-base-plus": 323,
    "facebook/sam2-hiera-large": 898,
    "facebook/sam2.1-hiera-tiny": 156,
    "facebook/sam2.1-hiera-small": 184,
    "facebook/sam2.1-hiera-base-plus": 323,
    "facebook/sam2.1-hiera-large": 898,
    "facebook/dinov2-small": 88,
    "facebook/dinov2-base": 346,
    "facebook/dinov2-large": 1218,
    "facebook/dinov2-giant": 4546,
    "facebook/dinov2-with-registers-small": 88,
    "facebook/dinov2-with-registers-base": 346,
    "facebook/dinov2-with-registers-large": 1218,
    "facebook/dinov2-with-registers-giant": 4546,
}


@dataclass(frozen=True)
class Network:
    """One of the networks that a recipe names.

    Attributes:
        here: whether it can be loaded without a download.
        megabytes: what it downloads otherwise; None if that is not known.
    """

    name: str
    here: bool
    megabytes: int | None

    def __str__(self) -> str:
        """The name, and what getting it takes."""
        if self.here:
            return f"{self.name} (on this machine)"
        size = f"{self.megabytes:,} MB" if self.megabytes else "of unknown size"
        return f"{self.name} (a download, {size})"


def networks_of(recipe: Recipe) -> list[Network]:
    """The segmenter and the encoder that a recipe loads; nothing is loaded or downloaded."""
    names = (recipe.segmenter, recipe.encoder)
    return [Network(name, _is_here(name), _MEGABYTES.get(name)) for name in names]


def missing_networks(recipe: Recipe) -> list[Network]:
    """Those of a recipe's networks that must be downloaded before they can be used."""
    return list(dict.fromkeys(network for network in networks_of(recipe) if not network.here))


def download_networks(preset: str | Recipe = "paper", progress: Progress = None) -> list[Network]:
    """Fetch the networks that a preset needs and this machine lacks, so that no run has to wait.

    Each is named with its size as it begins. What is here already, in the hub's cache or in
    FiftyOne's model zoo, is not fetched again.

    Args:
        preset: a preset's name, or a recipe.
        progress: FiftyOne's: True, False, a callback, or None for the configured default.

    Returns:
        The networks that were fetched now; none if all were here.

    Raises:
        RecipeError: there is no preset of that name.
        CheckpointError: the hub cannot be reached, may not be asked or lacks a network; what was
            fetched before stays.

    Example:
        >>> ntt.download_networks("tiny")  # these come with the package
        []
    """
    missing = missing_networks(as_recipe(preset))
    with progress_bar(len(missing), progress, "networks") as bar:
        for network in bar(missing):
            download(network.name)
    return missing


def available_devices() -> list[str]:
    """The devices of this machine, the best first."""
    found = []
    for name in ("cuda", "mps", "cpu"):
        try:
            found.append(str(resolve_device(name)))
        except RecipeError:
            continue
    return found


def _is_here(name: str) -> bool:
    try:
        if name == "tiny" or Path(name).expanduser().exists():
            return True
    except (OSError, RuntimeError):
        # No name that a file can have: loading it says so.
        return False
    if find_cached(name) is not None:
        return True
    return find_in_zoo(name, [Path(fo.config.model_zoo_dir)]) is not None


# Two pairs of full-size networks are 4 GB in float32.
_MOST_KEPT = 2

_Networks = tuple[str, str, int, str]
_kept: OrderedDict[tuple[_Networks, str], Segmenter] = OrderedDict()
_lock = Lock()


def get_segmenter(
    recipe: Recipe, device: str | torch.device | None = None, batch_size: int | None = None
) -> SegmenterLike:
    """The segmenter of a recipe on a device; its networks from memory if they were used lately.

    ``device`` is the best there is if None; ``batch_size`` points are decoded at once, in place
    of the recipe's ``point_batch``.

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


def get_box_segmenter(
    recipe: Recipe, device: str | torch.device | None = None, batch_size: int | None = None
) -> SegmenterLike:
    """As ``get_segmenter``, for masks from boxes: the recipe's encoder is not downloaded.

    Box prompts run the segmenter alone. An encoder that is not on this machine is replaced by the
    bundled one, which is never run.
    """
    if not _is_here(recipe.encoder):
        recipe = without_encoder(recipe)
    return get_segmenter(recipe, device, batch_size)


def without_encoder(recipe: Recipe) -> Recipe:
    """A recipe for runs that use its segmenter alone: the bundled encoder in place of its own."""
    return replace(recipe, encoder="tiny")


def upstream_in_memory(recipe: Recipe, device: str | torch.device | None = None) -> str | None:
    """The ``upstream`` of a recipe's segmenter; None if its networks are not in memory."""
    # Without the lock, which is held for as long as others are loaded.
    kept = _kept.get((recipe.networks, str(resolve_device(device))))
    return None if kept is None else kept.with_recipe(recipe).upstream


def as_recipe(preset: str | Recipe) -> Recipe:
    """A preset's recipe, or the recipe itself.

    Raises:
        RecipeError: there is no preset of that name.
    """
    return preset if isinstance(preset, Recipe) else Recipe.from_preset(preset)
