import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.labels.placed_masks import full_mask
from ntt_plugin.dataset.segmentation.masks_from_boxes import masks_from_boxes
from ntt_plugin.dataset.segmentation.report import load_segment_report
from ntt_plugin.errors import DatasetError
from ntt_plugin.worker.labels.boxes import relative_box
from tests.dataset import scenes

NAN = float("nan")


@pytest.fixture(autouse=True)
def boxes(dataset):
    """A field of boxes, two pixels wider than the blocks on each side."""
    for index, sample in enumerate(dataset):
        labels = []
        for name, (x1, y1, x2, y2) in scenes.blocks(index).items():
            box = relative_box((x1 - 2, y1 - 2, x2 + 2, y2 + 2), scenes.SIZE)
            labels.append(fo.Detection(label=name, bounding_box=box, tags=["good", name]))
        sample["boxes"] = fo.Detections(detections=labels)
        sample.save()


def boxes_of(dataset):
    return {d.id: d for sample in dataset for d in sample.boxes.detections}


def put_boxes(sample, *boxes):
    labels = [fo.Detection(label="odd", bounding_box=list(box)) for box in boxes]
    sample["boxes"] = fo.Detections(detections=labels)
    sample.save()
    return labels


def test_each_box_gives_the_mask_of_what_is_in_it(dataset, segmenter):
    report = masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter)

    assert (report.state, report.segmented, report.instances) == ("finished", 6, 18)
    for index, sample in enumerate(dataset):
        for label in sample.masks.detections:
            x1, y1, x2, y2 = scenes.blocks(index)[label.label]
            truth = np.zeros(scenes.SIZE, dtype=bool)
            truth[y1:y2, x1:x2] = True
            assert np.array_equal(full_mask(label, scenes.SIZE), truth)
            assert label.mask.all(), "the box is not tight"


def test_a_mask_names_the_box_it_came_from_and_keeps_its_tags(dataset, segmenter):
    sources = boxes_of(dataset)
    masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter)
    found = [d for sample in dataset for d in sample.masks.detections]
    assert {d.source for d in found} == set(sources)
    assert all(d.label == sources[d.source].label for d in found)
    assert all(d.tags == ["good", d.label] for d in found)


def test_the_field_of_the_boxes_stays_as_it_was(dataset, segmenter):
    before = [sample.boxes.to_dict() for sample in dataset]
    masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter)
    assert [sample.boxes.to_dict() for sample in dataset] == before


@pytest.mark.parametrize("asked", [{"classes": ["red"]}, {"classes": "red"}, {"tag": "red"}])
def test_only_the_boxes_asked_for_are_filled(dataset, segmenter, asked):
    report = masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter, **asked)
    assert report.instances == 6
    assert dataset.distinct("masks.detections.label") == ["red"]


def test_of_a_view_that_filters_labels_those_that_it_shows_are_filled(dataset, segmenter):
    view = dataset.filter_labels("boxes", F("label") == "blue")
    masks_from_boxes(view, "boxes", "masks", segmenter=segmenter)
    assert dataset.distinct("masks.detections.label") == ["blue"]
    assert dataset.count("boxes.detections") == 18


def test_samples_without_such_a_box_are_not_touched(dataset, segmenter):
    bare = dataset.first()
    bare["boxes"] = None
    bare.save()
    report = masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter)
    assert report.segmented == 5
    assert dataset[bare.id]["masks"] is None


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((NAN, 0, 0.5, 0.5), "four finite numbers"),
        ((1.5, 0.2, 0.5, 0.5), "covers nothing of the image"),
        ((0.2, 0.2, 0, 0.3), "covers nothing of the image"),
        ((0, 0, 0.02, 0.02), "found nothing"),
    ],
)
def test_a_box_that_gives_nothing_is_named_and_the_others_are_filled(dataset, segmenter, box, said):
    sample = dataset.first()
    bad, good = put_boxes(sample, box, (0, 0, 1, 1))

    report = masks_from_boxes(dataset.limit(1), "boxes", "masks", segmenter=segmenter)

    assert [d.source for d in dataset.first().masks.detections] == [good.id]
    (note,) = report.notes
    assert note.sample == sample.id and bad.id in note.reason and said in note.reason


def test_a_crowd_is_not_one_mask(dataset, segmenter):
    sample = dataset.first()
    sample.boxes.detections[0]["iscrowd"] = 1
    sample.save()
    report = masks_from_boxes(dataset.limit(1), "boxes", "masks", segmenter=segmenter)
    assert report.instances == 2 and "crowd" in report.notes[0].reason


def test_a_box_over_the_border_is_cut_at_it(dataset, segmenter):
    put_boxes(dataset.first(), (-0.5, -0.5, 2, 2))
    report = masks_from_boxes(dataset.limit(1), "boxes", "masks", segmenter=segmenter)
    assert report.instances == 1


