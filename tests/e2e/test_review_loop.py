"""From boxes to exported masks by clicks alone: masks, bank, trial, run, review, second pass.

The clicks are counted: at most 25 to the second pass beside the review, at most 12 for the review
of 100 labels. Clicks and seconds are kept as ``review_clicks.json`` beside the pictures.
"""

import json
import re
import time

import fiftyone as fo
import pytest
from playwright.sync_api import Locator

import ntt_plugin as ntt
from ntt_plugin.dataset.review.queue import PAGE_SIZE
from tests.e2e.app_page import WINDOW, AppPage
from tests.e2e.datasets import add_boxes
from tests.e2e.server import PATIENCE

NAME = "memory_banks"
CLASSES = 4
COPIES = 2
"""How often each image is there without labels: so many that there are 100 labels to judge."""
PAGES = {
    "actions": ["Actions"],
    "review": ["Review"],
    "run": ["Runs", "Open"],
    "thresholds": ["Thresholds"],
    "bank": ["Banks", "Open"],
    "try": ["Try it"],
}
"""Pages of the panel, and the buttons that lead to each from the one before."""
_HIDDEN = "content => content.scrollWidth - content.clientWidth"
_COUNT_CLICKS = """() => {
    window.clicks = 0;
    window.addEventListener('pointerdown', event => { if (event.isTrusted) window.clicks++ }, true);
}"""


@pytest.fixture(scope="module")
def dataset(clone) -> fo.Dataset:
    """Boxes of four classes on eight images, no mask; and images without labels."""
    dataset = clone()
    add_boxes(dataset)
    # A name such as "yellow plain triangle" has its pattern in the middle.
    patterns = {label: label.split()[1] for label in dataset.distinct("boxes.detections.label")}
    dataset.map_labels("boxes", patterns).save(fields="boxes")
    assert len(dataset.distinct("boxes.detections.label")) == CLASSES
    dataset.delete_sample_field("ground_truth")
    copies = [fo.Sample(filepath=path) for path in COPIES * dataset.values("filepath")]
    dataset.add_samples(copies)
    return dataset


class Clicks:
    """Counts what a person clicks, and the seconds; kept by the step that they were for."""

    def __init__(self, tab: AppPage) -> None:
        self.tab = tab
        self.steps: dict[str, dict[str, float]] = {}
        tab.page.evaluate(_COUNT_CLICKS)
        self._clicks, self._time = 0, time.monotonic()

    def keep(self, step: str, **more: int) -> int:
        """Keep what there was since the last step; gives the clicks."""
        now, total = time.monotonic(), int(self.tab.page.evaluate("() => window.clicks"))
        clicks, seconds = total - self._clicks, round(now - self._time, 1)
        self._clicks, self._time = total, now
        self.steps[step] = {"clicks": clicks, "seconds": seconds, **more}
        words = json.dumps({"classes": CLASSES, "steps": self.steps}, indent=1)
        (self.tab.shots / "review_clicks.json").write_text(words + "\n")
        print(f"{step}: {clicks} clicks, {seconds} s")
        return clicks

    def total(self) -> int:
        """All clicks that were kept."""
        return int(sum(step["clicks"] for step in self.steps.values()))


@pytest.fixture(scope="module")
def clicks(shared_tab: AppPage) -> Clicks:
    return Clicks(shared_tab)


@pytest.fixture(scope="module")
def panel(shared_tab: AppPage, clicks: Clicks) -> Locator:
    return shared_tab.panel(NAME)


@pytest.fixture(scope="module")
def built(shared_tab: AppPage, panel: Locator, clicks: Clicks) -> None:
    """The bank, of masks cut out of the boxes."""
    press(panel, "Masks from boxes")
    form = shared_tab.form("Masks from boxes")
    form.choose("Preset", "tiny")
    form.wait_for("into 'boxes_masks' of 8 images")
    assert "dinov2" not in form.text().lower()
    form.submit("Fill masks")
    form.wait_for_end("in the field 'boxes_masks'")
    shared_tab.shoot("review_1_masks")
    form = shared_tab.next_step("Build a memory bank", "Build memory bank")
    form.wait_for("Will save the bank 'bank'")
    assert "tiny" in form.field("Preset").inner_text()
    shared_tab.shoot("review_2_build")
    form.submit("Build")
    form.wait_for_end("The memory bank 'bank' is ready")
    form.close()
    clicks.keep("masks and bank")


@pytest.fixture(scope="module")
def tried(shared_tab: AppPage, panel: Locator, clicks: Clicks, built: None) -> Locator:
    """Six images that the bank was tried on, nothing written."""
    press(panel, "Try on 6 images")
    panel.get_by_text(re.compile("of a confidence of")).wait_for()
    shared_tab.wait_for_pictures(panel.locator("img"))
    shared_tab.shoot("review_3_tried")
    clicks.keep("trial")
    return panel


@pytest.fixture(scope="module")
def segmented(shared_tab: AppPage, clicks: Clicks, tried: Locator) -> int:
    """Clicks until the first pass is done."""
    press(tried, "Segment all")
    form = shared_tab.form("Segment with memory bank")
    form.wait_for("Will write labels into 'ntt'")
    form.submit("Segment")
    form.wait_for_end("in the field 'ntt'")
    form.close()
    clicks.keep("first pass")
    return clicks.total()


