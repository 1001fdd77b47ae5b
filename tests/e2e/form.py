"""An operator's window in the App: its form, its progress bar, the page that it ends with."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.e2e.server import PATIENCE


class Form:
    """The window that is open now.

    Args:
        page: the page it is open in.
        title: the operator's label.

    Attributes:
        window: the form.
        run: the window that takes its place: the progress bar, then the page at the end.
    """

    def __init__(self, page: Page, title: str) -> None:
        self.page = page
        self.title = title
        self.window = page.locator("[data-cy=operators-prompt-modal]")
        self.run = page.locator("[data-cy=operators-prompt-view-modal]")

    def wait(self) -> None:
        """Wait until its fields are there."""
        self.window.get_by_text(self.title, exact=True).first.wait_for()
        self.window.locator("form p, form [role=alert]").first.wait_for()

    def text(self) -> str:
        """All that a person can read in it."""
        return self.window.inner_text()

    def labels(self) -> list[str]:
        """The first line of every field."""
        return self.window.locator("form .MuiStack-root p:first-child").all_inner_texts()

    def errors(self) -> list[str]:
        """What its red boxes say."""
        return self.window.locator(".MuiAlert-standardError").all_inner_texts()

    def fits(self) -> bool:
        """Whether all of it is seen at once, without scrolling."""
        script = "content => content.scrollHeight <= content.clientHeight + 1"
        return bool(self.window.locator(".MuiDialogContent-root").evaluate(script))

    def field(self, label: str) -> Locator:
        """A field with its label, its description and its error."""
        words = self.page.locator("p", has_text=re.compile(rf"^{re.escape(label)}$"))
        return self.window.locator(".MuiGrid-item", has=words).last

    def wait_for(self, words: str) -> None:
        """Wait until it says these words."""
        self.window.get_by_text(words).first.wait_for()

    def fill(self, label: str, text: str) -> None:
        """Type into a field in place of what stands there."""
        self.field(label).get_by_role("textbox").fill(text)

    def fill_number(self, label: str, text: str) -> None:
        """Type a number into a field in place of what stands there."""
        self.field(label).get_by_role("spinbutton").fill(text)

    def choose_target(self, words: str) -> None:
        """Choose what to work on, where there is a choice."""
        self.window.get_by_role("radio", name=words).check()

    def choose(self, label: str, words: str) -> None:
        """Choose from a list the entry that begins with these words."""
        self.field(label).get_by_role("combobox").click()
        entry = re.compile(rf"^{re.escape(words)}")
        self.page.get_by_role("option", name=entry).click()

    def tick(self, label: str) -> None:
        """Tick a box, or turn a switch on."""
        self.field(label).locator("input[type=checkbox]").check()

    def untick(self, label: str) -> None:
        """Take a tick away."""
        self.field(label).locator("input[type=checkbox]").uncheck()

    def submit(self, words: str) -> None:
        """Press the button that runs it, once it can be pressed."""
        button = self.button(words)
        expect(button).to_be_enabled(timeout=1000 * PATIENCE)
        button.click()

    def cannot_be_run(self, words: str) -> None:
        """See that the button that runs it cannot be pressed."""
        expect(self.button(words)).to_be_disabled(timeout=1000 * PATIENCE)

    def button(self, words: str) -> Locator:
        """A button of the form."""
        return self.window.get_by_role("button", name=words, exact=True)

    def schedule(self) -> None:
        """Choose "Schedule" beside the button, and press it."""
        self.window.locator("button[aria-haspopup=menu]").click()
        self.page.get_by_role("menuitem").filter(has_text="Schedule").click()
        self.submit("Schedule")

    def wait_for_progress(self, words: re.Pattern[str]) -> None:
        """Wait until the progress bar says these words."""
        self.run.get_by_text(words).wait_for()

    def wait_for_end(self, words: str) -> str:
        """Wait for the page at the end of a run, which says these words; all that it says."""
        message = self.run.get_by_role("alert").first
        message.wait_for()
        assert words in message.inner_text(), self.run.inner_text()
        return self.run.inner_text()

    def press(self, words: str, timeout: float | None = None) -> None:
        """Press a button of the page at the end, within some milliseconds."""
        self.run.get_by_role("button", name=words, exact=True).click(timeout=timeout)

    def close(self) -> None:
        """Close the page at the end of a run."""
        self.press("Done")
        self.run.wait_for(state="detached")

    def cancel(self) -> None:
        """Close the form."""
        self.window.get_by_role("button", name="Cancel").click()
        self.window.wait_for(state="detached")
