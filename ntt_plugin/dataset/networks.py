"""The networks a recipe needs: which are on this machine, and how much the others download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import fiftyone as fo

from ..engine.device.device import resolve_device
from ..engine.networks.hub import download, find_cached, find_in_zoo
from ..engine.recipe import Recipe
from ..errors import RecipeError
from .runtime.progress_bar import Progress, progress_bar
from .segmenters import as_recipe

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
        name: hub id, path or ``tiny``.
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
