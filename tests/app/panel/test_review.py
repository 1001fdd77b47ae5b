"""The page Review: the grid shows patches, clicks are wrong, Next judges the page."""

import time

import fiftyone as fo
import pytest

import ntt_plugin as ntt
from ntt_plugin.dataset.review.open_panels import GONE
from ntt_plugin.dataset.review.queue import ReviewItem, review_queue
from tests.app.driver import calls
from tests.app.panel_driver import PanelOnScreen

EVERYTHING = {"tab": "review", "run": "ntt", "shown": "everything"}


class Grid:
    """What the panel let the App's grid show last."""

    def __init__(self, panel: PanelOnScreen, dataset: fo.Dataset) -> None:
        self.panel = panel
        self.dataset = dataset

    def ids(self) -> list[str]:
        [asked] = self.panel.asked("set_view")
        view = fo.DatasetView._build(self.dataset, asked["view"])
        self.panel.request["view"] = asked["view"]
        self.panel.event("on_change_view")
        return view.values("id")

    def click(self, *ids: str) -> None:
        self.panel.request["selected"] = list(ids)
        self.panel.event("on_change_selected")

    def press(self, words: str) -> None:
        [button] = [name for name in self.panel.buttons() if name.startswith(words)]
        self.panel.click(button)
        if "clear_selected_samples" in calls(self.panel.messages):
            self.panel.request["selected"] = []


@pytest.fixture
def panel(plugin, dataset):
    panel = PanelOnScreen(dataset)
    panel.event("go", to=EVERYTHING)
    return panel


@pytest.fixture
def grid(panel, dataset):
    return Grid(panel, dataset)


def items(dataset: fo.Dataset) -> tuple[ReviewItem, ...]:
    return review_queue(dataset, "ntt", state="all").items


def states(dataset: fo.Dataset) -> dict[str, str]:
    return {item.label_id: item.state for item in items(dataset)}


def test_the_page_says_how_much_there_is_to_do(panel, dataset):
    total = dataset.count("ntt.detections")
    assert f"0 of {total} labels in ntt reviewed" in panel.text()
    assert f"{total} to do" in panel.text()


def test_the_grid_shows_the_most_doubtful_first(grid, dataset):
    grid.press("Show the first")
    expected = [item.label_id for item in review_queue(dataset, "ntt").items]
    assert grid.ids() == expected[:24]


def test_clicks_on_a_page_are_red_also_after_a_reload_or_a_look_elsewhere(panel, grid):
    def ticks():
        return [asked["default"] for asked in panel.asked("set_sample_selection_style")]

    grid.press("Show the first")
    assert ticks() == ["red-checkmark"]
    grid.ids()
    panel.event("on_load")
    assert ticks() == ["red-checkmark"]
    panel.event("go", to={"tab": "banks"})
    assert ticks() == ["green-checkmark"]
    panel.event("go", to=EVERYTHING)
    assert ticks() == ["red-checkmark"]
    panel.request.pop("view")
    panel.event("on_load")
    assert ticks() == ["green-checkmark"]


def test_next_rejects_what_is_clicked_and_approves_the_rest(grid, dataset):
    grid.press("Show the first")
    page = grid.ids()
    grid.click(page[0], page[2])
    grid.press(f"Next: {len(page) - 2} right, 2 wrong")
    found = states(dataset)
    assert {one for one in page if found[one] == "rejected"} == {page[0], page[2]}
    assert {one for one in page if found[one] == "approved"} == set(page) - {page[0], page[2]}
    assert not set(grid.ids()) & set(page)


def test_what_is_not_in_the_grid_is_not_judged(panel, grid, dataset):
    grid.press("Show the first")
    page = grid.ids()
    del panel.request["view"]
    panel.event("review", do="next", field="ntt")
    assert set(states(dataset).values()) == {"todo"}
    assert "Nothing was judged" in panel.asked("notify")[0]["message"]
    assert grid.ids() == page


def test_next_judges_nothing_where_the_grid_shows_more_than_the_page(panel, grid, dataset):
    grid.press("Show the first")
    page = grid.ids()
    grid.click(page[0])
    panel.event("review_change", value="of another kind")
    panel.request["view"] = dataset.to_patches("ntt")._serialize()
    panel.request["selected"] = []
    panel.event("review", do="next", field="ntt")
    found = states(dataset)
    assert {found[one] for one in page[1:]} == {"todo"}
    assert "Nothing was judged" in panel.asked("notify")[0]["message"]
    assert grid.ids() == page[1:]


