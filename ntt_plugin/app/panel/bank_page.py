"""One bank: what it is, what can be done with it, its references, how alike its classes are."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ...dataset.bank_info import BankInfo
from ...dataset.banks import get_memory_bank_info
from ...dataset.estimates import estimate_segmentation
from ...errors import NttError
from . import bank_list, network_notice, operator_button, pieces
from .clicks import Clicks
from .place import Place

# From here on, a person should know before a run how long it takes.
_LONG = 120.0


def draw(page: types.Object, dataset: Any, place: Place, clicks: Clicks) -> None:
    """The page of a bank, or why it cannot be shown."""
    name = str(place.bank)
    back = pieces.row(page, "back")
    pieces.button(back, "all", "All banks", clicks.go(tab="banks"), "arrow_back")
    try:
        info = get_memory_bank_info(dataset, name)
    except NttError as error:
        page.view("problem", types.Error(label=str(error)))
        return
    pieces.text(page, "facts", f"### {pieces.escaped(name)}\n\n{bank_list.summary(info)}")
    for number, note in enumerate(info.notes):
        page.view(f"note_{number}", types.Warning(label=note))
    _use(page, dataset, info, clicks)
    _manage(page, name, clicks)


def _use(page: types.Object, dataset: Any, info: BankInfo, clicks: Clicks) -> None:
    row = pieces.row(page, "use")
    operator_button.draw(
        row, "segment_with_memory_bank", clicks, "Segment", strong=True, bank=info.name
    )
    pieces.button(
        row,
        "show",
        "Show the references",
        clicks.show_references(info.name),
        "photo_library",
    )
    network_notice.draw(page, [info.recipe], clicks)
    images = dataset.count()
    estimate = estimate_segmentation(dataset, info.recipe, None, images)
    if estimate.seconds > _LONG:
        words = f"Segmenting all {images:,} images takes {estimate}. Try a few first: select them."
        page.view("estimate", types.Notice(label=words))


def _manage(page: types.Object, name: str, clicks: Clicks) -> None:
    row = pieces.row(page, "manage")
    operator_button.draw(row, "rename_memory_bank", clicks, "Rename", name=name)
    operator_button.draw(row, "export_memory_bank", clicks, "Export", name=name)
    operator_button.draw(row, "delete_memory_bank", clicks, "Delete", name=name)
