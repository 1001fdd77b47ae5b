"""A page of the App, driven as a person does: by what is seen, clicked and typed."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as NotInTime

from tests.app.driver import NAME
from tests.e2e.form import Form
from tests.e2e.server import PATIENCE

WINDOW = {"width": 1400, "height": 900}
CHECKBOX = {"x": 14, "y": 14}
"""Where in a tile of the grid a click selects its sample."""
_PATIENCE_AGAIN = 10
"""Seconds after which a key or a button that shows nothing is pressed again."""

# Otherwise a pop-over about another product covers the first clicks.
_INIT_SCRIPT = "localStorage.setItem('fiftyone-enterprise-tooltip-seen', 'true')"
_TILES_LOADED = """() => {
    const tiles = [...document.querySelectorAll('[data-cy=fo-grid] [data-cy=looker] canvas')];
    return tiles.length > 0 && tiles.every(tile => tile.getAttribute('canvas-loaded') === 'true');
}"""


def until_shown(press: Callable[[float], object], shows: Locator) -> None:
    """Press a key or a button until it shows something.

    While a form goes, or while the App loads anew what a run changed, a key or a click can be
    lost: a person presses again, and so does this.

    Args:
        press: presses once, within the milliseconds that it is given.
        shows: what is to be seen then.
    """
    milliseconds = 1000 * _PATIENCE_AGAIN
    for _ in range(PATIENCE // _PATIENCE_AGAIN):
        with suppress(NotInTime):
            press(milliseconds)
        with suppress(NotInTime):
            shows.wait_for(timeout=milliseconds)
            return
    seen = shows.page.locator("body").inner_text()
    raise AssertionError(f"What was to be seen does not show: {shows}. The App shows:\n{seen}")


class AppPage:
    """One browser tab with the App.

    Args:
        page: a blank page.
        url: the server's address.
        shots: the folder for pictures.
    """

    def __init__(self, page: Page, url: str, shots: Path) -> None:
        self.page = page
        self.url = url
        self.shots = shots
        page.set_default_timeout(1000 * PATIENCE)
        page.set_viewport_size(WINDOW)
        page.add_init_script(_INIT_SCRIPT)

    @property
    def tiles(self) -> Locator:
        """The grid's samples."""
        return self.page.locator("[data-cy=fo-grid] [data-cy=looker]")

    def open(self, dataset: str) -> None:
        """Open a dataset and wait for its grid."""
        self.page.goto(f"{self.url}/datasets/{dataset}")
        self.wait_for_grid()

    def reload(self) -> None:
        """Load the page anew, as a person does whose tab hangs."""
        self.page.reload()
        self.wait_for_grid()

    def wait_for_grid(self) -> None:
        """Wait until every tile in sight is drawn."""
        self.page.wait_for_function(_TILES_LOADED)

    def entry_counts(self) -> str:
        """What the App says it shows: ``4 samples``, ``1 of 4 samples`` and so on."""
        return self.page.locator("[data-cy=entry-counts]").inner_text().strip()

    def wait_for_counts(self, text: str) -> None:
        """Wait until the App says that it shows this much."""
        counts = self.page.locator("[data-cy=entry-counts]")
        counts.filter(has_text=re.compile(rf"^\s*{re.escape(text)}\s*$")).wait_for()
        self.wait_for_grid()

    def select_sample(self, index: int, alt: bool = False) -> None:
        """Select a sample of the grid, with the Alt key if so wanted."""
        tile = self.tiles.nth(index)
        tile.hover()
        tile.click(position=CHECKBOX, modifiers=["Alt"] if alt else [])
        tile.locator(
            "[data-cy^=looker-checkbox-input] input:checked, input:checked"
        ).first.wait_for(state="attached")

    def open_sample(self, index: int) -> Locator:
        """Open a sample of the grid; the sample viewer."""
        self.tiles.nth(index).click()
        modal = self.page.locator("[data-cy=modal]")
        modal.locator("canvas[canvas-loaded=true]").wait_for()
        return modal

    def operator(self, title: str) -> Form:
        """Open an operator's form through the operator browser (the backtick key)."""
        self.open_operator_browser().fill(title)
        browser = self.page.locator("[data-cy=operators-browser]")
        browser.get_by_text(title, exact=True).click()
        return self.form(title)

    def open_operator_browser(self) -> Locator:
        """Open the operator browser; its field for a name."""
        search = self.page.get_by_placeholder("Search operations by name...")
        until_shown(lambda _: self.page.keyboard.press("Backquote"), search)
        return search

    def panel(self, name: str) -> Locator:
        """Open a panel beside the grid's tab; its content."""
        self.page.locator("[data-cy=new-panel-btn]").first.click()
        self.page.locator(f"[data-cy=new-panel-option-{name}]").click()
        content = self.page.locator(f"[data-cy=panel-content-{name}]")
        content.wait_for()
        return content

    def close_panel(self, name: str) -> None:
        """Close a panel with the cross on its tab."""
        tab = self.page.locator(f"[data-cy=panel-tab-{name}]")
        tab.locator("[data-testid=CloseIcon]").click()
        tab.wait_for(state="detached")
        self.wait_for_grid()

    def form(self, title: str) -> Form:
        """The operator's form that something has opened."""
        form = Form(self.page, title)
        form.wait()
        return form

    def button(self, operator: str, title: str) -> Form:
        """Open an operator's form with its button above the grid."""
        self.page.locator(f"[data-item-id='{NAME}/{operator}']").click()
        return self.form(title)

    def next_step(self, words: str, title: str) -> Form:
        """Press the button of an end page that opens the form of what comes next."""
        form = Form(self.page, title)
        self.wait_for_grid()
        until_shown(lambda timeout: form.press(words, timeout), form.window)
        form.wait()
        return form

    def show_patches(self, field: str) -> None:
        """Show the labels of a field one by one."""
        self.page.locator("[data-cy=action-clips-patches]").first.click()
        self.page.locator("[data-cy=popout]").get_by_text(field, exact=True).click()
        self.page.locator("[data-cy=entry-counts]").get_by_text("patches").wait_for()
        self.wait_for_grid()

    def clear_selection(self) -> None:
        """Take the selection of samples, or of patches, back."""
        self.page.locator("[data-cy=action-manage-selected]").first.click()
        self.page.get_by_text("Clear selected").first.click()
        self.page.locator("[data-cy=fo-grid] input:checked").first.wait_for(state="detached")

    def clear_view(self) -> None:
        """Show the whole dataset again."""
        self.page.locator("[data-cy=btn-clear-view-bar]").click()
        self.wait_for_grid()

    def wait_for_pictures(self, pictures: Locator) -> None:
        """Wait until pictures have come from the server."""
        for picture in pictures.all():
            picture.scroll_into_view_if_needed()
            self.page.wait_for_function(
                "image => image.complete && image.naturalWidth > 0", arg=picture.element_handle()
            )

    def close_windows(self) -> None:
        """Close a form or a page at the end of a run that something went wrong with."""
        if self.page.locator("[role=dialog]").count():
            self.reload()

    def close(self) -> None:
        """Close the tab."""
        self.page.context.close()

    def shoot(self, name: str) -> Path:
        """Save what the window shows."""
        path = self.shots / f"{name}.png"
        self.page.screenshot(path=path, animations="disabled")
        return path