def test_next_judges_nothing_where_the_grid_shows_another_field(panel, grid, dataset):
    dataset.clone_sample_field("ntt", "copied")
    grid.press("Show the first")
    page = grid.ids()
    other = dataset.to_patches("copied").select(page)
    assert set(other.values("id")) == set(page)
    panel.request["view"] = other._serialize()
    panel.event("review", do="next", field="ntt")
    assert set(states(dataset).values()) == {"todo"}


@pytest.fixture
def another_run_starts(grid, dataset):
    """A review without a choice of its field, and a run into another one in the middle of it."""
    grid.panel.event("go", to={"tab": "review", "shown": "everything"})
    grid.press("Show the first")
    page = grid.ids()
    ntt.segment(dataset.match_tags("target"), "shapes", "again", progress=False)
    return page


def test_what_is_clicked_is_wrong_though_another_run_starts(grid, dataset, another_run_starts):
    page = another_run_starts
    grid.click(page[1])
    grid.panel.event("review", do="next", field="ntt")
    assert states(dataset)[page[1]] == "rejected"


def test_the_class_is_changed_though_another_run_starts(grid, dataset, another_run_starts):
    page = another_run_starts
    grid.click(page[1])
    grid.panel.event("review_change", value="of another kind")
    assert states(dataset)[page[1]] == "approved"


def test_next_waits_until_the_grid_shows_the_page(panel, grid):
    grid.press("Show the first")
    assert not [words for words in panel.buttons() if words.startswith("Next")]
    grid.ids()
    assert [words for words in panel.buttons() if words.startswith("Next")]


def test_a_step_is_taken_back(grid, dataset):
    grid.press("Show the first")
    page = grid.ids()
    grid.press("Next")
    grid.press("Undo")
    assert set(states(dataset).values()) == {"todo"}
    assert grid.ids() == page


def test_clicked_labels_get_another_class_and_leave_the_page(panel, grid, dataset):
    grid.press("Show the first")
    page = grid.ids()
    grid.click(page[1])
    panel.event("review_change", value="of another kind")
    assert grid.ids() == [one for one in page if one != page[1]]
    found = {
        label.id: label for labels in dataset.values("ntt.detections") for label in labels or []
    }
    dataset.reload()
    labels = dataset.values("ntt.detections", unwind=True)
    assert {one.id for one in labels if one.label == "of another kind"} == {page[1]}
    assert states(dataset)[page[1]] == "approved"
    assert set(found) == {one.id for one in labels}


def test_another_class_can_be_one_of_the_bank_without_a_label(panel, grid, dataset):
    every = set(ntt.get_memory_bank_info(dataset, "shapes").shots)
    gone = dataset.distinct("ntt.detections.label")[0]
    ids = [item.key for item in items(dataset) if item.label == gone]
    other = next(label for label in sorted(every) if label != gone)
    ntt.review_labels(dataset, "ntt", change=dict.fromkeys(ids, other))
    panel.event("refresh")
    grid.press("Show the first")
    grid.click(grid.ids()[0])
    names = panel.shown["type"]["properties"]
    [choice] = [part for name, part in names.items() if name.startswith("other_")]
    assert every <= {one["value"] for one in choice["view"]["choices"]}


def test_all_of_a_class_above_a_confidence_are_approved(panel, grid, dataset):
    counts = dataset.count_values("ntt.detections.label")
    label = max(counts, key=counts.get)
    panel.event("go", to={**EVERYTHING, "label": label})
    [slider] = [name for name in panel.shown["type"]["properties"] if name.startswith("sure_")]
    panel.state[slider] = 0.25
    panel.event("move_confidence")
    grid.press("All ")
    found = review_queue(dataset, "ntt", state="approved").items
    everything = review_queue(dataset, "ntt", state="all").items
    expected = [one for one in everything if one.label == label and one.confidence >= 0.25]
    assert {one.label_id for one in found} == {one.label_id for one in expected}


