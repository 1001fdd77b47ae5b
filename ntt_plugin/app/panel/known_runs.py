"""The runs over the dataset, listed once until one of them changes."""

from __future__ import annotations

from typing import Any

from ...dataset.inspect.runs import RunInfo, list_runs
from .cache import remembered


def known_runs(dataset: Any) -> list[RunInfo]:
    """The last run of each field that is still there, the latest first."""
    runs = remembered(dataset, "", _all)
    if any(run.state == "running" for run in runs):
        # It may have been killed meanwhile, which changes nothing of what is kept.
        runs = list_runs(dataset)
    return [run for run in runs if dataset.get_field(run.label_field) is not None]


def _all(dataset: Any, name: str) -> list[RunInfo]:
    return list_runs(dataset)
