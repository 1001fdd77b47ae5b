"""The end of an evaluation, as the App shows it."""

from __future__ import annotations


def test_labels_that_cannot_be_scored_are_named(plugin, dataset):
    sample = dataset.match_tags("target").first()
    broken = sample["ground_truth"].detections[0]
    broken.bounding_box = [float("nan")] * 4
    sample.save()

    messages = plugin.run(
        dataset,
        "evaluate_segmentation",
        {"label_field": "ntt", "gt_field": "ground_truth", "eval_key": "score"},
    )

    assert broken.id in str(messages[-1])
