"""A field of predictions that a person judged in part."""

import pytest

from ntt_plugin.dataset.review.steps import review_labels
from ntt_plugin.dataset.segmentation.segment import segment


@pytest.fixture
def reviewed(dataset, bank, segmenter):
    """Predictions in ``ntt``: of each image the first is approved, the second rejected."""
    segment(dataset, "blocks", "ntt", segmenter=segmenter)
    right = [labels[0] for labels in dataset.values("ntt.detections.id")]
    wrong = [labels[1] for labels in dataset.values("ntt.detections.id")]
    review_labels(dataset, "ntt", right, wrong)
    return dataset
