"""Labels as proposals that are not what is assumed: they are named, and none stops a run."""

import math
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from ntt_plugin.dataset.labels.placed_masks import full_mask
from ntt_plugin.dataset.segmentation.segment import segment
from tests.bad_input.expectations import refused, row
from tests.dataset import scenes
from tests.engine.images.image_files import save_turned

HEIGHT, WIDTH = scenes.SIZE


def relative(x1, y1, x2, y2):
    return [x1 / WIDTH, y1 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT]


@pytest.fixture
def run(dataset, segmenter):
    """Segment with the field ``candidates``: a red block's box, and in the first image ``extra``.

    Gives the run's report and the labels of the first image.
    """

    def segment_with(*extra):
        for index, sample in enumerate(dataset):
            red = fo.Detection(label="x", bounding_box=relative(*scenes.blocks(index)["red"]))
            sample["candidates"] = fo.Detections(detections=[red, *(() if index else extra)])
            sample.save()
        report = segment(dataset, "blocks", proposals="candidates", segmenter=segmenter)
        assert (report.segmented, report.failed, report.state) == (6, [], "finished")
        dataset.reload()
        assert all(len(sample.ntt.detections) == 1 for sample in dataset.skip(1))
        return report, dataset.first().ntt.detections

    return segment_with


def green(**values):
    """A label with the box of the first image's green block."""
    return fo.Detection(
        **{"label": "x", "bounding_box": relative(*scenes.blocks(0)["green"])} | values
    )


def named(report, *labels):
    """What the report notes of each label, which it names."""
    notes = [next(n.reason for n in report.notes if label.id in n.reason) for label in labels]
    assert len(report.notes) == len(labels)
    return notes


@row("candidate-field")
@pytest.mark.parametrize(
    ("proposals", "words"),
    [
        ("nowhere", ("'nowhere'", "ground_truth")),
        ("filepath", ("'filepath'", "ground_truth")),
        ("before", ("'before'", "written at once")),
        ([], ("without a source", "'grid'")),
        (["grid", 3], ("proposals",)),
    ],
)
def test_what_is_no_field_of_candidates_is_refused(unchanged, segmenter, proposals, words):
    with refused(*words):
        segment(unchanged, "blocks", "before", proposals=proposals, segmenter=segmenter)


@row("candidate-field")
def test_a_field_of_other_labels_is_refused(dataset, segmenter):
    dataset.set_values("lines", [fo.Polylines(polylines=scenes.polylines(i)) for i in range(6)])
    with refused("'lines'", "fields of Detections", "ground_truth"):
        segment(dataset, "blocks", proposals="lines", segmenter=segmenter)
    assert "ntt" not in dataset.get_field_schema()


@row("no-candidates")
@pytest.mark.parametrize("empty", [None, fo.Detections()])
def test_an_image_without_candidates_is_done_and_counted(dataset, segmenter, empty):
    dataset.clone_sample_field("ground_truth", "candidates")
    first = dataset.first()
    first["candidates"] = empty
    first.save()
    report = segment(dataset, "blocks", proposals="candidates", segmenter=segmenter)
    (note,) = report.notes
    assert "1 of 6 images hold no label in 'candidates'" in note.reason
    dataset.reload()
    assert [len(sample.ntt.detections) for sample in dataset] == [0, 3, 3, 3, 3, 3]
    assert segment(dataset, "blocks", proposals="candidates", segmenter=segmenter).skipped == 6


@row("candidate-outside")
def test_a_box_outside_is_left_out_and_of_one_partly_outside_the_part_inside_is_used(run):
    outside = green(bounding_box=[1.2, 0.1, 0.2, 0.2])
    x1, y1, x2, y2 = scenes.blocks(0)["green"]
    partly = green(bounding_box=relative(x1, y1, x2, 1.5 * HEIGHT))
    report, found = run(outside, partly)
    (reason,) = named(report, outside)
    assert "covers nothing of the image" in reason
    mask = full_mask(next(one for one in found if one.candidate == partly.id), scenes.SIZE)
    expected = np.zeros(scenes.SIZE, bool)
    expected[y1:y2, x1:x2] = True
    assert np.array_equal(mask, expected)


