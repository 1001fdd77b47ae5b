"""The thresholds that a bank keeps."""

from __future__ import annotations

from typing import Any

from ...dataset.banks import list_memory_banks, load_memory_bank
from .remembered import remembered


def thresholds_of(dataset: Any, bank: str) -> dict[str, float]:
    """The thresholds of a saved bank by class; none where the bank is gone."""
    if bank not in list_memory_banks(dataset):
        return {}
    return dict(remembered(dataset, bank, load_memory_bank).thresholds)
