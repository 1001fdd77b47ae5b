"""Thresholds are moved by sliders; the grid shows what is kept, and the clock looks again."""

import fiftyone as fo
import pytest

import ntt_plugin as ntt
from tests.app.panel_driver import PanelOnScreen


@pytest.fixture
def panel(plugin, dataset):
    panel = PanelOnScreen(dataset)
    panel.event("go", to={"tab": "runs", "run": "ntt", "shown": "thresholds"})
    return panel


def sliders(panel: PanelOnScreen) -> list[str]:
    names = panel.shown["type"]["properties"]
    return [name for name in names if name.startswith("threshold_")]


def test_every_class_has_a_slider_and_at_first_all_is_kept(panel, dataset):
    total = dataset.count("ntt.detections")
    assert len(sliders(panel)) == len(dataset.distinct("ntt.detections.label"))
    assert f"{total} of {total} labels kept" in panel.text()


def test_the_grid_follows_a_slider_and_nothing_is_deleted(panel, dataset):
    total = dataset.count("ntt.detections")
    classes = sorted(dataset.distinct("ntt.detections.label"))
    panel.state[sliders(panel)[0]] = 0.3
    panel.event("move_thresholds", value=0.3)
    [asked] = panel.asked("set_view")
    view = fo.DatasetView._build(dataset, asked["view"])
    pairs = list(
        zip(
            dataset.values("ntt.detections.label", unwind=True),
            dataset.values("ntt.detections.confidence", unwind=True),
            strict=True,
        )
    )
    above = [score for label, score in pairs if label != classes[0] or score >= 0.3]
    assert view.count("ntt.detections") == len(above) < total
    assert f"{len(above)} of {total} labels kept" in panel.text()
    assert fo.load_dataset(dataset.name).count("ntt.detections") == total


def test_the_sliders_are_kept_with_the_bank(panel, dataset):
    for name in sliders(panel):
        panel.state[name] = 0.25
    panel.event("move_thresholds", value=0.25)
    panel.click("Keep with shapes")
    kept = ntt.get_memory_bank_info(dataset, "shapes").thresholds
    assert set(kept.values()) == {0.25}


def test_only_a_slider_that_was_moved_is_kept(plugin, dataset):
    bank = ntt.load_memory_bank(dataset, "shapes")
    bank.set_thresholds(dict.fromkeys(bank.classes, 0.123), dict.fromkeys(bank.classes, 0.9))
    ntt.save_memory_bank(dataset, "shapes", bank, overwrite=True)
    before = ntt.get_memory_bank_info(dataset, "shapes")
    panel = PanelOnScreen(dataset)
    panel.event("go", to={"tab": "runs", "run": "ntt", "shown": "thresholds"})
    for name in sliders(panel):  # as the App does once they are shown
        panel.state[name] = panel.shown["type"]["properties"][name]["default"]
    moved = sorted(dataset.distinct("ntt.detections.label"))[0]
    panel.state[sliders(panel)[0]] = 0.99
    panel.click("Keep with shapes")
    after = ntt.get_memory_bank_info(dataset, "shapes")
    assert after.thresholds == {**before.thresholds, moved: 0.99}
    recalls = {k: v for k, v in before.expected_recalls.items() if k != moved}
    assert after.expected_recalls == recalls and recalls


def test_a_class_that_the_bank_lacks_hinders_no_other(panel, dataset):
    sample = dataset.exists("ntt").first()
    sample["ntt"].detections[0].label = "of another kind"
    sample.save()
    panel.event("refresh")
    for name in sliders(panel):
        panel.state[name] = 0.25
    panel.click("Keep with shapes")
    kept = ntt.get_memory_bank_info(dataset, "shapes").thresholds
    assert kept and "of another kind" not in kept and set(kept.values()) == {0.25}


def test_a_slider_stays_with_its_class_when_another_class_comes(panel, dataset):
    last = sorted(dataset.distinct("ntt.detections.label"))[-1]
    panel.state[sliders(panel)[-1]] = 0.31
    sample = dataset.exists("ntt").first()
    label = next(one for one in sample["ntt"].detections if one.label != last)
    label.label = " a class that comes first"
    sample.save()
    panel.event("look")
    [line] = [line for line in panel.text().splitlines() if "from 0.31" in line]
    assert line.startswith(last)


def test_the_clock_draws_anew_only_what_has_changed(plugin, dataset):
    panel = PanelOnScreen(dataset)
    panel.click("Runs")
    panel.event("look")
    assert panel.messages == []
    ntt.segment(dataset, "shapes", "again", progress=False)
    panel.event("look")
    assert "again" in panel.text()


def test_a_run_tells_what_its_field_holds_not_what_the_last_call_wrote(plugin, dataset):
    ntt.segment(dataset, "shapes", "ntt", progress=False)
    panel = PanelOnScreen(dataset)
    panel.click("Runs")
    found = fo.load_dataset(dataset.name)
    assert f"{found.count('ntt.detections')} labels in 5 images" in panel.text()


def test_an_evaluation_is_marked_once_its_labels_have_changed(plugin, dataset):
    ntt.evaluate(dataset, "ntt", "ground_truth", "score")
    panel = PanelOnScreen(dataset)
    panel.event("go", to={"tab": "runs", "run": "ntt"})
    assert "evaluate again" not in panel.text()
    sample = dataset.exists("ntt").first()
    sample["ntt"].detections[0].label = "of another kind"
    sample.save()
    panel.event("look")
    assert "labels changed since: evaluate again" in panel.text()


def test_tags_do_not_age_an_evaluation(plugin, dataset):
    ntt.evaluate(dataset, "ntt", "ground_truth", "score")
    dataset.tag_labels("seen", "ntt")
    panel = PanelOnScreen(dataset)
    panel.event("go", to={"tab": "runs", "run": "ntt"})
    assert "evaluate again" not in panel.text()


def test_after_its_bank_was_deleted_a_run_keeps_its_buttons(plugin, dataset):
    ntt.delete_memory_bank(dataset, "shapes")
    panel = PanelOnScreen(dataset)
    panel.event("go", to={"tab": "runs", "run": "ntt"})
    assert {"Apply thresholds", "Evaluate", "Review"} <= set(panel.buttons())


def test_every_operator_has_a_button(plugin, dataset, operators):
    panel = PanelOnScreen(dataset)
    panel.click("Actions")
    assert {operator.title for operator in operators} <= set(panel.buttons())


def test_no_words_have_the_name_of_a_choice_of_a_class(panel):
    names = list(panel.shown["type"]["properties"])
    assert any(name.startswith("kept_") for name in names)
    assert not [name for name in names if name.startswith("class_")]
