"""The form of an export says how much it will write, and copies images for YOLO's trainers."""

import ntt_plugin as ntt
from tests.app.panel_driver import PanelOnScreen


def test_the_review_exports_what_is_approved(plugin, dataset):
    right = [item.key for item in ntt.review_queue(dataset, "ntt").page()[:2]]
    ntt.review_labels(dataset, "ntt", approve=right)
    panel = PanelOnScreen(dataset)
    panel.event("go", to={"tab": "review", "run": "ntt"})
    panel.click("Export labels")
    [asked] = panel.asked("prompt_user_for_operation")
    form = plugin.form(dataset, "export_labels", params=asked["params"], selected_samples=[])
    assert "up to 2 approved labels" in form.said("will_do")


def test_images_are_copied_for_yolo_unless_a_script_says_nothing(plugin, dataset):
    params = {"field": "ground_truth", "format": "yolo"}
    form = plugin.form(dataset, "export_labels", params=params, selected_samples=[])
    assert form.default("copy_images") is True
    assert plugin.form(dataset, "export_labels", params=params).default("copy_images") is False