def test_what_is_hidden_is_not_approved_with_the_others_of_its_class(panel, grid, dataset):
    counts = dataset.count_values("ntt.detections.label")
    label = max(counts, key=counts.get)
    scores = sorted(one.confidence for one in items(dataset) if one.label == label)
    limit = scores[len(scores) // 2]
    ntt.save_thresholds(dataset, "shapes", thresholds={label: limit})
    panel.event("go", to={"tab": "review", "run": "ntt", "shown": "references", "label": label})
    [slider] = [name for name in panel.shown["type"]["properties"] if name.startswith("sure_")]
    panel.state[slider] = 0.0
    panel.event("move_confidence")
    above = sum(score >= limit for score in scores)
    assert 0 < above < len(scores)
    grid.press(f"All {above} of {label}")
    approved = {one.confidence for one in items(dataset) if one.state == "approved"}
    assert approved == {score for score in scores if score >= limit}


def test_undo_tells_what_somebody_changed_meanwhile(panel, grid, dataset):
    grid.press("Show the first")
    page = grid.ids()
    grid.press("Next")
    ntt.review_labels(dataset, "ntt", reject=page, reviewer="another", again=True)
    grid.press("Undo")
    told = [asked["message"] for asked in panel.asked("notify")]
    assert any(f"{len(page)} labels left alone" in message for message in told)
    assert not any("Taken back" in message for message in told)


def test_annotate_is_set_up_without_our_attributes(grid, dataset):
    grid.press("Edit masks")
    dataset.reload()
    schema = dataset.label_schemas["ntt"]
    assert {entry["name"] for entry in schema["attributes"]} <= {"tags"}
    assert set(schema["classes"]) == set(dataset.distinct("ntt.detections.label"))
    assert dataset.active_label_schemas[0] == "ntt"


def test_two_panels_do_not_take_each_others_steps_back(plugin, dataset, grid):
    grid.press("Show the first")
    page = grid.ids()
    grid.press("Next")
    other = Grid(PanelOnScreen(dataset), dataset)
    other.panel.event("go", to=EVERYTHING)
    other.press("Undo")
    assert "no step left" in other.panel.asked("notify")[0]["message"]
    assert {states(dataset)[one] for one in page} == {"approved"}


def test_without_labels_it_says_what_to_do(plugin, bare):
    panel = PanelOnScreen(bare)
    panel.click("Review")
    assert "Nothing to review" in panel.text()
    assert "Segment with memory bank" in panel.buttons()


def test_what_was_judged_is_taught_and_accepted_whatever_page_the_grid_shows(plugin, grid, dataset):
    grid.press("Show the first")
    page = grid.ids()
    grid.click(page[0])
    grid.press("Next")
    for words, operator in (
        ("Negatives from rejected", "teach_review"),
        ("Accept", "accept_labels"),
        ("Export labels", "export_labels"),
    ):
        grid.press(words)
        [asked] = grid.panel.asked("prompt_user_for_operation")
        view = dataset.to_patches("ntt").select(page[1])
        form = plugin.form(
            dataset, operator, view=view, params=asked["params"], selected_samples=[]
        )
        assert form.errors == {}, operator


def test_a_class_that_somebody_changed_meanwhile_is_not_judged(panel, grid, dataset):
    grid.press("Show the first")
    page = grid.ids()
    labels = {item.label_id: item for item in items(dataset)}
    another = labels[page[0]]
    ntt.review_labels(dataset, "ntt", change={another.key: "of another kind"}, reviewer="anna")
    ntt.review_labels(dataset, "ntt", reset=[another.key], reviewer="anna")
    panel.event("review", do="next", field="ntt")
    assert states(dataset)[page[0]] == "todo"
    assert {states(dataset)[one] for one in page[1:]} == {"approved"}
    told = [asked["message"] for asked in panel.asked("notify")]
    assert any("1 label left alone" in message for message in told)


def test_a_class_is_not_replaced_by_one_who_saw_another(panel, grid, dataset):
    grid.press("Show the first")
    page = grid.ids()
    key = next(item.key for item in items(dataset) if item.label_id == page[0])
    ntt.review_labels(dataset, "ntt", change={key: "of another kind"}, reviewer="anna")
    ntt.review_labels(dataset, "ntt", reset=[key], reviewer="anna")
    grid.click(page[0])
    panel.event("review_change", value="of a third kind")
    labels = {item.label_id: item.label for item in items(dataset)}
    assert labels[page[0]] == "of another kind"


def test_what_the_grid_shows_again_is_judged_as_it_is_now(panel, grid, dataset):
    grid.press("Show the first")
    page = grid.ids()
    key = next(item.key for item in items(dataset) if item.label_id == page[0])
    ntt.review_labels(dataset, "ntt", change={key: "of another kind"}, reviewer="anna")
    ntt.review_labels(dataset, "ntt", reset=[key], reviewer="anna")
    panel.event("review", do="show", field="ntt")
    grid.ids()
    panel.event("review", do="next", field="ntt")
    assert states(dataset)[page[0]] == "approved"


def typed(panel: PanelOnScreen, words: str) -> None:
    """Type a class for the clicked labels, and press the button."""
    [field] = [name for name in panel.shown["type"]["properties"] if name.startswith("typed_")]
    panel.state[field] = words
    panel.click("Give this class")


def test_a_typed_class_is_given_to_the_clicked_labels(panel, grid, dataset):
    grid.press("Show the first")
    page = grid.ids()
    grid.click(page[1])
    typed(panel, "  a class of its own ")
    labels = {item.label_id: item for item in items(dataset)}
    assert (labels[page[1]].label, labels[page[1]].state) == ("a class of its own", "approved")


@pytest.mark.parametrize("words", ["", "   "])
def test_without_a_typed_class_nothing_is_judged(panel, grid, dataset, words):
    grid.press("Show the first")
    grid.click(grid.ids()[1])
    typed(panel, words)
    assert "Type the name" in panel.asked("notify")[0]["message"]
    assert set(states(dataset).values()) == {"todo"}


@pytest.mark.parametrize("words", [5, ["a"], "half \ud800"])
def test_a_typed_class_that_is_no_text_is_refused(panel, grid, dataset, words):
    grid.press("Show the first")
    grid.click(grid.ids()[1])
    typed(panel, words)
    assert "type another name" in panel.asked("notify")[0]["message"]
    assert set(states(dataset).values()) == {"todo"}


def test_a_typed_class_that_looks_like_another_is_told(panel, grid, dataset):
    grid.press("Show the first")
    grid.click(grid.ids()[1])
    known = dataset.distinct("ntt.detections.label")[0]
    typed(panel, known.upper())
    told = [asked["message"] for asked in panel.asked("notify")]
    assert any("look alike" in message and repr(known) in message for message in told)


def reopened(panel: PanelOnScreen, dataset: fo.Dataset) -> Grid:
    """The panel closed, and opened again, as another one."""
    panel.event("on_unload")
    other = Grid(PanelOnScreen(dataset), dataset)
    other.panel.event("go", to=EVERYTHING)
    return other


def test_a_panel_that_is_opened_again_takes_its_last_twenty_steps_back(panel, grid, dataset):
    panel.event("review", do="undo", field="ntt")
    [name] = panel.state["reviewers"].values()
    key = items(dataset)[0].key
    for number in range(20):
        verdict = {"approve": [key]} if number % 2 else {"reject": [key]}
        ntt.review_labels(dataset, "ntt", **verdict, reviewer=name, again=True)
    again = reopened(panel, dataset)
    for _ in range(20):
        again.press("Undo")
    assert set(states(dataset).values()) == {"todo"}


def test_a_panel_that_was_never_closed_keeps_its_steps_for_a_while(
    panel, grid, dataset, monkeypatch
):
    grid.press("Show the first")
    page = grid.ids()
    grid.press("Next")
    later = time.time() + GONE + 1
    other = Grid(PanelOnScreen(dataset), dataset)
    other.panel.event("go", to=EVERYTHING)
    other.press("Undo")
    assert {states(dataset)[one] for one in page} == {"approved"}
    monkeypatch.setattr(time, "time", lambda: later)
    third = Grid(PanelOnScreen(dataset), dataset)
    third.panel.event("go", to=EVERYTHING)
    third.press("Undo")
    assert {states(dataset)[one] for one in page} == {"todo"}


def test_a_panel_does_not_go_on_with_steps_of_a_script(panel, dataset):
    item = items(dataset)[0]
    ntt.review_labels(dataset, "ntt", reject=[item.key], reviewer="anna")
    panel.event("review", do="undo", field="ntt")
    assert "no step left" in panel.asked("notify")[0]["message"]
    assert states(dataset)[item.label_id] == "rejected"


def test_a_panel_goes_on_under_its_own_name_though_another_was_closed(panel, grid, dataset):
    first, second = items(dataset)[0], items(dataset)[1]
    other = Grid(PanelOnScreen(dataset), dataset)
    other.panel.event("go", to=EVERYTHING)
    for one, item in ((grid, first), (other, second)):
        one.press("Show the first")
        one.ids()
        one.click(item.label_id)
        one.panel.event("review_change", value="of another kind")
    other.panel.event("on_unload")
    panel.event("review", do="undo", field="ntt")
    found = states(dataset)
    assert (found[first.label_id], found[second.label_id]) == ("todo", "approved")
