"""What counts as a change of the labels that an evaluation scored."""

import numpy as np
import pytest

from ntt_plugin.dataset.evaluation.freshness import labels_digest

FIELDS = ("found", "truth")


@pytest.fixture
def scored(make):
    """Scenes that count as scored under ``check``."""
    _, dataset = make(count=4, seed=3)
    dataset.set_values("check_tp", [0] * len(dataset))
    return dataset


def test_a_mask_that_changed_within_its_box(scored):
    before = labels_digest(scored, "check", FIELDS)
    assert before == labels_digest(scored, "check", FIELDS)
    sample = next(one for one in scored if one["found"] and one["found"].detections)
    label = sample["found"].detections[0]
    rng = np.random.default_rng(0)
    label.mask = rng.random(label.mask.shape) < 0.5
    sample.save()
    assert labels_digest(scored, "check", FIELDS) != before


def test_a_mask_that_is_another_file(scored):
    before = labels_digest(scored, "check", FIELDS)
    sample = next(one for one in scored if one["found"] and one["found"].detections)
    sample["found"].detections[0].mask_path = "/any/mask.png"
    sample.save()
    assert labels_digest(scored, "check", FIELDS) != before


def test_tags_and_attributes_are_no_change(scored):
    before = labels_digest(scored, "check", FIELDS)
    scored.tag_labels("any", "found")
    for sample in scored.iter_samples(autosave=True):
        for label in sample["found"].detections if sample["found"] else []:
            label["note"] = "any"
    assert labels_digest(scored, "check", FIELDS) == before
