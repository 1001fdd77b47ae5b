import fiftyone as fo
import pytest

import ntt_plugin as ntt
from tests.app.driver import loaded
from tests.app.panel_driver import PanelOnScreen


@pytest.fixture
def without_networks(plugin, monkeypatch):
    networks = loaded(plugin, "dataset.networks")
    monkeypatch.setattr(networks, "find_cached", lambda _: None)
    monkeypatch.setattr(networks, "find_in_zoo", lambda *_: None)


def strong(panel):
    """Words of the buttons that stand out, without those of the panel's two halves."""
    shown = [view for view in panel.buttons().values() if view["variant"] == "contained"]
    return [view["label"] for view in shown if view["label"] not in ("Banks", "Runs")]


def test_masks_lead_to_sampling_and_building(plugin, dataset):
    ntt.delete_memory_bank(dataset, "shapes")
    panel = PanelOnScreen(dataset)
    assert "No memory bank yet" in panel.text()
    assert strong(panel) == ["Sample references", "Build memory bank"]


def test_boxes_lead_to_masks(plugin, dataset):
    ntt.delete_memory_bank(dataset, "shapes")
    dataset.delete_sample_fields(["ground_truth", "ntt"])
    panel = PanelOnScreen(dataset)
    assert strong(panel) == ["Masks from boxes"]
    assert "Your labels are boxes" in panel.text()


def test_without_labels_it_says_how_to_get_some(plugin, bare):
    panel = PanelOnScreen(bare)
    assert strong(panel) == []
    assert "Draw a few masks" in panel.text()


def test_banks_of_other_datasets_are_offered(plugin, bare, worked_on, monkeypatch):
    page = loaded(plugin, "app.panel.banks")
    found = page.datasets_with_banks

    def of_this_test():
        """Other tests of this process may have left datasets with banks."""
        return [name for name in found() if name == worked_on.name]

    monkeypatch.setattr(page, "datasets_with_banks", of_this_test)
    panel = PanelOnScreen(bare)
    assert worked_on.name in panel.text()
    panel.click("Segment with another dataset's bank")
    [asked] = panel.asked("prompt_user_for_operation")
    assert "shapes" in ntt.list_memory_banks(fo.load_dataset(asked["params"]["bank_dataset"]))


def test_networks_that_are_missing_are_named_with_one_button(plugin, bare, without_networks):
    panel = PanelOnScreen(bare)
    assert "facebook/dinov2-large (a download, 1,218 MB)" in panel.text()
    panel.click("Download networks of paper (2,116 MB)")
    [asked] = panel.asked("prompt_user_for_operation")
    assert asked["params"] == {"preset": "paper"}


def test_nothing_is_said_of_networks_that_are_here(plugin, dataset, without_networks):
    # The bundled networks, which the bank uses, need no download.
    panel = PanelOnScreen(dataset)
    assert "Not on this machine yet" not in panel.text()
