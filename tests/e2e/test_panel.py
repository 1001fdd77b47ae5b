"""Each part of the panel Memory banks."""

import re
from collections.abc import Iterator

import fiftyone as fo
import pytest
from playwright.sync_api import Locator, expect

import ntt_plugin as ntt
from tests.e2e.app_page import WINDOW, AppPage, until_shown
from tests.e2e.datasets import add_work
from tests.e2e.server import PATIENCE

NAME = "memory_banks"


@pytest.fixture(scope="module")
def dataset(clone) -> fo.Dataset:
    dataset = clone()
    add_work(dataset)
    return dataset


@pytest.fixture(scope="module")
def opened(shared_tab: AppPage) -> Locator:
    """The panel, beside the grid."""
    return shared_tab.panel(NAME)


@pytest.fixture
def panel(opened: Locator) -> Locator:
    """The panel at its list of banks."""
    # The page of a bank has no such button: a click before it is gone would be lost.
    press(opened, "Banks", opened.get_by_role("button", name="Import memory bank"))
    return opened


@pytest.fixture
def bank(panel: Locator) -> Locator:
    """The panel at the page of the bank."""
    press(panel, "Open", panel.get_by_role("button", name="All banks"))
    panel.locator("img").first.wait_for()
    return panel


@pytest.fixture
def wide(tab: AppPage) -> Iterator[None]:
    """A window in which the grid's buttons have room beside the panel."""
    tab.page.set_viewport_size({**WINDOW, "width": 2400})
    yield
    tab.page.set_viewport_size(WINDOW)


def press(panel: Locator, words: str, shows: Locator | None = None) -> None:
    """Press a button, and wait for what it shows."""
    button = panel.get_by_role("button", name=words, exact=True).first
    if shows is None:
        button.click()
    else:
        until_shown(lambda timeout: button.click(timeout=timeout), shows)


def test_banks_are_listed_with_what_they_hold(panel, tab, dataset):
    held = ntt.load_memory_bank(dataset, "shapes")
    words = f"{len(held.classes)} classes, {len(held)} references · preset tiny"
    panel.get_by_text(words).wait_for()
    tab.shoot("panel_banks")


def test_a_bank_shows_each_reference_as_a_picture(bank, tab, dataset):
    pictures = bank.locator("img[alt^='A reference of']")
    tab.wait_for_pictures(pictures)
    tab.shoot("panel_bank")
    assert pictures.count() == len(ntt.load_memory_bank(dataset, "shapes"))


def test_remove_beside_a_reference_opens_the_form_filled_in(bank, tab):
    press(bank, "Remove")
    form = tab.form("Remove references")
    form.wait_for("Will take out of 'shapes'")
    tab.shoot("panel_remove")
    form.cancel()


def test_a_cell_of_the_heat_map_shows_the_two_classes(bank, tab):
    drawn = bank.locator(".js-plotly-plot .nsewdrag").first
    drawn.scroll_into_view_if_needed()
    drawn.click(position={"x": 30, "y": 60})
    tab.page.locator("[data-cy=entry-counts]").filter(
        has_not_text=re.compile(r"^\s*8 samples")
    ).wait_for()
    tab.wait_for_grid()
    tab.shoot("panel_heat_map")
    tab.clear_view()


def test_runs_are_listed_and_scored(panel, tab, dataset):
    dataset.reload()
    labels = dataset.count("ntt.detections")
    press(panel, "Runs", panel.get_by_text(f"{labels} labels in 4 images"))
    press(panel, "Open", panel.get_by_text("ntt_eval: mask AP"))
    press(panel, "Scores by class", panel.locator(".js-plotly-plot").first)
    tab.shoot("panel_run")


def test_a_selected_prediction_stands_beside_its_reference(panel, wide, tab):
    tab.show_patches("ntt")
    tab.select_sample(0)
    pictures = panel.get_by_role("img", name=re.compile("This prediction|The reference"))
    expect(pictures).to_have_count(2, timeout=1000 * PATIENCE)
    tab.wait_for_pictures(pictures)
    tab.shoot("panel_cause")
    tab.clear_selection()
    tab.clear_view()


def test_alt_click_marks_a_negative(panel, wide, tab, dataset):
    tab.show_patches("ntt")
    tab.select_sample(0)
    tab.select_sample(1, alt=True)
    form = tab.operator("Add references")
    form.wait_for("those selected with Alt")
    tab.shoot("alt_click")
    form.submit("Add")
    form.wait_for_end("1 label tagged 'negative'")
    form.close()
    tab.clear_selection()
    tab.clear_view()
    dataset.reload()
    assert dataset.count_label_tags("ntt_references") == {"reference": 1, "negative": 1}
