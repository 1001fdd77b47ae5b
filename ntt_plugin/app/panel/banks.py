"""The banks of the dataset, a card each."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ...dataset.banks.banks import list_memory_banks, memory_bank_infos
from ...dataset.banks.info import BankInfo
from ...errors import BankError
from ..forms import fields
from ..number_words import number_of
from ..text import escaped
from . import first_steps, network_notice, operator_button, pages, widgets
from .events import Clicks
from .state import Place

_A_PAGE = 10


def draw(page: types.Object, dataset: Any, place: Place, clicks: Clicks) -> None:
    """All banks, or what to do while there is none."""
    names = list_memory_banks(dataset)
    if not names:
        first_steps.draw(page, dataset, clicks)
        return
    actions = widgets.row(page, "actions")
    operator_button.draw(actions, "build_memory_bank", clicks)
    operator_button.draw(actions, "import_memory_bank", clicks)
    infos = []
    shown = memory_bank_infos(dataset, pages.part(names, place, _A_PAGE))
    for number, (name, info) in enumerate(shown.items()):
        if isinstance(info, BankError):
            page.view(f"damaged_{number}", types.Error(label=str(info)))
            remedy = widgets.row(page, f"remedy_{number}")
            operator_button.draw(remedy, "delete_memory_bank", clicks, name=name)
            continue
        infos.append(info)
        _card(page, f"bank_{number}", info, clicks)
    pages.draw(page, len(names), place, _A_PAGE, clicks)
    network_notice.draw(page, [info.recipe for info in infos], clicks)


def summary(info: BankInfo) -> str:
    """A bank in a line: how much it holds, made with what, when and from what."""
    parts = [
        number_of("class", len(info.shots)),
        number_of("reference", sum(info.shots.values())),
    ]
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
        f"**{escaped(info.name)}**\n\n{summary(info)}\n\n"
        f"{escaped(fields.listed_briefly(words, 8))}",
    )
    buttons = widgets.row(card, "buttons")
    widgets.button(
        buttons, "open", "Open", clicks.go(tab="banks", bank=info.name), "folder_open", strong=True
    )
    operator_button.draw(buttons, "segment_with_memory_bank", clicks, "Segment", bank=info.name)
