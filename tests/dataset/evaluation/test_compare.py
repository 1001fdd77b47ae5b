"""Two fields of labels compared: counts that are known, scores as pycocotools gives them."""

from pathlib import Path

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

import ntt_plugin as ntt
from ntt_plugin.dataset.evaluation.compare import ClassComparison
from ntt_plugin.errors import DatasetError


@pytest.fixture
def passes(dataset):
    """``one`` has all blocks. ``two`` lacks a red one, has a green one more, calls a blue red."""
    for sample in dataset.iter_samples(autosave=True):
        for name in ("one", "two"):
            sample[name] = fo.Detections(
                detections=[
                    fo.Detection(
                        label=x.label, bounding_box=x.bounding_box, mask=x.mask, confidence=0.9
                    )
                    for x in sample["ground_truth"].detections
                ]
            )
    return dataset


def relabelled(dataset):
    """Makes the differences in ``two``; gives the ids of the labels that differ."""
    first, second, third = list(dataset.limit(3))
    (gone,) = [x for x in first["one"].detections if x.label == "red"]
    first["two"].detections = [x for x in first["two"].detections if x.label != "red"]
    more = fo.Detection(label="green", bounding_box=[0.9, 0.9, 0.1, 0.1], confidence=0.5)
    second["two"].detections.append(more)
    (was,) = [x for x in third["one"].detections if x.label == "blue"]
    (now,) = [x for x in third["two"].detections if x.label == "blue"]
    now.label = "red"
    for sample in (first, second, third):
        sample.save()
    return {gone.id, more.id, was.id, now.id}


def test_equal_fields_differ_in_nothing(passes):
    found = ntt.compare_segmentations(passes, "one", "two")
    assert found.by_class == {
        name: ClassComparison(6, 6, 6, 0, 0, 0, 0) for name in ("blue", "green", "red")
    }
    assert found.overall == ClassComparison(18, 18, 18, 0, 0, 0, 0)
    assert (found.label_ids, len(found.view), found.relabelled) == ((), 0, {})


def test_differences_are_counted_by_class(passes):
    relabelled(passes)
    found = ntt.compare_segmentations(passes, "one", "two")
    assert found.by_class == {
        "blue": ClassComparison(6, 5, 5, 0, 0, 1, 0),
        "green": ClassComparison(6, 7, 6, 0, 1, 0, 0),
        "red": ClassComparison(6, 6, 5, 1, 0, 0, 1),
    }
    assert found.overall == ClassComparison(18, 18, 16, 1, 1, 1, 1)
    assert found.relabelled == {("blue", "red"): 1}


def test_the_view_holds_what_differs(passes):
    expected = relabelled(passes)
    found = ntt.compare_segmentations(passes, "one", "two")
    assert set(found.label_ids) == expected
    shown = [found.view.values(f"{name}.detections.id", unwind=True) for name in ("one", "two")]
    assert {x for ids in shown for x in ids} == expected
    assert len(found.view) == 3


def test_classes_limit_what_is_told_not_what_is_matched(passes):
    relabelled(passes)
    found = ntt.compare_segmentations(passes, "one", "two", classes=["red"])
    assert found.by_class == {"red": ClassComparison(6, 6, 5, 1, 0, 0, 1)}
    assert found.overall == found.by_class["red"]
    assert found.relabelled == {("blue", "red"): 1}
    assert len(found.label_ids) == 3


def test_a_view_is_compared_as_it_shows_its_labels(passes):
    relabelled(passes)
    view = passes.skip(1).filter_labels("two", F("confidence") > 0.6, only_matches=False)
    found = ntt.compare_segmentations(view, "one", "two")
    assert found.overall == ClassComparison(15, 15, 14, 0, 0, 1, 1)


def test_precisions_are_those_of_the_evaluation(make):
    _, dataset = make(count=10)
    dataset.clone_sample_field("found", "other")
    for sample in dataset.iter_samples(autosave=True):
        sample["other"].detections = sample["other"].detections[::2]
    found = ntt.compare_segmentations(dataset, "found", "other", "truth")
    assert found.scored == "masks"
    for field, figure in (("found", "first_ap"), ("other", "second_ap")):
        ntt.evaluate(dataset, field, "truth", f"{field}_check")
        figures = ntt.coco_figures(dataset, f"{field}_check")
        assert getattr(found.overall, figure) == pytest.approx(figures.segm["AP"])
        by_class = dict(zip(figures.classes, figures.segm_ap, strict=True))
        assert {n: getattr(row, figure) for n, row in found.by_class.items()} == pytest.approx(
            by_class
        )


def test_boxes_are_scored_where_masks_are_missing(make):
    _, dataset = make(count=6)
    for sample in dataset.iter_samples(autosave=True):
        sample["boxes"] = sample["found"].copy()
        for label in sample["boxes"].detections:
            label.mask = None
    found = ntt.compare_segmentations(dataset, "boxes", "found", "truth")
    ntt.evaluate(dataset, "found", "truth", "check", masks=False)
    assert found.scored == "boxes"
    assert found.overall.second_ap == pytest.approx(ntt.coco_figures(dataset, "check").bbox["AP"])


def test_what_cannot_be_compared_is_named(passes, caplog):
    sample = passes.first()
    sample["two"].detections[0].bounding_box = [float("nan")] * 4
    sample.save()
    Path(passes.last().filepath).unlink()
    found = ntt.compare_segmentations(passes, "one", "two")
    (label,) = found.left_out.labels
    assert label.label == sample["two"].detections[0].id
    assert list(found.left_out.samples) == [passes.last().id]
    assert label.label in caplog.text
    assert (found.overall.first, found.overall.second) == (15, 14)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("one", "one"), "given twice"),
        (("one", "two", "two"), "given twice"),
        (("one", "nope"), "no field 'nope'"),
        (("one", "filepath"), "no Detections"),
    ],
)
def test_fields_that_cannot_be_compared_are_refused(passes, given, words):
    with pytest.raises(DatasetError, match=words):
        ntt.compare_segmentations(passes, *given)


def test_an_unknown_class_and_unreadable_images_are_refused(passes):
    with pytest.raises(DatasetError, match="class 'pink'"):
        ntt.compare_segmentations(passes, "one", "two", classes="pink")
    for path in passes.values("filepath"):
        Path(path).unlink()
    with pytest.raises(DatasetError, match="None of the 6 images can be read"):
        ntt.compare_segmentations(passes, "one", "two")
