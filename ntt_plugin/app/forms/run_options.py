"""Preset, device, networks and time: what a form says about the work itself."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ...dataset.inspect.estimates import NOTHING_KEPT, Estimate, estimate_segmentation, kept_share
from ...dataset.networks import Network, available_devices, networks_of
from ...dataset.samples.checks import as_path
from ...engine.recipe import PRESETS, Recipe
from ...errors import DatasetError
from . import fields, target

_WORDS = {
    "paper": "the published recipe, to the letter",
    "balanced": "newer segmenter, half precision on a GPU",
    "fast": "smaller networks, a quarter of the points",
    "tiny": "bundled networks for tests and the demo; rough on real photos",
}


def preset(
    ctx: Any, inputs: types.Object, description: str, default: str | None = "paper"
) -> Recipe | None:
    """Add a choice of presets with their downloads; a ``default`` of None leaves it to the bank.

    Returns:
        The preset's recipe; None while none is chosen.
    """
    choices = {name: f"{name}: {_WORDS[name]}; {_downloads(PRESETS[name])}" for name in PRESETS}
    chosen = fields.choice(
        ctx, inputs, "preset", choices, "Preset", description, default, required=False
    )
    return PRESETS[chosen] if chosen else None


def recipe_for(ctx: Any, inputs: types.Object, made_with: Recipe | None) -> Recipe | None:
    """Add preset, device and batch size; returns the recipe to run the bank with.

    ``made_with`` is the bank's own recipe, None while no bank is chosen.
    """
    description = "In place of the one that the bank was made with."
    other = preset(ctx, inputs, description, default=None)
    device(ctx, inputs)
    batch_size(ctx, inputs)
    return other or made_with


def device(ctx: Any, inputs: types.Object) -> str | None:
    """The choice of a device, the best one if none is chosen."""
    found = available_devices()
    return fields.choice(
        ctx,
        inputs,
        "device",
        {name: name for name in found},
        "Device",
        f"Where the networks run; {found[0]} if none is chosen.",
        required=False,
    )


def batch_size(ctx: Any, inputs: types.Object) -> None:
    """Add the number of points decoded at once."""
    fields.whole_number(
        ctx,
        inputs,
        "batch_size",
        "Points at once",
        "Fewer need less memory; the results stay the same. Empty: the preset's.",
        least=1,
        most=65_536,
    )


def mask_dir(ctx: Any, inputs: types.Object) -> None:
    """Where to write masks as files."""
    field = inputs.str(
        "mask_dir",
        required=False,
        label="Folder for masks",
        description="Masks become PNG files below it. Empty: they are kept in the database.",
    )
    folder = fields.value_of(ctx, "mask_dir")
    if folder is None:
        return
    try:
        as_path(folder, "a folder for masks")
    except DatasetError as error:
        fields.mark(field, str(error))


def cache(inputs: types.Object) -> None:
    """Whether proposals are kept between runs."""
    inputs.bool(
        "cache",
        default=True,
        label="Keep proposals",
        description="On this machine's disk, so that a later run with another bank only matches.",
        view=types.CheckboxView(),
    )


def announce(
    inputs: types.Object, what: str, networks: list[Network], estimate: Estimate | None = None
) -> None:
    """Say what the run will write, what it loads or downloads first, and how long it takes."""
    names = " and ".join(dict.fromkeys(network.name for network in networks))
    takes = f" Takes {estimate}." if estimate else ""
    warn_of_downloads(inputs, networks)
    fields.notice(inputs, "will_do", f"{what} Runs {names}.{takes}")


def estimate_images(ctx: Any, images: Any, recipe: Recipe, number: int) -> Estimate | None:
    """Estimated time for ``number`` images, if measured; cached proposals take almost none."""
    device = fields.value_of(ctx, "device")
    kept = NOTHING_KEPT
    if ctx.params.get("cache", True):
        kept = target.asked_once(ctx, images, kept_share, recipe, device)
    return estimate_segmentation(ctx.dataset, recipe, device, number, kept)


def warn_of_downloads(inputs: types.Object, networks: list[Network]) -> None:
    """Name the networks that are not on this machine, and how large they are."""
    absent = [str(network) for network in networks if not network.here]
    if absent:
        text = f"Not on this machine yet: {', '.join(absent)}."
        fields.notice(inputs, "downloads", text, types.Warning)


def _downloads(recipe: Recipe) -> str:
    absent = [network for network in networks_of(recipe) if not network.here]
    if not absent:
        return "nothing to download"
    total = sum(network.megabytes or 0 for network in absent)
    return f"downloads {total:,} MB"
