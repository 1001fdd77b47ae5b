import fiftyone as fo
import pytest

import ntt_plugin as ntt
from ntt_plugin.dataset.database.locks import RunLock
from tests.app.driver import loaded
from tests.app.panel_driver import PanelOnScreen


@pytest.fixture
def panel(plugin, dataset):
    panel = PanelOnScreen(dataset)
    panel.click("Runs")
    return panel


def test_a_run_is_listed_with_its_bank_and_its_counts(panel, dataset):
    report = ntt.load_segment_report(dataset, "ntt")
    text = panel.text()
    for fact in ("ntt", "bank shapes", "preset tiny", f"{report.instances} labels in 2 images"):
        assert fact in text


def test_a_run_tells_that_its_bank_was_changed_since(panel, dataset):
    assert "changed since" not in panel.text()
    ntt.remove_references(dataset, "shapes", classes=[dataset.distinct("ntt.detections.label")[0]])
    panel.click("Refresh")
    assert "bank shapes, which was changed since" in panel.text()


def test_what_a_run_wrote_is_shown_in_the_grid(panel, dataset):
    panel.click("Show")
    [asked] = panel.asked("set_view")
    view = fo.DatasetView._build(dataset, asked["view"])
    assert view.values("id") == dataset.exists("ntt").values("id")


def test_failures_have_their_reasons_and_can_be_shown(plugin, dataset, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    [lost] = dataset.add_samples([fo.Sample(filepath=str(broken))])
    ntt.segment(dataset, "shapes", "found", progress=False)
    panel = PanelOnScreen(dataset)
    panel.event("go", to={"tab": "runs", "run": "found"})
    [failure] = ntt.load_segment_report(dataset, "found").failed
    assert "1 failed" in panel.text()
    assert f"broken.png: {failure.reason}" in panel.text()
    panel.click("Show the failed images")
    [asked] = panel.asked("set_view")
    assert fo.DatasetView._build(dataset, asked["view"]).values("id") == [lost]


def test_of_many_failures_the_button_says_that_it_shows_the_first(
    plugin, dataset, tmp_path, monkeypatch
):
    for name in ("one.png", "two.png"):
        (tmp_path / name).write_bytes(b"no image")
        dataset.add_sample(fo.Sample(filepath=str(tmp_path / name)))
    ntt.segment(dataset, "shapes", "found", progress=False)
    for name in ("layout", "runs"):
        monkeypatch.setattr(loaded(plugin, f"app.panel.{name}"), "MOST_BY_ID", 1)
    panel = PanelOnScreen(dataset)
    panel.event("go", to={"tab": "runs", "run": "found"})
    panel.click("Show the first 1 failed images")
    [asked] = panel.asked("set_view")
    assert len(fo.DatasetView._build(dataset, asked["view"])) == 1


def test_evaluations_are_listed_with_their_figures(panel, dataset):
    panel.click("Open")
    assert "Not evaluated yet" in panel.text()
    ntt.evaluate(dataset, "ntt", "ground_truth", "score")
    panel.click("Refresh")
    figures = ntt.coco_figures(dataset, "score")
    assert f"score: mask AP {figures.segm['AP']:.3f}" in panel.text()
    panel.click("Open the evaluations")
    assert len(panel.asked("open_panel")) == 1


def test_without_runs_it_says_how_to_make_one(plugin, bare):
    panel = PanelOnScreen(bare)
    panel.click("Runs")
    assert "Nothing was segmented yet" in panel.text()


def test_scheduled_runs_are_listed_with_state_and_error(plugin, dataset, worker):
    # As long as another run writes the field, whenever the worker begins.
    with RunLock(dataset, "found"):
        params = {"bank": "shapes", "label_field": "found"}
        worker(plugin.queue(dataset, "segment_with_memory_bank", params))
    plugin.queue(dataset, "get_proposals_info", {})
    panel = PanelOnScreen(dataset)
    panel.click("Runs")
    text = panel.text()
    assert "**failed**" in text
    assert "Another run is writing" in text
    assert "Get proposals info" in text


@pytest.mark.parametrize(
    ("words", "operator", "values"),
    [
        ("Evaluate", "evaluate_segmentation", {"label_field": "ntt"}),
        ("Apply thresholds", "apply_thresholds", {"label_field": "ntt", "bank": "shapes"}),
        ("Save thresholds", "save_thresholds", {"bank": "shapes", "eval_key": "score"}),
    ],
)
def test_a_runs_buttons_open_forms_with_the_run_filled_in(panel, dataset, words, operator, values):
    ntt.evaluate(dataset, "ntt", "ground_truth", "score")
    panel.click("Open")
    panel.click(words)
    [asked] = panel.asked("prompt_user_for_operation")
    assert asked["operator_uri"].endswith(f"/{operator}")
    assert asked["params"] == values


def test_two_runs_can_be_compared(panel, dataset):
    assert "Compare segmentations" not in panel.buttons()
    ntt.segment(dataset, "shapes", "again", progress=False)
    panel.click("Refresh")
    panel.click("Compare segmentations")
    assert len(panel.asked("prompt_user_for_operation")) == 1


def chart(panel):
    [plot] = [part for part in panel.parts() if part["view"]["name"] == "PlotlyView"]
    return plot["view"]


def test_scores_are_drawn_by_class_with_the_banks_threshold(panel, dataset):
    counts = dataset.count_values("ntt.detections.label")
    most = max(counts.values())
    panel.click("Open")
    panel.click("Scores by class")
    assert sum(chart(panel)["data"][0]["y"]) == most
    assert "the bank has no threshold" in panel.text()
    label = sorted(counts)[0]
    ntt.save_thresholds(dataset, "shapes", thresholds={label: 0.25})
    panel.event("choose_class", value=label)
    # The class may have been shown before; the threshold is new.
    panel.click("Refresh")
    assert sum(chart(panel)["data"][0]["y"]) == counts[label]
    [line] = chart(panel)["layout"]["shapes"]
    assert line["x0"] == line["x1"] == 0.25


def test_a_field_that_tells_what_it_shows_is_not_answered(panel, dataset):
    """The App sends its value when it comes into sight; the answer could come after a click."""
    counts = dataset.count_values("ntt.detections.label")
    panel.click("Open")
    panel.click("Scores by class")
    [shown] = [label for label in counts if f"Scores of {label}**" in panel.text()]
    panel.event("choose_class", value=shown)
    assert panel.messages == []
    other = next(label for label in sorted(counts) if label != shown)
    panel.event("choose_class", value=other)
    assert f"Scores of {other}**" in panel.text()


def test_a_visit_of_a_page_has_a_field_of_its_own(panel):
    """Else the page that is left, or the next one, would be told the class of the other."""
    names = []
    for _ in range(2):
        panel.click("Open")
        panel.click("Scores by class")
        names += [name for name in panel.shown["type"]["properties"] if name.startswith("class_")]
        panel.click("Runs")
    assert len(set(names)) == 2


def test_a_score_that_was_changed_by_hand_is_drawn(panel, dataset):
    panel.click("Open")
    panel.click("Scores by class")
    for sample in dataset.exists("ntt").iter_samples(autosave=True):
        for label in sample["ntt"].detections:
            label.confidence, label.label = 0.5, "one"
    panel.click("Refresh")
    assert sum(chart(panel)["data"][0]["y"]) == dataset.count("ntt.detections")
