"""One bank: what it is, what can be done with it, its references, how alike its classes are."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ...dataset.banks.banks import get_memory_bank_info
from ...dataset.banks.info import BankInfo
from ...dataset.inspect.estimates import estimate_segmentation
from ...dataset.samples.views import all_images
from ...dataset.segmentation.cached_share import kept_share
from ...errors import NttError
from . import banks, class_similarity, network_notice, operator_button, references, widgets
from .events import Clicks
from .state import Place

# From here on, a person should know before a run how long it takes, in seconds.
_LONG = 120.0


def draw(page: types.Object, dataset: Any, place: Place, clicks: Clicks) -> None:
    """The page of a bank, or why it cannot be shown."""
    name = str(place.bank)
    back = widgets.row(page, "back")
    widgets.button(back, "all", "All banks", clicks.go(tab="banks"), "arrow_back")
    try:
        info = get_memory_bank_info(dataset, name)
    except NttError as error:
        page.view("problem", types.Error(label=str(error)))
        return
    widgets.heading(page, "facts", name, banks.summary(info))
    for number, note in enumerate(info.notes):
        page.view(f"note_{number}", types.Warning(label=note))
    _use(page, dataset, info, clicks)
    _manage(page, name, clicks)
    if info.shots:
        references.draw(page, dataset, place, clicks)
        class_similarity.draw(page, dataset, place, clicks)


def _use(page: types.Object, dataset: Any, info: BankInfo, clicks: Clicks) -> None:
    row, name = widgets.row(page, "use"), info.name
    operator_button.draw(row, "segment_with_memory_bank", clicks, "Segment", strong=True, bank=name)
    operator_button.draw(row, "add_references", clicks, bank=name)
    operator_button.draw(row, "update_memory_bank", clicks, "Update", name=name)
    operator_button.draw(row, "check_references", clicks, name=name)
    operator_button.draw(row, "suggest_references", clicks, bank=name)
    show = clicks.show_references(name)
    widgets.button(row, "show", "Show the references", show, "photo_library")
    network_notice.draw(page, [info.recipe], clicks)
    # Of what is kept any process may add or clear, so it is looked at each time.
    images = all_images(dataset)
    kept, count = kept_share(images, info.recipe, None), images.count()
    total = estimate_segmentation(dataset, info.recipe, None, count, kept)
    if total and total.seconds > _LONG:
        words = f"Segmenting all {count:,} images takes {total}. Try a few first: select them."
        page.view("estimate", types.Notice(label=words))


def _manage(page: types.Object, name: str, clicks: Clicks) -> None:
    row = widgets.row(page, "manage")
    operator_button.draw(row, "rename_memory_bank", clicks, "Rename", name=name)
    operator_button.draw(row, "duplicate_memory_bank", clicks, "Duplicate", name=name)
    operator_button.draw(row, "merge_memory_banks", clicks, "Merge", names=[name])
    operator_button.draw(row, "export_memory_bank", clicks, "Export", name=name)
    operator_button.draw(row, "delete_memory_bank", clicks, "Delete", name=name)
