"""Labels and samples that cannot be scored, which are left out and told of."""

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F

from ntt_plugin.dataset.banks.thresholds import best_thresholds
from ntt_plugin.dataset.evaluation.compare import compare_segmentations
from ntt_plugin.dataset.evaluation.evaluate import coco_figures, evaluate
from ntt_plugin.dataset.evaluation.exclusions import LeftOut, LeftOutLabel
from ntt_plugin.errors import DatasetError
from tests.dataset.coco_scenes import assert_figures


def test_a_sample_whose_image_cannot_be_read_is_left_out(make, tmp_path, caplog):
    scenes, dataset = make()
    broken = dataset.skip(3).first()
    Path(broken.filepath).write_bytes(b"no image")
    evaluate(dataset, "found", "truth", "check")
    ours = coco_figures(dataset, "check").segm
    assert_figures(ours, scenes[:3] + scenes[4:], tmp_path, "segm")
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
        assert_figures(ours, scenes, tmp_path, kind)
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


def test_two_are_added_up_without_saying_anything_twice():
    one, other = LeftOut(), LeftOut()
    for left_out, reason in ((one, "first"), (other, "second")):
        left_out.labels.append(LeftOutLabel("f", "1", "s", "/x.png", reason))
        left_out.add_sample("s", "/x.png", "unreadable", reason)
    other.labels.append(LeftOutLabel("g", "1", "s", "/x.png", "third"))
    other.add_sample("t", "/y.png", "unturned", "third")
    one.add(other)
    assert [entry.reason for entry in one.labels] == ["first", "third"]
    assert [entry.reason for entry in one.samples.values()] == ["first", "third"]


def test_a_field_of_which_nothing_can_be_scored_is_an_error(make):
    _, dataset = make(count=4)
    for sample in dataset:
        for detection in sample.truth.detections:
            detection.bounding_box = [float("nan")] * 4
        sample.save()
    with pytest.raises(DatasetError, match=r"None of the \d+ labels in 'truth'.*finite numbers"):
        evaluate(dataset, "found", "truth", "check")


def forget(dataset, field, count):
    """A field of the first samples as if it had never been written."""
    first = dataset.limit(count)
    first.set_values(field, [None] * count)
    return first.values("id")


@pytest.mark.parametrize(("field", "kind"), [("found", "not_segmented"), ("truth", "not_labelled")])
def test_samples_whose_field_was_never_written_are_left_out_and_named(
    make, tmp_path, caplog, field, kind
):
    scenes, dataset = make(count=9)
    ids = forget(dataset, field, 3)
    results = evaluate(dataset, "found", "truth", "check")
    ours = coco_figures(dataset, "check").segm
    assert_figures(ours, scenes[3:], tmp_path, "segm")
    assert results.mAP() == pytest.approx(ours["AP"], abs=1e-9)
    kept = results.config.left_out
    assert (kept["sample_count"], kept["sample_kinds"]) == (3, {kind: 3})
    left_out = LeftOut.from_dict(kept)
    assert [entry.sample for entry in left_out.of_kinds(kind)] == ids
    for sample in dataset.select(ids):
        assert sample["check_tp"] is None
        assert sample.filepath in str(left_out) and sample.id in str(left_out)
        assert sample.filepath in caplog.text
    assert dataset.load_evaluation_view("check").values("id") == dataset.skip(3).values("id")


def test_samples_whose_field_was_never_written_are_scored_if_asked_for(make, tmp_path):
    scenes, dataset = make(count=9)
    forget(dataset, "found", 3)
    results = evaluate(dataset, "found", "truth", "check", include_missing=True)
    scenes = [
        (size, truth, found if i > 2 else []) for i, (size, truth, found) in enumerate(scenes)
    ]
    assert_figures(coco_figures(dataset, "check").segm, scenes, tmp_path, "segm")
    assert results.config.left_out["sample_count"] == 0
    assert dataset.first()["check_fn"] == len(dataset.first().truth.detections)


