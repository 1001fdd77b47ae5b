"""What to do while a dataset has no memory bank: three steps, by what it has to offer."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ...dataset.inspect.inventory import datasets_with_banks, what_labels_hold
from ...engine.recipe import PRESETS
from ..text import escaped, listed_briefly
from . import widgets
from .events import Clicks

_INTRODUCTION = (
    "**No memory bank yet.** A memory bank learns your classes from a few labels with masks, in "
    "seconds and without training. Then it finds them in all other images."
)


def no_dataset(page: types.Object) -> None:
    """What to do while no dataset is open."""
    widgets.text(
        page,
        "no_dataset",
        "**No dataset is open.** Open one, or make one of your images. Its memory banks show up "
        "here.",
    )


def draw(page: types.Object, dataset: Any, clicks: Clicks) -> None:
    """The three steps, each with its buttons; what the dataset is ready for stands out."""
    offers = what_labels_hold(dataset)
    widgets.text(page, "introduction", _INTRODUCTION)
    _references(widgets.card(page, "step_1"), offers, clicks)
    build = widgets.card(page, "step_2")
    widgets.text(build, "words", "**2. Build a memory bank** from the references.")
    row = widgets.row(build, "buttons")
    widgets.operator_button(row, "build_memory_bank", clicks, strong=offers == "masks")
    segment = widgets.card(page, "step_3")
    widgets.text(
        segment,
        "words",
        "**3. Segment** the other images with it. Then look at what it found, and correct it: "
        "add references and negatives, and segment again in seconds.",
    )
    _others(page, dataset, clicks)
    widgets.network_notice(page, [PRESETS["paper"]], clicks)


def _references(card: types.Object, offers: str, clicks: Clicks) -> None:
    words = {
        "masks": "Select samples, or labels in a sample, that show your classes well: one to ten "
        "of each class. Or let chance choose.",
        "boxes": "Your labels are boxes. Fill masks into a new field first, then look at them.",
        "nothing": "This dataset has no labels with masks or boxes yet. Draw a few masks in the "
        "App, one to ten objects of each class, or import labels.",
    }
    widgets.text(card, "words", f"**1. Choose references.** {words[offers]}")
    row = widgets.row(card, "buttons")
    if offers == "boxes":
        widgets.operator_button(row, "masks_from_boxes", clicks, strong=True)
    if offers == "masks":
        widgets.operator_button(row, "add_references", clicks)
        widgets.operator_button(row, "sample_references", clicks, strong=True)


def _others(page: types.Object, dataset: Any, clicks: Clicks) -> None:
    homes = [name for name in datasets_with_banks() if name != dataset.name]
    words = "Or use a bank that was made elsewhere: from a file"
    words += f", or of {escaped(listed_briefly(homes, 3))}." if homes else "."
    widgets.text(page, "elsewhere", words)
    row = widgets.row(page, "from_elsewhere")
    widgets.operator_button(row, "import_memory_bank", clicks)
    if homes:
        words = "Segment with another dataset's bank"
        widgets.operator_button(
            row, "segment_with_memory_bank", clicks, words, bank_dataset=homes[0]
        )