@pytest.fixture(scope="module")
def reviewed(
    shared_tab: AppPage, panel: Locator, clicks: Clicks, segmented: int
) -> tuple[int, int]:
    """Labels judged and clicks for them: a few pages, one label of the first is called wrong."""
    press(panel, "Review")
    clicks.keep("to the review")
    judged = 0
    press(panel, re.compile("^Show the first"))
    while judged < 100:
        shared_tab.page.locator("[data-cy=entry-counts]").get_by_text("patch").wait_for()
        shared_tab.wait_for_grid()
        panel.get_by_role("button", name=re.compile("^Next: .* 0 wrong")).wait_for()
        if judged == 0:
            shared_tab.shoot("review_4_page")
            shared_tab.select_sample(1)
            panel.get_by_role("button", name=re.compile("^Next: .* 1 wrong")).wait_for()
            shared_tab.shoot("review_4_clicked")
        words = panel.get_by_role("button", name=re.compile("^Next: ")).inner_text()
        judged += sum(int(number) for number in re.findall(r"\d+", words))
        press(panel, re.compile("^Next: "))
        try:
            panel.get_by_text(re.compile(rf"^{judged:,} of [\d,]+ labels")).first.wait_for()
        except Exception:
            shared_tab.shoot("review_stuck")
            raise
    shared_tab.shoot("review_5_reviewed")
    return judged, clicks.keep("review", labels=judged)


@pytest.fixture(scope="module")
def second_pass(
    shared_tab: AppPage, panel: Locator, clicks: Clicks, reviewed: tuple[int, int]
) -> int:
    """Clicks for what follows on the review, up to the end of the second pass."""
    press(panel, "Negatives from rejected")
    form = shared_tab.form("Teach review")
    form.submit("Teach")
    form.wait_for_end("tagged 'negative'")
    form = shared_tab.next_step("Segment again", "Segment with memory bank")
    form.submit("Segment")
    form.wait_for_end("in the field 'ntt'")
    form.close()
    return clicks.keep("negatives and second pass")


@pytest.fixture(scope="module")
def exported(
    shared_tab: AppPage, panel: Locator, clicks: Clicks, second_pass: int, tmp_path_factory
) -> dict:
    """The COCO file of the accepted labels."""
    path = tmp_path_factory.mktemp("export") / "labels.json"
    press(panel, "Accept")
    form = shared_tab.form("Accept labels")
    form.wait_for("approved into 'accepted'")
    form.submit("Accept")
    form.wait_for_end("into 'accepted'")
    shared_tab.shoot("review_6_accepted")
    form = shared_tab.next_step("Export labels", "Export labels")
    form.fill("Path", "labels.json")
    shared_tab.shoot("review_7_export")
    form.fill("Path", str(path))
    form.submit("Export")
    form.wait_for_end("written to")
    form.close()
    clicks.keep("accepted and exported")
    return json.loads(path.read_text())


def press(panel: Locator, words: str | re.Pattern[str]) -> None:
    exact = isinstance(words, str)
    button = panel.get_by_role("button", name=words, exact=exact).first
    button.click(timeout=1000 * PATIENCE)


def test_a_trial_writes_nothing(tried, dataset):
    dataset.reload()
    assert set(ntt.list_memory_banks(dataset)) == {"bank"}


def test_a_hundred_labels_take_a_dozen_clicks(reviewed):
    judged, clicks = reviewed
    assert judged >= 100
    assert clicks <= 12, f"{clicks} clicks for {judged} labels"


def test_what_was_clicked_is_rejected_and_the_rest_approved(reviewed, dataset):
    dataset.reload()
    states = dataset.count_values("ntt.detections.review")
    assert states["rejected"] == 1
    assert states["approved"] == reviewed[0] - 1


def test_the_second_pass_takes_few_clicks(segmented, second_pass):
    # The button of the page Review, beside those that were counted.
    total = segmented + 1 + second_pass
    assert total <= 25


def test_the_second_pass_keeps_what_was_approved(reviewed, second_pass, dataset):
    dataset.reload()
    assert dataset.count_values("ntt.detections.review")["approved"] == reviewed[0] - 1


def test_the_export_holds_the_approved_labels(reviewed, exported):
    assert len(exported["annotations"]) == reviewed[0] - 1
    assert len(exported["images"]) == 8 * (1 + COPIES)
    assert reviewed[0] > 4 * PAGE_SIZE


def test_a_panel_that_is_opened_again_takes_the_last_page_back(shared_tab, exported, dataset):
    dataset.reload()
    before = dataset.count_values("ntt.detections.review")["approved"]
    shared_tab.close_panel(NAME)
    panel = shared_tab.panel(NAME)
    press(panel, "Review")
    press(panel, "Undo")
    shared_tab.page.get_by_text(re.compile("^Taken back: ")).first.wait_for()
    dataset.reload()
    assert dataset.count_values("ntt.detections.review")["approved"] < before
    shared_tab.shoot("review_8_taken_back")


@pytest.mark.parametrize("width", [1400, 1000])
def test_each_page_has_room_beside_the_grid(shared_tab, exported, width):
    shared_tab.page.set_viewport_size({**WINDOW, "width": width})
    panel = shared_tab.page.locator(f"[data-cy=panel-content-{NAME}]")
    for words, way in PAGES.items():
        for button in way:
            press(panel, button)
        shared_tab.page.wait_for_timeout(2000)
        shared_tab.shoot(f"page_{words}_{width}")
        assert panel.evaluate(_HIDDEN) <= 1, words
