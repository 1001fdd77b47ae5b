"""The bank that something was made with, and whether it is still the same."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ...dataset.banks.banks import get_memory_bank_info, list_memory_banks
from ...errors import NttError
from ..text import escaped


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
        # A bank that cannot be read is told of on its own page.
        with suppress(NttError):
            if get_memory_bank_info(dataset, bank).version != version:
                words += ", which was changed since"
    return words
