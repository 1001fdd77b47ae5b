"""Options that every call of pytest knows, wherever it starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

# Before anything imports fiftyone or torch.
from tests import fiftyone_database, shared_cores  # noqa: F401


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Proposals are kept below a folder of the tests, not in the cache of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NTT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        type=lambda folder: Path(folder).resolve(),
        metavar="FOLDER",
        help="golden data of the authors' algorithm: tests/parity compares every step with it",
    )
    parser.addoption(
        "--screenshots",
        type=lambda folder: Path(folder).resolve(),
        metavar="FOLDER",
        help="where tests/e2e writes its pictures of the App (default: below pytest's own folder)",
    )