def test_a_sample_in_which_nothing_was_found_is_no_missing_one(make):
    _, dataset = make(count=4)
    sample = dataset.first()
    sample.found = fo.Detections()
    sample.save()
    results = evaluate(dataset, "found", "truth", "check")
    assert results.config.left_out["sample_count"] == 0
    assert dataset.first()["check_fn"] == len(sample.truth.detections)


def test_a_view_that_filters_labels_does_not_hide_what_was_never_written(make):
    _, dataset = make(count=6)
    ids = forget(dataset, "found", 2)
    view = dataset.filter_labels("found", F("confidence") > 0.1, only_matches=False)
    results = evaluate(view, "found", "truth", "check")
    assert list(LeftOut.from_dict(results.config.left_out).samples) == ids


def test_thresholds_are_found_without_the_samples_that_are_left_out(make):
    _, dataset = make(count=9)
    evaluate(dataset.skip(3), "found", "truth", "without")
    expected = best_thresholds(dataset, "without")
    forget(dataset, "found", 3)
    evaluate(dataset, "found", "truth", "check")
    assert best_thresholds(dataset, "check") == expected


def test_a_comparison_leaves_out_what_one_pass_never_looked_at(make, caplog):
    _, dataset = make(count=6)
    dataset.clone_sample_field("found", "again")
    ids = forget(dataset, "again", 2)
    found = compare_segmentations(dataset, "found", "again", "truth")
    assert (found.overall.only_first, found.labels) == (0, ())
    assert [entry.sample for entry in found.left_out.of_kinds("not_segmented")] == ids
    assert found.overall.first_ap == found.overall.second_ap
    assert dataset[ids[0]].filepath in caplog.text
    every = compare_segmentations(dataset, "found", "again", "truth", include_missing=True)
    assert every.overall.only_first > 0 and every.left_out.samples == {}


def test_a_comparison_names_what_it_cannot_score(make, caplog):
    _, dataset = make(count=6)
    dataset.clone_sample_field("found", "again")
    bare = next(label for sample in dataset for label in sample.truth.detections)
    unranked = dataset.last()
    unranked.again.detections[0].confidence = None
    unranked.save()
    first = next(s for s in dataset if s.truth.detections)
    first.truth.detections[0].mask = None
    first.save()
    found = compare_segmentations(dataset, "found", "again", "truth")
    left_out = {(entry.field, entry.label) for entry in found.left_out.labels}
    assert left_out == {("truth", bare.id), ("again", unranked.again.detections[0].id)}
    assert len(found.left_out.labels) == 2 and bare.id in caplog.text
    assert compare_segmentations(dataset, "found", "again").left_out.labels == []


def test_a_comparison_scores_what_has_ground_truth(make):
    _, dataset = make(count=6)
    dataset.clone_sample_field("found", "again")
    expected = compare_segmentations(dataset.skip(2), "found", "again", "truth").overall.first_ap
    forget(dataset, "truth", 2)
    found = compare_segmentations(dataset, "found", "again", "truth")
    assert found.overall.first == dataset.count("found.detections")
    assert found.overall.first_ap == expected
    assert any("2 samples are compared but not scored" in note for note in found.left_out.notes)


def test_a_sample_twice_in_the_view_is_scored_once(make, caplog):
    _, dataset = make(count=6)
    evaluate(dataset, "found", "truth", "once")
    results = evaluate(dataset.limit(4) + dataset.skip(2), "found", "truth", "check")
    assert coco_figures(dataset, "check") == coco_figures(dataset, "once")
    assert dataset.values("check_tp") == dataset.values("once_tp")
    assert "each is used once" in caplog.text
    assert "each is used once" in LeftOut.from_dict(results.config.left_out).notes[0]


def test_what_an_earlier_version_left_out_is_read():
    old = {"labels": [], "samples": [{"sample": "a", "reason": "It is gone.", "kind": None}]}
    kept = LeftOut.from_dict(old)
    assert str(kept) == "1 samples are left out of the scores; the first: It is gone."