def test_a_second_call_does_nothing_twice(dataset, segmenter):
    masks_from_boxes(dataset.limit(2), "boxes", "masks", segmenter=segmenter)
    done = dataset.limit(2).values("masks.detections.id")
    report = masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter)
    assert (report.segmented, report.skipped) == (4, 2)
    assert dataset.limit(2).values("masks.detections.id") == done


def test_a_sample_with_other_boxes_by_now_is_not_passed_over(dataset, segmenter):
    masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter)
    put_boxes(dataset.first(), (0, 0, 1, 1))
    with pytest.raises(DatasetError, match=r"1 of 6 samples.*overwrite=True"):
        masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter)
    report = masks_from_boxes(dataset.limit(1), "boxes", "masks", overwrite=True,
                              segmenter=segmenter)  # fmt: skip
    assert (report.segmented, report.instances) == (1, 1)


CHANGES = {
    "label": "another",
    "bounding_box": [0.1, 0.1, 0.5, 0.5],
    "confidence": 0.25,
    "tags": ["good", "looked at"],
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_label_that_was_changed_since_is_not_passed_over(dataset, segmenter, name):
    masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter)
    sample = dataset.first()
    sample.boxes.detections[1][name] = CHANGES[name]
    sample.save()
    with pytest.raises(DatasetError, match=r"1 of 6 samples.*other boxes.*overwrite=True"):
        masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter)


def test_another_recipe_with_the_same_segmenter_gives_the_same_masks(dataset, segmenter):
    masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter)
    other = scenes.ColourSegmenter(grid=8, point_batch=4, encoder="another")
    assert masks_from_boxes(dataset, "boxes", "masks", segmenter=other).skipped == 6


def test_masks_made_with_other_points_in_the_boxes_are_those_of_another_run(dataset, segmenter):
    masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter)
    with pytest.raises(DatasetError, match="overwrite=True"):
        masks_from_boxes(dataset, "boxes", "masks", segmenter=scenes.ColourSegmenter(box_points=3))


@pytest.mark.parametrize("asked", [{"tag": "$price"}, {"classes": ["$price"]}])
def test_a_name_may_begin_with_a_dollar(dataset, segmenter, asked):
    sample = dataset.first()
    sample.boxes.detections[1].label = "$price"
    sample.boxes.detections[1].tags = ["$price"]
    sample.save()
    report = masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter, **asked)
    assert report.instances == 1
    assert dataset.distinct("masks.detections.source") == [sample.boxes.detections[1].id]


def test_the_report_is_kept_under_the_new_field(dataset, segmenter):
    report = masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter)
    assert load_segment_report(dataset, "masks") == report


def test_the_masks_can_be_learnt_from(dataset, segmenter):
    masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter)
    bank = banks.build_memory_bank(dataset, "masks", "from_boxes", segmenter=segmenter)
    assert {label: bank.shots(label) for label in bank.classes} == dict.fromkeys(
        ["blue", "green", "red"], 6
    )


@pytest.mark.parametrize("new_field", ["boxes", "ground_truth"])
def test_no_field_that_was_there_is_written(dataset, segmenter, new_field):
    with pytest.raises(DatasetError, match=r"cannot go into|not made by"):
        masks_from_boxes(dataset, "boxes", new_field, overwrite=True, segmenter=segmenter)


@pytest.mark.parametrize("asked", [{"tag": "nowhere"}, {"classes": ["nowhere"]}])
def test_nothing_to_fill_is_said(dataset, segmenter, asked):
    with pytest.raises(DatasetError, match="nowhere"):
        masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter, **asked)


def test_large_images_are_filled_a_few_boxes_at_a_time(dataset, segmenter, monkeypatch):
    from ntt_plugin.worker.tasks import image_tasks as module

    asked = []
    fill = segmenter.masks_from_boxes

    def counting(image, some):
        asked.append(len(some))
        return fill(image, some)

    monkeypatch.setattr(module, "_MASK_BYTES", 2 * 64 * 96)
    monkeypatch.setattr(segmenter, "masks_from_boxes", counting)
    masks_from_boxes(dataset.limit(1), "boxes", "masks", segmenter=segmenter)
    assert asked == [2, 1]


def test_each_mask_tells_how_well_its_box_and_the_given_one_agree(dataset, segmenter):
    masks_from_boxes(dataset, "boxes", "masks", segmenter=segmenter)
    for index, sample in enumerate(dataset):
        for label in sample["masks"].detections:
            x1, y1, x2, y2 = scenes.blocks(index)[label.label]
            width, height = x2 - x1, y2 - y1
            expected = width * height / ((width + 4) * (height + 4))
            assert label.box_iou == pytest.approx(expected)
