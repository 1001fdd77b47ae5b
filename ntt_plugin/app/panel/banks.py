"""The list of banks, one bank's page, and what to do while a dataset has none."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import fiftyone.operators.types as types

from ...dataset.banks.banks import get_memory_bank_info, list_memory_banks, memory_bank_infos
from ...dataset.banks.info import BankInfo
from ...dataset.inspect.estimates import estimate_segmentation, kept_share
from ...dataset.inspect.inventory import datasets_with_banks, what_labels_hold
from ...dataset.samples.views import all_images
from ...engine.recipe import PRESETS
from ...errors import BankError, NttError
from ..text import escaped, listed_briefly, number_of
from . import charts, references, trial, widgets
from .events import Clicks
from .state import Place

_A_PAGE = 10


def draw(page: types.Object, dataset: Any, place: Place, clicks: Clicks) -> None:
    """All banks, or what to do while there is none."""
    names = list_memory_banks(dataset)
    if not names:
        draw_first_steps(page, dataset, clicks)
        return
    actions = widgets.row(page, "actions")
    widgets.operator_button(actions, "build_memory_bank", clicks)
    widgets.operator_button(actions, "import_memory_bank", clicks)
    infos = []
    shown = memory_bank_infos(dataset, widgets.page_of(names, place, _A_PAGE))
    for number, (name, info) in enumerate(shown.items()):
        if isinstance(info, BankError):
            page.view(f"damaged_{number}", types.Error(label=str(info)))
            remedy = widgets.row(page, f"remedy_{number}")
            widgets.operator_button(remedy, "delete_memory_bank", clicks, name=name)
            continue
        infos.append(info)
        _card(page, f"bank_{number}", info, clicks)
    widgets.page_buttons(page, len(names), place, _A_PAGE, clicks)
    widgets.network_notice(page, [info.recipe for info in infos], clicks)


def summary(info: BankInfo) -> str:
    """A bank in a line: how much it holds, made with what, when and from what."""
    parts = [number_of("class", len(info.shots)), number_of("reference", sum(info.shots.values()))]
    negatives = sum(info.negatives.values())
    if negatives:
        parts.append(number_of("negative", negatives))
    if info.refused:
        parts.append(f"{info.refused:,} left out")
    made = f"made {widgets.moment(info.created)}"
    if info.sources:
        made += f" from {escaped(', '.join(info.sources))}"
    return f"{', '.join(parts)} · preset {escaped(info.recipe.name)} · {made}"


def _card(page: types.Object, name: str, info: BankInfo, clicks: Clicks) -> None:
    card = widgets.card(page, name)
    words = [f"{label} ({count})" for label, count in info.shots.items()]
    widgets.text(
        card,
        "facts",
        f"**{escaped(info.name)}**\n\n{summary(info)}\n\n{escaped(listed_briefly(words, 8))}",
    )
    buttons = widgets.row(card, "buttons")
    widgets.button(
        buttons, "open", "Open", clicks.go(tab="banks", bank=info.name), "folder_open", strong=True
    )
    few = f"Try on {trial.IMAGES} images"
    widgets.button(buttons, "try", few, clicks.try_bank(info.name, False), "science")
    widgets.operator_button(buttons, "segment_with_memory_bank", clicks, "Segment", bank=info.name)


# From here on, a person should know before a run how long it takes, in seconds.
_LONG = 120.0


def draw_bank(page: types.Object, dataset: Any, place: Place, clicks: Clicks) -> None:
    """The page of a bank, or why it cannot be shown."""
    name = str(place.bank)
    back = widgets.row(page, "back")
    widgets.button(back, "all", "All banks", clicks.go(tab="banks"), "arrow_back")
    try:
        info = get_memory_bank_info(dataset, name)
    except NttError as error:
        page.view("problem", types.Error(label=str(error)))
        return
    widgets.heading(page, "facts", name, summary(info))
    for number, note in enumerate(info.notes):
        page.view(f"note_{number}", types.Warning(label=note))
    _use(page, dataset, info, clicks)
    _manage(page, name, clicks)
    if info.shots:
        widgets.text(page, "thresholds", _thresholds(info))
        references.draw(page, dataset, place, clicks)
        charts.draw_similarity(page, dataset, place, clicks)


def draw_trial(
    page: types.Object, dataset: Any, place: Place, clicks: Clicks, state: Mapping[str, Any]
) -> None:
    """The page on which a bank is tried; ``state`` is the panel's."""
    back = widgets.row(page, "back")
    words = f"Back to {place.bank}"
    widgets.button(back, "bank", words, clicks.go(tab="banks", bank=place.bank), "arrow_back")
    trial.draw(page, dataset, place, clicks, state)


