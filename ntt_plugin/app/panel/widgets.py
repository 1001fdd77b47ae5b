"""Building blocks of the panel's pages: rows, cards, pictures, buttons, pages and notices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import fiftyone.operators.types as types

from ..operators import OPERATORS
from ..text import escaped
from .events import Click, Clicks
from .state import Place

if TYPE_CHECKING:
    from ...engine.recipe import Recipe

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
    """Add a button; ``icon`` names a Material icon, ``strong`` marks the usual next step."""
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
    """Add a local image of ``side`` x ``side`` pixels, or its ``alt`` text if there is no file."""
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

    ``page`` is the panel itself: the state has the value where the page has the field.
    ``on_change`` is also sent when the field comes into sight.
    """
    choice(page, f"class_{visit}", choices, chosen, on_change)


def choice(
    page: types.Object, name: str, choices: Mapping[str, str], chosen: str, on_change: Any
) -> None:
    """A choice of one; arguments as for ``class_choice``, which says what a name has to be."""
    view = types.DropdownView()
    for value, words in choices.items():
        view.add_choice(value, label=words)
    page.enum(name, list(choices), default=chosen, view=view, on_change=on_change)


def slider(page: types.Object, name: str, words: str, value: float, on_change: Any) -> None:
    """A slider from 0 to 1; ``page`` and ``name`` as for ``choice``."""
    view = types.SliderView(label=words, label_position="left")
    page.float(name, default=value, min=0, max=1, multiple_of=0.01, view=view, on_change=on_change)


def as_share(value: Any, default: float) -> float:
    """A slider's value from the panel's state; ``default`` for anything but a share of 1."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    return float(value) if known else default


def progress(parent: types.Object, name: str, words: str, share: float | None) -> None:
    """A bar that is full as far as ``share`` says; None where nobody knows."""
    view = types.ProgressView(label=words, variant="linear")
    parent.float(name, default=share, view=view)


def wide_picture(parent: types.Object, name: str, path: Path | None, side: int, alt: str) -> None:
    """Add a local image of ``side`` pixels' width and any height, or its ``alt`` text."""
    if path is None:
        text(parent, name, f"*{escaped(alt)}: its image is gone*")
        return
    view = types.ImageView(width=f"{side}px", alt=alt)
    parent.str(name, default=media_url(path), view=view)


def media_url(path: Path) -> str:
    """Where FiftyOne's server hands out a file of its machine."""
    return f"/media?filepath={quote(str(path))}"


def moment(iso: str) -> str:
    """A time in ISO 8601 as people read it."""
    return escaped(f"{iso[:16].replace('T', ' ')} UTC")


_BY_NAME = {operator.operator_name: operator for operator in OPERATORS}


def operator_button(
    line: types.Object,
    operator: str,
    clicks: Clicks,
    words: str | None = None,
    strong: bool = False,
    **values: Any,
) -> None:
    """Add a button that opens an operator's form, with ``values`` filled in.

    Without ``words`` it shows the operator's title.
    """
    found = _BY_NAME[operator]
    button(line, operator, words or found.title, clicks.ask(operator, **values), found.icon, strong)


def network_notice(page: types.Object, recipes: Iterable[Recipe], clicks: Clicks) -> None:
    """Say what the recipes would download and how large it is, with a button to do it now."""
    # Imported here: torch comes with them, and the panel is listed before anyone opens it.
    from ...dataset.networks import missing_networks
    from ...engine.recipe import PRESETS
    from ..forms import run_options

    lacking = {recipe.name: missing_networks(recipe) for recipe in recipes}
    missing = list(dict.fromkeys(network for found in lacking.values() for network in found))
    if not missing:
        return
    run_options.warn_of_downloads(page, missing)
    line = row(page, "fetch")
    for name, networks in lacking.items():
        if networks and name in PRESETS:
            size = sum(network.megabytes or 0 for network in networks)
            words = f"Download networks of {name} ({size:,} MB)"
            operator_button(line, "download_networks", clicks, words, preset=name)


T = TypeVar("T")


def page_of(entries: Sequence[T], place: Place, size: int) -> Sequence[T]:
    """The entries of the page that is open; of the last one where there are fewer by now."""
    first = size * _open_page(len(entries), place, size)
    return entries[first : first + size]


def page_buttons(parent: types.Object, total: int, place: Place, size: int, clicks: Clicks) -> None:
    """Which page is open, and the way to the others; nothing where there is one page only."""
    if total <= size:
        return
    number, last = _open_page(total, place, size), (total - 1) // size
    line = row(parent, "pages")
    button(
        line, "back", "Previous", clicks.go(page=number - 1), "chevron_left", disabled=number == 0
    )
    first = number * size + 1
    words = f"{first:,} to {min(first + size - 1, total):,} of {total:,}"
    label(line, "where", words)
    button(
        line,
        "forward",
        "Next",
        clicks.go(page=number + 1),
        "chevron_right",
        disabled=number == last,
    )


def _open_page(total: int, place: Place, size: int) -> int:
    return min(place.page, max(0, (total - 1) // size))
