"""Numbers, names and tables in forms and on pages; what strangers wrote is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone.operators.types as types

# What Markdown takes for something else than a letter, within a line and at its beginning.
_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~$&])")
_AT_THE_START = re.compile(r"^(\d*)([-+=.)])")
# What becomes a link without any mark, also where one of its marks is escaped.
_LINKS = re.compile(r"((?:https?|ftp|xmpp|mailto):|www(?=\.)|@)", re.IGNORECASE)
_JOINER = "\u2060"

_ALERTS = (types.Notice, types.Warning, types.Error, types.Success)
_RENDERED = ("label", "description", "caption")
# Markdown of our own, and plain text.
_LEFT_AS_THEY_ARE = (types.MarkdownView, types.Button)


def escaped(words: object) -> str:
    """Words in one line of Markdown that renders as these very words.

    Addresses stay words too: an invisible word joiner (U+2060) keeps them from becoming links.
    """
    line = _MARKS.sub(r"\\\1", " ".join(str(words).split()))
    line = _AT_THE_START.sub(r"\1\\\2", line)
    return _LINKS.sub(rf"\1{_JOINER}", line)


def code_block(text: str) -> str:
    """Text as a block of code that nothing in the text can end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def show_as_written(page: types.Object) -> None:
    """Escape Markdown in all texts of a form or page, recursively; call it once at the end."""
    for part in page.properties.values():
        if isinstance(part.type, types.Object):
            show_as_written(part.type)
        if part.view is not None and not isinstance(part.view, _LEFT_AS_THEY_ARE):
            _escape(part.view)
            if isinstance(part.view, types.RadioGroup):
                for entry in part.view.choices:
                    _escape(entry)


def _escape(view: Any) -> None:
    for name in _RENDERED:
        if name == "caption" and not isinstance(view, (*_ALERTS, types.Choice)):
            continue
        # A view sends what it was made with, in place of the attribute.
        words = view._kwargs.get(name, getattr(view, name))
        if words is not None:
            setattr(view, name, escaped(words))
            if name in view._kwargs:
                view._kwargs[name] = escaped(words)


def bullets(entries: Sequence[object], most: int) -> str:
    """A list in Markdown, cut short."""
    lines = [f"- {escaped(entry)}" for entry in entries[:most]]
    if len(entries) > most:
        lines.append(f"- and {len(entries) - most:,} more")
    return "\n".join(lines)


_PLURALS = {"class": "classes", "entry": "entries"}


def number_of(noun: str, number: int) -> str:
    """A number and its noun: ``1 label``, ``2,300 labels``."""
    return f"{number:,} {noun if number == 1 else _PLURALS.get(noun, f'{noun}s')}"


def listed_briefly(names: Iterable[str], most: int = 6) -> str:
    """Names with commas, cut short."""
    names = list(names)
    text = ", ".join(names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"


def part_of_these(noun: str, part: int, number: int, one: str, many: str) -> str:
    """A part of a number, with its verb: ``2 of these 5 images hold``, ``This image holds``.

    If ``part`` equals ``number``, it says so; ``one`` and ``many`` are forms of the verb.
    """
    if number == 1:
        return f"This {noun} {one}"
    if part == number:
        return f"All of these {number_of(noun, number)} {many}"
    return f"{part:,} of these {number_of(noun, number)} {one if part == 1 else many}"


@dataclass(frozen=True)
class Table:
    """A table for a page.

    Attributes:
        columns: the columns' heads.
        rows: of each row a value for each column; an empty cell for None.
        texts: number of the first columns that hold texts, flush left; the others are flush right.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    texts: int = 1

    def markdown(self) -> str:
        """The table as Markdown."""
        under = "|" + "---|" * self.texts + "---:|" * (len(self.columns) - self.texts)
        return "\n".join([_line(self.columns), under, *map(_line, self.rows)])


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    return escaped(value)
