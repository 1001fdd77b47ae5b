"""Options that every call of pytest knows, wherever it starts."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before anything imports fiftyone or torch.
from tests import fiftyone_database, shared_cores  # noqa: F401
from tests.e2e.chromium import NO_CHROMIUM


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Proposals are kept below a folder of the tests, not in the cache of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NTT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Say below pytest's own summary that tests were skipped for want of a browser."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    skipped = [r for r in reporter.stats.get("skipped", []) if NO_CHROMIUM in str(r.longrepr)]
    if skipped:
        reporter.write_line(
            f"{len(skipped)} tests that drive the App were skipped: {NO_CHROMIUM}. To have them, "
            "install one, such as Debian's: apt-get install chromium",
            yellow=True,
        )


# Handed to the workers first: a long file that comes last leaves the other worker idle.
LONGEST = (
    "journeys/test_journeys.py",
    "worker/test_ray.py",
    "docs/test_tutorial.py",
    "parity/test_end_to_end.py",
    "examples/test_examples.py",
    "bad_input/test_run_rows.py",
    "app/operators/test_runs.py",
    "app/runtime/test_operator.py",
)


def pytest_configure(config: pytest.Config) -> None:
    # pytest-xdist would begin with the files that hold the most tests, however short they are.
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


def pytest_collection_finish() -> None:
    # The million objects of imported code are no garbage: a collection need not search them.
    gc.freeze()


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
