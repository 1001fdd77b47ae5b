"""Where proposals come from, in a form: the grid, candidates, tiles; and what tiles cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import fiftyone.operators.types as types

from ...dataset.inspect.estimates import estimate_segmentation, in_words
from ...dataset.inspect.inventory import label_fields
from ...dataset.inspect.tiling import segmenter_side, tile_cost
from ...dataset.labels.label_field import field_state
from ...dataset.segmentation.candidates import (
    GRID,
    ProposalSources,
    proposal_sources,
    run_ids,
    shown_labels,
)
from ...engine.recipe import Recipe
from ...errors import DatasetError
from ..text import number_of
from . import run_options, target
from .fields import Form


def sources(form: Form, images: Any) -> None:
    """Add where proposals come from, and the least confidence of candidates."""
    fields = [name for name in label_fields(form.dataset) if name != GRID]
    words = {GRID: "grid: the segmenter's own points"} | {name: name for name in fields}
    form.several(
        "proposals",
        words,
        "Proposals",
        "Boxes and masks of another model, whose classes are ignored; the grid if none is chosen.",
    )
    form.share(
        "min_confidence",
        "Least confidence of proposals",
        "Labels of these fields with a lower confidence are left out. Empty: none is.",
    )


def chosen_sources(form: Form, images: Any, field: str) -> ProposalSources | None:
    """The sources that were chosen; None, and marked, where they cannot be used."""
    names = form.value("proposals", [GRID])
    try:
        return proposal_sources(images, names, form.value("min_confidence", 0.0), field)
    except DatasetError as error:
        if "proposals" in form.inputs.properties:
            form.mark("proposals", str(error))
        else:
            form.problem("wrong_proposals", str(error))
        return None


def held(images: Any, field: str, run: str, chosen: ProposalSources) -> run_options.Held:
    """As ``run_options.held``, of a run with these sources."""
    if chosen.are_grid_alone:
        return run_options.held(images, field, run)
    ids = run_ids(images, run, chosen, shown_labels(images, chosen))
    return run_options.counts(field_state(images, field, ids))


def tiles(form: Form, images: Any, recipe: Recipe) -> Recipe:
    """Add tiles where images are large, or in the advanced settings; gives the recipe with them."""
    side = segmenter_side(recipe)
    offered = target.asked_once(form, images, tile_cost, recipe, recipe.tile or side)
    advanced = bool(form.ctx.params.get("advanced"))
    if not (offered.large or advanced or form.value("tile") is not None):
        return recipe
    own = f"{recipe.tile} pixels, as the bank has it" if recipe.tile else "no tiles"
    tile = form.whole_number(
        "tile",
        "Large images: tiles",
        "Side in pixels of tiles that larger images are looked at in, too, so that small objects "
        f"are seen; 0 for none. Empty: {own}.",
        least=0,
        most=65_536,
    )
    if tile is not None and 0 < tile < 32:
        form.mark("tile", "Give 32 or more, 0 for none, or leave it empty.")
        return recipe
    used = recipe if tile is None else replace(recipe, tile=tile or None)
    shown = used.tile or side
    cost = target.asked_once(form, images, tile_cost, recipe, shown)
    if cost.looked_at and (used.tile or offered.large):
        view = types.Notice if used.tile else types.Warning
        form.notice("tiles_cost", _cost(form, images, recipe, used, cost.looks, shown), view)
    return used


def _cost(form: Form, images: Any, recipe: Recipe, used: Recipe, looks: float, side: int) -> str:
    """What tiles cost, in words."""
    count = len(images)
    each = f"{looks:.1f} looks an image in place of 1, about {round(looks * count):,} for "
    text = f"Tiles of {side} pixels take {each}{number_of('image', count)}"
    plain = replace(recipe, tile=None)
    known = estimate_segmentation(form.dataset, plain, form.value("device"), count)
    if known is not None:
        text += f": {in_words(known.seconds * looks)}"
    if used.tile:
        return f"{text}."
    return (
        "Images here are more than twice as large as what the segmenter sees at once, so that "
        f"small objects may be missed. {text}."
    )
