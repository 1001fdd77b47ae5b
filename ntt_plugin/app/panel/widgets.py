"""What the panel is put together from: rows, cards, texts, buttons, pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fiftyone.operators.types as types

from ..text import escaped

Click = Mapping[str, Any]
"""What a click does: FiftyOne's ``on_click`` and ``params``."""

# FiftyOne gives whatever lies in a row that breaks the row's whole width.
_AS_WIDE_AS_ITSELF = {"item": {"sx": {"width": "auto", "minWidth": 0}}}


def row(parent: types.Object, name: str, **options: Any) -> types.Object:
    """Things side by side, which go on below where the panel is narrow."""
    options.setdefault("align_y", "center")
    return parent.grid(name, orientation="2d", gap=1, **options)


def column(parent: types.Object, name: str, **options: Any) -> types.Object:
    """Things below one another."""
    return parent.v_stack(name, gap=options.pop("gap", 1), **options)


def card(parent: types.Object, name: str, **options: Any) -> types.Object:
    """Things below one another, in a frame."""
    return column(parent, name, variant="outline", pad=1.5, **options)


def text(parent: types.Object, name: str, words: str, **options: Any) -> None:
    """Words in markdown; as wide as the column that they lie in."""
    parent.str(name, default=words, view=types.MarkdownView(**options))


def heading(parent: types.Object, name: str, title: str, facts: str) -> None:
    """The heading of a page, with what it is about in a line."""
    text(parent, name, f"##### {escaped(title)}\n\n{facts}")


def label(parent: types.Object, name: str, words: str) -> None:
    """Words in a row, beside others."""
    text(parent, name, words, componentsProps=_AS_WIDE_AS_ITSELF)


def button(
    parent: types.Object,
    name: str,
    words: str,
    click: Click,
    icon: str | None = None,
    strong: bool = False,
    **options: Any,
) -> None:
    """A button in a row.

    Args:
        parent: the row.
        name: its name in the row.
        words: what it says.
        click: what it does.
        icon: name of a Material icon.
        strong: whether it is what most people want to do next.
        **options: FiftyOne's.
    """
    parent.btn(
        name,
        label=words,
        icon=icon,
        variant="contained" if strong else "outlined",
        componentsProps=_AS_WIDE_AS_ITSELF,
        **click,
        **options,
    )


def picture(parent: types.Object, name: str, path: Path | None, side: int, alt: str) -> None:
    """A picture file of this machine, or words where there is none.

    Args:
        parent: what it lies in.
        name: its name there.
        path: the file; None if there is none.
        side: its width and height in pixels.
        alt: what it shows, for those who cannot see it.
    """
    if path is None:
        text(parent, name, f"*{escaped(alt)}: its image or label is gone*")
        return
    parent.str(
        name,
        default=media_url(path),
        view=types.ImageView(height=f"{side}px", width=f"{side}px", alt=alt),
    )


def class_choice(
    page: types.Object, visit: int, choices: Mapping[str, str], chosen: str, on_change: Any
) -> None:
    """The choice of a class.

    The App keeps its value in the panel's state. A name of its own for each visit of a page, and
    the value of another one is neither shown nor told of when the page is left.

    Args:
        page: the panel itself: the state has the value where the page has the field.
        visit: the number of the visit.
        choices: the classes, with the words for each.
        chosen: the class that is chosen.
        on_change: the event that a choice sends; the field's coming into sight sends it, too.
    """
    view = types.DropdownView()
    for label, words in choices.items():
        view.add_choice(label, label=words)
    page.enum(f"class_{visit}", list(choices), default=chosen, view=view, on_change=on_change)


def media_url(path: Path) -> str:
    """Where FiftyOne's server hands out a file of its machine."""
    return f"/media?filepath={quote(str(path))}"


def moment(iso: str) -> str:
    """A time in ISO 8601 as people read it."""
    return escaped(f"{iso[:16].replace('T', ' ')} UTC")


ALL_CLASSES = " "
"""Stands for no class in particular: a class needs a name, and the App shows no empty choice."""
