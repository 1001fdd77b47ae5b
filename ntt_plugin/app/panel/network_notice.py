"""Which networks are not on this machine yet, and the button that fetches them."""

from __future__ import annotations

from collections.abc import Iterable

import fiftyone.operators.types as types

from ...dataset.networks import missing_networks
from ...engine.recipe import PRESETS, Recipe
from ..forms import run_options
from . import operator_button, widgets
from .events import Clicks


def draw(page: types.Object, recipes: Iterable[Recipe], clicks: Clicks) -> None:
    """Say what the recipes would download, how large it is, and offer to do it now.

    Args:
        page: the panel.
        recipes: what is to be used.
        clicks: what a click can do.
    """
    lacking = {recipe.name: missing_networks(recipe) for recipe in recipes}
    missing = list(dict.fromkeys(network for found in lacking.values() for network in found))
    if not missing:
        return
    run_options.warn_of_downloads(page, missing)
    row = widgets.row(page, "fetch")
    for name, networks in lacking.items():
        if networks and name in PRESETS:
            size = sum(network.megabytes or 0 for network in networks)
            words = f"Download networks of {name} ({size:,} MB)"
            operator_button.draw(row, "download_networks", clicks, words, preset=name)
