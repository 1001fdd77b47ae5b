"""A bank is tried on a few images in the background; nothing is written."""

import time

import fiftyone as fo
import numpy as np
import pytest

from ntt_plugin.dataset.review.try_bank import Trial, TriedImage
from ntt_plugin.engine.matching.match import Instances
from tests.app.driver import loaded
from tests.app.panel_driver import PanelOnScreen

PATIENCE = 120


@pytest.fixture
def panel(plugin, dataset):
    return PanelOnScreen(dataset)


def wait(panel: PanelOnScreen) -> None:
    """Look again, as the panel's clock does, until the trial is over."""
    deadline = time.monotonic() + PATIENCE
    while "Stop" in panel.buttons():
        assert time.monotonic() < deadline
        time.sleep(0.2)
        panel.event("look")


def as_stored(dataset: fo.Dataset) -> tuple:
    found = fo.load_dataset(dataset.name)
    changed = max(found.values("last_modified_at"))
    return list(found.get_field_schema()), found.list_runs(), changed, found.last_modified_at


def slider(panel: PanelOnScreen) -> str:
    names = panel.shown["type"]["properties"]
    return next(name for name in names if name.startswith("confidence_"))


def kept(panel: PanelOnScreen) -> int:
    [line] = [line for line in panel.text().splitlines() if " of a confidence of " in line]
    return int(line.split()[0].replace(",", ""))


def test_pictures_come_and_nothing_is_written(panel, dataset):
    before = as_stored(dataset)
    panel.click("Try on 6 images")
    wait(panel)
    pictures = [part for part in panel.parts() if part["view"]["name"] == "ImageView"]
    assert len(pictures) == len(dataset)
    assert as_stored(dataset) == before


def test_the_slider_hides_what_is_less_sure(panel):
    panel.click("Try on 6 images")
    wait(panel)
    numbers = []
    for least in (0.0, 0.5, 1.0):
        panel.state[slider(panel)] = least
        panel.event("move_confidence")
        numbers.append(kept(panel))
    assert numbers[0] > numbers[1] > numbers[2] == 0


def test_selected_images_are_tried(panel, dataset):
    panel.request["selected"] = dataset.values("id")[:2]
    panel.click("Try on 6 images")
    wait(panel)
    pictures = [part for part in panel.parts() if part["view"]["name"] == "ImageView"]
    assert len(pictures) == 2


def test_when_all_were_tried_it_begins_again_and_says_so(panel, dataset):
    panel.click("Try on 6 images")
    wait(panel)
    panel.click("6 others")
    wait(panel)
    assert "tried already" in panel.text()
    pictures = [part for part in panel.parts() if part["view"]["name"] == "ImageView"]
    assert len(pictures) == len(dataset)


def test_pictures_stay_where_no_new_ones_come(panel, dataset):
    panel.click("Try on 6 images")
    wait(panel)
    panel.request["view"] = dataset.match_tags("no image has it")._serialize()
    panel.click("6 others")
    wait(panel)
    shown = [part["view"]["name"] for part in panel.parts()]
    assert "Error" in shown and shown.count("ImageView") == len(dataset)


@pytest.mark.parametrize("narrowed", [False, True])
def test_segment_all_segments_what_the_selected_images_are_of(narrowed, plugin, panel, dataset):
    ids = dataset.values("id")
    view = dataset.limit(4) if narrowed else None
    if view is not None:
        panel.request["view"] = view._serialize()
    panel.request["selected"] = ids[:2]
    panel.click("Try on 6 images")
    wait(panel)
    panel.click("Segment all")
    [asked] = panel.asked("prompt_user_for_operation")
    params = {**asked["params"], "label_field": "fresh"}
    form = plugin.form(
        dataset,
        "segment_with_memory_bank",
        view=view,
        params=params,
        selected=ids[:2],
        selected_samples=[{"id": one, "type": "default"} for one in ids[:2]],
    )
    assert form.errors == {}
    assert f"of {4 if narrowed else len(dataset)} images" in form.said("will_do")


def test_a_picture_has_the_class_colour_under_the_mask_alone(plugin, tmp_path):
    from PIL import Image

    from ntt_plugin.dataset.inspect.trial_pictures import class_colour, trial_picture

    path = tmp_path / "grey.png"
    Image.new("RGB", (40, 20), (100, 100, 100)).save(path)
    one = np.ones((10, 10), bool)
    score = np.float32([0.9])
    found = Instances(
        [one], np.array([[0, 0, 10, 10]]), score, ["cat"], score, score, ["a"], (20, 40)
    )
    tried = TriedImage("sample", str(path), found)
    assert Trial("bank", [tried]).images == [tried]
    drawn = np.asarray(Image.open(trial_picture(tried, ["dog", "cat"], 0.5, 40))).astype(int)
    expected = 0.45 * 100 + 0.55 * np.array(class_colour(["dog", "cat"], "cat"))
    assert np.abs(drawn[4, 4] - expected).max() < 6
    assert np.abs(drawn[15, 30] - 100).max() < 6
    hidden = np.asarray(Image.open(trial_picture(tried, ["dog", "cat"], 0.95, 40))).astype(int)
    assert np.abs(hidden - 100).max() < 6


def test_after_a_new_start_of_the_server_it_says_that_the_pictures_are_gone(
    plugin, panel, monkeypatch
):
    panel.click("Try on 6 images")
    wait(panel)
    monkeypatch.setattr(loaded(plugin, "app.panel.trial"), "_jobs", {})
    panel.event("refresh")
    assert "pictures of the last trial are gone" in panel.text()
    assert "Try on 6 images" in panel.buttons()


def test_before_the_first_trial_nothing_is_said_to_be_gone(panel):
    panel.event("go", to={"tab": "banks", "bank": "shapes", "shown": "try"})
    assert "gone" not in panel.text()