def _thresholds(info: BankInfo) -> str:
    if not info.thresholds:
        return "**No thresholds yet.** Estimate thresholds finds them without ground truth."
    recalls = info.expected_recalls
    shown = [
        f"{escaped(label)} {value:.2f}"
        + (f" (finds {recalls[label]:.0%})" if label in recalls else "")
        for label, value in info.thresholds.items()
    ]
    how = ", estimated on its own references" if recalls else ""
    return f"**Thresholds{how}:** {listed_briefly(shown, 8)}"


def _use(page: types.Object, dataset: Any, info: BankInfo, clicks: Clicks) -> None:
    row, name = widgets.row(page, "use"), info.name
    widgets.operator_button(
        row, "segment_with_memory_bank", clicks, "Segment", strong=True, bank=name
    )
    to = clicks.go(tab="banks", bank=name, shown="try")
    widgets.button(row, "try", "Try it", to, "science")
    widgets.operator_button(row, "add_references", clicks, bank=name)
    widgets.operator_button(row, "update_memory_bank", clicks, "Update", name=name)
    widgets.operator_button(row, "check_references", clicks, name=name)
    widgets.operator_button(row, "suggest_references", clicks, bank=name)
    show = clicks.show_references(name)
    widgets.button(row, "show", "Show the references", show, "photo_library")
    widgets.network_notice(page, [info.recipe], clicks)
    # Of what is kept any process may add or clear, so it is looked at each time.
    images = all_images(dataset)
    kept, count = kept_share(images, info.recipe, None), images.count()
    total = estimate_segmentation(dataset, info.recipe, None, count, kept)
    if total and total.seconds > _LONG:
        words = f"Segmenting all {count:,} images takes {total}. Try a few first: select them."
        page.view("estimate", types.Notice(label=words))


def _manage(page: types.Object, name: str, clicks: Clicks) -> None:
    row = widgets.row(page, "manage")
    widgets.operator_button(row, "undo_memory_bank", clicks, "Undo last change", name=name)
    widgets.operator_button(row, "estimate_thresholds", clicks, bank=name)
    widgets.operator_button(row, "rename_memory_bank", clicks, "Rename", name=name)
    widgets.operator_button(row, "duplicate_memory_bank", clicks, "Duplicate", name=name)
    widgets.operator_button(row, "merge_memory_banks", clicks, "Merge", names=[name])
    widgets.operator_button(row, "export_memory_bank", clicks, "Export", name=name)
    widgets.operator_button(row, "delete_memory_bank", clicks, "Delete", name=name)


def bank_in_words(dataset: Any, bank: str, version: int | None) -> str:
    """A bank's name in markdown, and that it was changed since it had a version.

    The version counts every reference that comes or goes, which tells a person nothing.

    Args:
        dataset: the dataset, which need not keep the bank.
        bank: its name, or that of another source of labels.
        version: its version then; 0 of what is no bank, None where it is not known.
    """
    words = escaped(bank)
    if version and bank in list_memory_banks(dataset):
        # The page of a damaged bank shows its error.
        with suppress(NttError):
            if get_memory_bank_info(dataset, bank).version != version:
                words += ", which was changed since"
    return words


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


def draw_first_steps(page: types.Object, dataset: Any, clicks: Clicks) -> None:
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
