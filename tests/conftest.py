"""Options that every call of pytest knows, wherever it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import fiftyone_database  # noqa: F401  (before anything imports fiftyone)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        type=lambda folder: Path(folder).resolve(),
        metavar="FOLDER",
        help="golden data of the authors' algorithm: tests/parity compares every step with it",
    )
