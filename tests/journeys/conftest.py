"""What all journeys share: one engine, the right answers, and the counts in the end."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ntt_plugin.engine.recipe import Recipe
from ntt_plugin.engine.segmenter import Segmenter
from tests.journeys.judge import Answers

_OUTCOMES = ("equal", "refused by name", "wrong")


@pytest.fixture(scope="session")
def segmenter() -> Iterator[Segmenter]:
    """The bundled networks on a coarse grid; one thread, since two wait for a busy core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Segmenter.from_preset(Recipe.from_preset("tiny", grid=8), device="cpu")
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def answers(segmenter: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """The right answers: each scene as a plain upright PNG with masks goes the way once."""
    return Answers(segmenter, tmp_path_factory.mktemp("answers"))


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder with a short name."""
    return tmp_path_factory.mktemp("journey")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many cells of the table ended how."""
    counts: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            counts.update(
                value
                for name, value in getattr(report, "user_properties", [])
                if name == "journey" and report.when == "call"
            )
    if counts:
        told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in _OUTCOMES)
        terminalreporter.write_line(f"journeys: {counts.total()} cells: {told}")
