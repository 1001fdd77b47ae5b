import fiftyone as fo
import pytest
import yaml
from fiftyone.operators.registry import OperatorRegistry

import ntt_plugin as ntt
from ntt_plugin.app.panel import runs
from ntt_plugin.app.panel.panel import MemoryBanks
from tests.app.driver import NAME, ROOT
from tests.app.panel_driver import URI, PanelOnScreen


@pytest.fixture
def panel(plugin, dataset):
    return PanelOnScreen(dataset)


def test_the_plugin_lists_the_panel_it_registers(plugin):
    listed = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
    assert listed["panels"] == [MemoryBanks().config.name]
    panels = OperatorRegistry().list_operators(type="panel")
    assert [panel.uri for panel in panels if panel.plugin_name == NAME] == [URI]
    assert runs.PLUGIN == listed["name"]


def test_while_it_is_open_selections_show_what_they_stand_for(panel):
    assert panel.asked("set_sample_selection_style") == [
        {"default": "green-checkmark", "alt": "red-checkmark"}
    ]
    assert "Alt+click" in panel.text()
    panel.event("on_unload")
    assert len(panel.asked("clear_sample_selection_style")) == 1
    assert len(panel.asked("clear_label_selection_style")) == 1


def test_it_says_so_when_no_dataset_is_open(plugin):
    assert "No dataset is open" in PanelOnScreen(None).text()


def test_a_bank_is_listed_with_what_it_is_made_of(panel, dataset):
    info = ntt.get_memory_bank_info(dataset, "shapes")
    text = panel.text()
    for fact in ("shapes", "preset tiny", "app_tests", f"{len(info.shots)} classes"):
        assert fact in text


def test_a_bank_is_opened_and_closed(panel):
    panel.click("Open")
    assert {"Rename", "Export", "Delete", "Segment"} <= set(panel.buttons())
    panel.click("All banks")
    assert "Rename" not in panel.buttons()


@pytest.mark.parametrize(
    ("words", "operator", "values"),
    [
        ("Segment", "segment_with_memory_bank", {"bank": "shapes"}),
        ("Rename", "rename_memory_bank", {"name": "shapes"}),
        ("Add references", "add_references", {"bank": "shapes"}),
        ("Update", "update_memory_bank", {"name": "shapes"}),
        ("Check references", "check_references", {"name": "shapes"}),
        ("Suggest references", "suggest_references", {"bank": "shapes"}),
        ("Duplicate", "duplicate_memory_bank", {"name": "shapes"}),
        ("Merge", "merge_memory_banks", {"names": ["shapes"]}),
        ("Export", "export_memory_bank", {"name": "shapes"}),
        ("Delete", "delete_memory_bank", {"name": "shapes"}),
    ],
)
def test_a_banks_buttons_open_forms_with_the_bank_filled_in(panel, words, operator, values):
    panel.click("Open")
    panel.click(words)
    [asked] = panel.asked("prompt_user_for_operation")
    assert asked["operator_uri"] == f"{NAME}/{operator}"
    assert asked["params"] == values
    assert asked["on_success"] == f"{URI}#done"


def test_a_bank_that_is_gone_is_said_to_be(panel, dataset):
    panel.click("Open")
    ntt.delete_memory_bank(dataset, "shapes")
    panel.click("Refresh")
    assert "has no memory bank 'shapes'" in panel.text()
    panel.click("All banks")
    assert "No memory bank yet" in panel.text()


def test_after_a_bank_was_renamed_the_list_is_shown(panel, dataset):
    panel.click("Open")
    ntt.rename_memory_bank(dataset, "shapes", "forms")
    panel.event("done")
    assert "forms" in panel.text()
    assert panel.state["place"]["bank"] is None


def test_references_are_shown_in_the_grid(panel, dataset):
    panel.click("Open")
    panel.click("Show the references")
    [asked] = panel.asked("set_view")
    view = fo.DatasetView._build(dataset, asked["view"])
    assert view.values("id") == ntt.load_references_view(dataset, "shapes").values("id")


def test_another_dataset_begins_anew(panel, bare):
    panel.click("Open")
    panel.request["dataset_name"] = bare.name
    panel.event("on_change_dataset")
    assert panel.state["place"]["bank"] is None
    assert "No memory bank yet" in panel.text()


@pytest.mark.parametrize(
    "place",
    [
        {"tab": "elsewhere", "page": "x"},
        {"bank": "shapes", "shown": "scores"},
        {"page": 900},
        "nowhere",
        None,
    ],
)
def test_a_state_of_another_version_is_no_obstacle(panel, place):
    panel.state["place"] = place
    panel.event("refresh")
    assert "shapes" in panel.text()


def test_state_and_messages_are_small(panel):
    assert panel.size() < 20_000
