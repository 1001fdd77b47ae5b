"""A browser, a server for each file of scenarios, and datasets to work on."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import pytest
from playwright.sync_api import Browser, sync_playwright

from ntt_plugin.demo.dataset import make_dataset
from tests.e2e.app_page import AppPage
from tests.e2e.chromium import NO_CHROMIUM, OPTIONS, find_chromium
from tests.e2e.datasets import add_boxes, add_work
from tests.e2e.server import Server


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of an installed Chromium or Chrome."""
    path = find_chromium()
    if path is None:
        pytest.skip(NO_CHROMIUM)
    return path


@pytest.fixture(scope="module")
def browser(chromium: str, server: Server) -> Iterator[Browser]:
    """A headless browser, for one file: Playwright's event loop must not outlive these tests.

    It is closed before the server, which would wait for the pages that are open.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(
    chromium: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The App's server, fresh for each file; with ``SCHEDULING`` in it, for a worker too."""
    scheduling = getattr(request.module, "SCHEDULING", False)
    server = Server(tmp_path_factory.mktemp("server"), scheduling)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shots(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for pictures: that of ``--screenshots``, else one of pytest's."""
    folder: Path = request.config.getoption("--screenshots") or tmp_path_factory.mktemp("shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def new_tab(browser: Browser, server: Server, shots: Path) -> Callable[[], AppPage]:
    """Gives a function that opens one more tab, as another browser would."""
    return lambda: AppPage(browser.new_context().new_page(), server.url, shots)


@pytest.fixture(scope="module")
def shared_tab(new_tab: Callable[[], AppPage], dataset: fo.Dataset) -> AppPage:
    """One tab for a file whose fixture ``dataset`` is one for all its tests."""
    tab = new_tab()
    tab.open(dataset.name)
    return tab


@pytest.fixture
def tab(shared_tab: AppPage) -> Iterator[AppPage]:
    """The file's tab; a window that a failed test left open does not fail the next one."""
    yield shared_tab
    shared_tab.close_windows()


@pytest.fixture
def app(new_tab: Callable[[], AppPage]) -> Iterator[AppPage]:
    """A tab with the App, no dataset opened yet."""
    tab = new_tab()
    yield tab
    tab.close()


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fo.Dataset]:
    """Eight scenes with masks in ``ground_truth``: four tagged ``pool``, four ``target``."""
    name = f"e2e_{uuid.uuid4().hex[:8]}"
    dataset = make_dataset(tmp_path_factory.mktemp("scenes"), pool=4, targets=4, name=name)
    yield dataset
    fo.delete_dataset(name)


@pytest.fixture(scope="session")
def worked_on(scenes: fo.Dataset) -> Iterator[fo.Dataset]:
    """The scenes with a bank ``shapes`` of those tagged ``pool``, predictions in ``ntt``, boxes."""
    dataset = scenes.clone(f"{scenes.name}_worked_on", persistent=True)
    add_work(dataset)
    add_boxes(dataset)
    yield dataset
    fo.delete_dataset(dataset.name)


@pytest.fixture(scope="module")
def clone(scenes: fo.Dataset) -> Iterator[Callable[[], fo.Dataset]]:
    """Gives a function that makes a copy of the scenes to do as one likes with."""
    names = []

    def copy() -> fo.Dataset:
        names.append(f"scenes_{uuid.uuid4().hex[:8]}")
        return scenes.clone(names[-1], persistent=True)

    yield copy
    for name in names:
        fo.delete_dataset(name)