@row("candidate-box")
@pytest.mark.parametrize(
    "box",
    [[math.nan, 0, 1, 1], [0.5, 0.5, -0.2, 0.2], [0.2, 0.2, 0, 0.3], [10, 10, 30, 40], [0.1, 0.1]],
)
def test_a_box_that_cannot_be_is_left_out(run, box):
    wrong = green(bounding_box=box)
    report, found = run(wrong)
    (reason,) = named(report, wrong)
    assert reason.startswith(f"the candidate {wrong.id} was left out: Its box")
    assert len(found) == 1


@row("candidate-confidence")
def test_a_candidate_without_confidence_counts_as_one(run):
    plain, sure = green(), green(confidence=0.4)
    report, found = run(sure, plain)
    assert report.notes == []
    ious = {one.candidate: one.proposal_iou for one in found}
    # Of two that are alike, the one of the higher confidence stays.
    assert ious[plain.id] == 1 and sure.id not in ious


@row("candidate-confidence")
@pytest.mark.parametrize("value", [1.5, -0.1, math.nan, math.inf, 87])
def test_a_confidence_beyond_0_to_1_is_left_out(run, value):
    wrong = green(confidence=value)
    report, found = run(wrong)
    (reason,) = named(report, wrong)
    assert "which is no number from 0 to 1" in reason and len(found) == 1


@row("candidate-confidence")
@pytest.mark.parametrize("least", [2, -0.5, math.nan, "0.5", True, None])
def test_a_least_confidence_that_cannot_be_is_refused(unchanged, segmenter, least):
    with refused("min_confidence", "from 0 to 1"):
        segment(unchanged, "blocks", proposals="before", min_confidence=least, segmenter=segmenter)


@row("candidate-mask")
def test_a_mask_that_cannot_be_used_is_left_out_in_place_of_its_box(run, tmp_path):
    x1, y1, x2, y2 = scenes.blocks(0)["green"]
    cropped = (y2 - y1, x2 - x1)
    wrong = [
        green(mask=np.zeros(cropped, bool)),
        green(mask=np.random.default_rng(0).random(cropped)),
        green(mask=np.eye(3, 200, dtype=bool)),
        green(mask_path=str(tmp_path / "nowhere.png")),
    ]
    report, found = run(*wrong)
    assert all("was left out: Its mask" in reason for reason in named(report, *wrong))
    assert len(found) == 1


@row("candidate-crowd")
def test_a_crowd_is_left_out(run):
    crowd = green(iscrowd=1)
    report, found = run(crowd)
    (reason,) = named(report, crowd)
    assert "crowd" in reason and len(found) == 1


@row("candidate-twice")
def test_a_candidate_that_is_there_twice_gives_one_label(run):
    report, found = run(*(green() for _ in range(3)))
    assert sorted(one.label for one in found) == ["green", "red"] and report.notes == []


@row("candidate-changed")
def test_candidates_changed_after_a_run_are_refused_until_it_may_overwrite(dataset, segmenter, run):
    run(green())
    first = dataset.first()
    first.candidates.detections.pop()
    first.save()
    options = {"proposals": "candidates", "segmenter": segmenter}
    with refused("'ntt'", "overwrite"):
        segment(dataset, "blocks", **options)
    assert len(dataset.first().ntt.detections) == 2
    report = segment(dataset, "blocks", overwrite=True, **options)
    dataset.reload()
    assert (report.segmented, len(dataset.first().ntt.detections)) == (6, 1)


@row("unturned-labels")
def test_candidates_made_on_unturned_pixels_fail_their_sample(dataset, segmenter):
    sample = dataset.skip(2).first()
    save_turned(Path(sample.filepath), scenes.draw(2), 6)
    sample.metadata = fo.ImageMetadata(width=HEIGHT, height=WIDTH)
    sample.save()
    dataset.clone_sample_field("ground_truth", "candidates")
    report = segment(dataset, "blocks", proposals="candidates", segmenter=segmenter)
    (failure,) = report.failed
    assert failure.sample == sample.id and "draw the labels anew" in failure.reason
    assert report.segmented == 5
