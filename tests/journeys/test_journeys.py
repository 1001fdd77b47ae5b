"""Real files with real labels go the whole way as a plain PNG with masks does, or are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.judge import Answers, judge
from tests.journeys.table import Cell, cells


@pytest.mark.parametrize("cell", cells(), ids=str)
def test_cell(
    cell: Cell,
    segmenter: Any,
    answers: Answers,
    folder: Path,
    record_property: Callable[[str, object], None],
) -> None:
    try:
        outcome, said = judge(cell, segmenter, answers, folder)
    except BaseException:
        record_property("journey", "wrong")
        raise
    record_property("journey", outcome)
    print(f"{cell}: {outcome}. {said:.400}")
