"""Labels and samples that cannot be scored, which are left out and told of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ntt_plugin.dataset.evaluation import coco_figures, evaluate
from ntt_plugin.dataset.left_out import LeftOut, LeftOutLabel
from ntt_plugin.errors import DatasetError
from tests.dataset.coco_scenes import by_hand


def test_a_sample_whose_image_cannot_be_read_is_left_out(make, tmp_path, caplog):
    scenes, dataset = make()
    broken = dataset.skip(3).first()
    Path(broken.filepath).write_bytes(b"no image")
    evaluate(dataset, "found", "truth", "check")
    ours = coco_figures(dataset, "check").segm
    expected = by_hand(scenes[:3] + scenes[4:], tmp_path, "segm")
    np.testing.assert_allclose(list(ours.values()), expected, rtol=0, atol=1e-9)
    assert broken.filepath in caplog.text
    assert dataset[broken.id]["check_tp"] is None


def test_no_readable_image_at_all_is_an_error(make):
    _, dataset = make(count=2)
    for path in dataset.values("filepath"):
        Path(path).unlink()
    with pytest.raises(DatasetError, match="None of the 2 images can be read"):
        evaluate(dataset, "found", "truth", "check")


def spoil(detection, how):
    if how == "no name":
        detection.label = " "
    elif how == "negative side":
        detection.bounding_box[2] = -0.1
    elif how == "finite numbers":
        detection.bounding_box = [0.1, float("nan"), 0.1, 0.1]
    elif how == "no mask":
        detection.mask = None
    elif how == "mask is empty":
        detection.mask = np.zeros((3, 3), dtype=bool)
    else:
        detection.confidence = {"confidence is None": None, "confidence is nan": float("nan")}[how]


OF_ANY = ["no name", "negative side", "finite numbers", "no mask", "mask is empty"]


@pytest.mark.parametrize(
    ("field", "how"),
    [
        *(("truth", how) for how in OF_ANY),
        *(("found", how) for how in [*OF_ANY, "confidence is None", "confidence is nan"]),
    ],
)
def test_a_label_that_cannot_be_scored_is_left_out_of_both_scores(
    make, tmp_path, caplog, field, how
):
    scenes, dataset = make(count=6)
    index, sample = next((i, s) for i, s in enumerate(dataset) if len(s[field].detections) > 1)
    spoilt = sample[field].detections[1]
    spoil(spoilt, how)
    sample.save()

    results = evaluate(dataset, "found", "truth", "check")

    scenes[index][1 if field == "truth" else 2].pop(1)
    figures = coco_figures(dataset, "check")
    for kind, ours in (("bbox", figures.bbox), ("segm", figures.segm)):
        np.testing.assert_allclose(
            list(ours.values()), by_hand(scenes, tmp_path, kind), rtol=0, atol=1e-9
        )
    assert results.mAP() == pytest.approx(figures.segm["AP"], abs=1e-9)
    left_out = LeftOut.from_dict(results.config.left_out)
    (entry,) = left_out.labels
    assert (entry.field, entry.label, entry.sample) == (field, spoilt.id, sample.id)
    assert entry.filepath == sample.filepath and how in entry.reason
    assert spoilt.id in str(left_out) and how in str(left_out) and how in caplog.text


def test_what_was_left_out_is_kept_with_the_evaluation(make):
    _, dataset = make(count=4)
    sample = dataset.first()
    sample.truth.detections[0].mask = None
    sample.save()
    Path(dataset.last().filepath).unlink()
    evaluate(dataset, "found", "truth", "check")
    dataset.reload()
    kept = LeftOut.from_dict(dataset.get_evaluation_info("check").config.left_out)
    assert [entry.sample for entry in kept.labels] == [sample.id]
    assert list(kept.samples) == [dataset.last().id]


def test_nothing_is_left_out_of_sound_labels(make):
    _, dataset = make(count=4)
    results = evaluate(dataset, "found", "truth", "check")
    assert results.config.left_out["label_count"] == results.config.left_out["sample_count"] == 0


def test_very_many_labels_that_are_left_out_are_counted():
    many = LeftOut([LeftOutLabel("f", str(i), "s", "/x.png", "why") for i in range(5000)])
    kept = many.to_dict()
    assert kept["label_count"] == 5000 and len(kept["labels"]) == 1000


def test_a_field_of_which_nothing_can_be_scored_is_an_error(make):
    _, dataset = make(count=4)
    for sample in dataset:
        for detection in sample.truth.detections:
            detection.bounding_box = [float("nan")] * 4
        sample.save()
    with pytest.raises(DatasetError, match=r"None of the \d+ labels in 'truth'.*finite numbers"):
        evaluate(dataset, "found", "truth", "check")
