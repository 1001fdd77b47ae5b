"""The end of an evaluation, as the App shows it."""

from __future__ import annotations

from ntt_plugin.app.outcome import output_page
from tests.app.driver import page

SCORE = {"label_field": "ntt", "gt_field": "ground_truth", "eval_key": "score"}


def test_labels_that_cannot_be_scored_are_named(plugin, dataset):
    sample = dataset.match_tags("target").first()
    broken = sample["ground_truth"].detections[0]
    broken.bounding_box = [float("nan")] * 4
    sample.save()

    messages = plugin.run(dataset, "evaluate_segmentation", SCORE)

    assert broken.id in str(messages[-1])


def test_a_button_opens_the_panel_that_holds_the_evaluation(plugin, dataset):
    results = page(plugin.run(dataset, "evaluate_segmentation", SCORE))
    button = output_page(results).type.properties["panel"].view
    assert button.operator == "@voxel51/operators/open_panel"
    assert button.params["name"] == "model_evaluation_panel_builtin"
