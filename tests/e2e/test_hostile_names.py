"""A stranger's names in the App: shown as they are written, nothing fetched, no link."""

from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import pytest

from tests.app.hostile import NAMES, PORT, export_hostile, make_hostile
from tests.e2e.app_page import AppPage


@pytest.fixture(scope="module")
def dataset(clone) -> fo.Dataset:
    dataset = clone()
    make_hostile(dataset)
    return dataset


@pytest.fixture
def asked(tab: AppPage) -> Iterator[list[str]]:
    """The stranger's addresses that the browser asked for."""
    addresses: list[str] = []

    def note(request):
        if PORT in request.url:
            addresses.append(request.url)

    tab.page.on("request", note)
    yield addresses
    tab.page.remove_listener("request", note)


def assert_harmless(tab: AppPage, asked: list[str], shown: str) -> None:
    """Nothing of a stranger's is a link or a picture; its words are there as they are."""
    assert NAMES[0] in shown.replace("\u2060", "")
    for tag, attribute in (("a", "href"), ("img", "src")):
        found = tab.page.locator(f"{tag}[{attribute}*='{PORT}'], {tag}[{attribute}*='example']")
        assert found.count() == 0, found.first.evaluate("element => element.outerHTML")
    assert asked == []


def test_a_banks_file_is_shown_as_soon_as_its_path_is_typed(tab, dataset, asked, tmp_path: Path):
    form = tab.operator("Import memory bank")
    form.fill("File", str(export_hostile(dataset, tmp_path)))
    form.wait_for("made with the preset tiny")
    tab.shoot("hostile_import")
    assert_harmless(tab, asked, form.text())
    form.cancel()


FORMS = {
    "Merge memory banks": {},
    "Save thresholds": {},
    "Segment with memory bank": {},
    "Add references": {},
    "Delete memory bank": {},
}


@pytest.mark.parametrize("title", FORMS)
def test_a_form_shows_names_as_they_are(title, tab, asked):
    form = tab.operator(title)
    if title == "Merge memory banks":
        field = form.field("Memory banks").get_by_role("combobox")
        for name in ("hostile", "second"):
            field.click()
            tab.page.get_by_role("option", name=name).first.click()
        form.fill("New name", "both")
        form.wait_for("Will hold up to")
    else:
        form.wait_for("127.0.0.1")
    tab.shoot(f"hostile_{title.lower().replace(' ', '_')}")
    assert_harmless(tab, asked, form.text())
    form.cancel()


def test_a_page_at_the_end_shows_names_as_they_are(tab, asked):
    form = tab.operator("Get memory bank info")
    form.submit("Show")
    form.wait_for_end("second")  # the newest bank, with the same names in it
    tab.shoot("hostile_end")
    assert_harmless(tab, asked, form.run.inner_text())
    form.close()


def test_the_panel_shows_names_as_they_are(tab, asked):
    panel = tab.panel("memory_banks")
    panel.get_by_text("127.0.0.1").first.wait_for()
    assert_harmless(tab, asked, panel.inner_text())
    panel.get_by_role("button", name="Open", exact=True).first.click()
    panel.get_by_role("button", name="All banks").wait_for()
    panel.locator("img").first.wait_for()
    tab.shoot("hostile_panel")
    assert_harmless(tab, asked, panel.inner_text())
