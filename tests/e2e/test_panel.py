"""The panel Memory banks: its list of banks, and the page of one."""

from __future__ import annotations

import re

import fiftyone as fo
import pytest
from playwright.sync_api import Locator

import ntt_plugin as ntt
from tests.e2e.app_page import AppPage
from tests.e2e.datasets import add_work

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
    press(opened, "Banks")
    opened.get_by_text("preset tiny").wait_for()
    return opened


@pytest.fixture
def bank(panel: Locator) -> Locator:
    """The panel at the page of the bank."""
    press(panel, "Open")
    panel.get_by_role("button", name="All banks").wait_for()
    panel.locator("img").first.wait_for()
    return panel


def press(panel: Locator, words: str) -> None:
    panel.get_by_role("button", name=words, exact=True).first.click()


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
