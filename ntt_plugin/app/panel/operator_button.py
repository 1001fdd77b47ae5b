"""Buttons that open an operator's form, with the operator's own words and icon."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ..operators import OPERATORS
from . import widgets
from .events import Clicks

_BY_NAME = {operator.operator_name: operator for operator in OPERATORS}


def draw(
    row: types.Object,
    operator: str,
    clicks: Clicks,
    words: str | None = None,
    strong: bool = False,
    **values: Any,
) -> None:
    """A button that opens an operator's form.

    Args:
        row: the row that it goes into.
        operator: the operator's name.
        clicks: what a click can do.
        words: what the button says; the operator's title if None.
        strong: whether it is what most people want to do next.
        **values: fields of the form that are filled in.
    """
    found = _BY_NAME[operator]
    widgets.button(
        row, operator, words or found.title, clicks.ask(operator, **values), found.icon, strong
    )
