"""Pools of stub workers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ntt_plugin.worker.dispatcher import LostItem, dispatch
from ntt_plugin.worker.local_processes import LocalPool

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def stubs_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import ``tests.worker.stubs``."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def local() -> Iterator[Callable[..., LocalPool]]:
    """Makes local pools of stubs; the dispatcher closes them."""

    def make(size: int, stub: str = "Echo", spec: bytes = b"", **options: object) -> LocalPool:
        return LocalPool(size, f"tests.worker.stubs:{stub}", spec, **options)

    yield make


def results(items: list[str], pool, **options) -> dict[int, str | LostItem]:
    """Results of texts by their positions; each must come once."""
    found: dict[int, str | LostItem] = {}
    stream = ((number, text.encode()) for number, text in enumerate(items))
    for key, result in dispatch(stream, pool, **options):
        assert key not in found
        found[key] = result if isinstance(result, LostItem) else result.decode()
    return found
