import uuid
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from ntt_plugin.dataset.references.coco_few_shot import sample_few_shot
from ntt_plugin.dataset.references.sampling import sample_references
from ntt_plugin.errors import DatasetError
from tests.dataset import scenes


def tagged(dataset, tag="reference"):
    """(file name, class) of each tagged label."""
    return {
        (Path(sample.filepath).name, detection.label)
        for sample in dataset
        for detection in sample.ground_truth.detections
        if tag in detection.tags
    }


def test_k_labels_of_each_class_are_tagged(dataset):
    report = sample_references(dataset, "ground_truth", shots=4)

    labels = [label for _, label in tagged(dataset)]
    assert {label: labels.count(label) for label in set(labels)} == report.counts
    assert report.counts == {"red": 4, "green": 4, "blue": 4}
    assert not report.short


def test_the_label_ids_are_those_of_the_tagged_labels(dataset):
    report = sample_references(dataset, "ground_truth", shots=2)
    view = dataset.select_labels(tags="reference", fields="ground_truth")
    assert set(view.values("ground_truth.detections.id", unwind=True)) == set(report.label_ids)


def test_the_choice_depends_on_the_seed_alone(dataset, tmp_path):
    """Another database order, other ids: the same labels."""
    backwards = fo.Dataset(f"test_{uuid.uuid4().hex}")
    try:
        for sample in reversed(list(dataset)):
            copy = sample.copy()
            copy.ground_truth.detections = copy.ground_truth.detections[::-1]
            for detection in copy.ground_truth.detections:
                detection.id = str(fo.core.odm.document.ObjectId())
            backwards.add_sample(copy)
        sample_references(dataset, "ground_truth", shots=2, seed=7)
        sample_references(backwards, "ground_truth", shots=2, seed=7)
        assert tagged(dataset) == tagged(backwards)
    finally:
        backwards.delete()


def test_another_seed_chooses_others(dataset):
    choices = set()
    for seed in range(5):
        sample_references(dataset, "ground_truth", shots=1, seed=seed)
        choices.add(frozenset(tagged(dataset)))
    assert len(choices) > 1


def test_a_class_gets_the_same_references_whatever_else_is_sampled(dataset):
    sample_references(dataset, "ground_truth", shots=2, classes=["red"], tag="alone")
    sample_references(dataset, "ground_truth", shots=2, tag="together")
    together = {entry for entry in tagged(dataset, "together") if entry[1] == "red"}
    assert tagged(dataset, "alone") == together


def test_a_second_sampling_replaces_the_first(dataset):
    sample_references(dataset, "ground_truth", shots=5, seed=1)
    report = sample_references(dataset, "ground_truth", shots=1, seed=2)
    assert len(tagged(dataset)) == len(report.label_ids) == 3


def test_labels_outside_the_view_keep_their_tag(dataset):
    sample_references(dataset.limit(1), "ground_truth", shots=1)
    sample_references(dataset.skip(1), "ground_truth", shots=1)
    assert len(tagged(dataset)) == 6


def test_images_serve_a_class_once_while_there_are_others(dataset):
    sample = dataset.first()
    sample.ground_truth.detections += [
        fo.Detection(label="red", bounding_box=[0, 0, 0.1, 0.1], mask=np.ones((6, 9), bool))
        for _ in range(20)
    ]
    sample.save()
    view = dataset.select_fields("ground_truth")
    sample_references(dataset, "ground_truth", shots=6, classes=["red"])
    assert len(tagged(dataset)) == 6
    report = sample_references(view, "ground_truth", shots=9, classes=["red"])
    assert report.counts == {"red": 9} and not report.short


def test_short_classes_and_labels_passed_over_are_reported(dataset):
    sample = dataset.first()
    sample.ground_truth.detections[0].mask = None
    sample.ground_truth.detections[1]["iscrowd"] = 1
    sample.save()

    report = sample_references(dataset, "ground_truth", shots=6)

    short = {sample.ground_truth.detections[i].label: 5 for i in (0, 1)}
    assert report.short == short
    assert report.passed_over == {"no mask": 1, "marked as a crowd": 1}


def test_a_crowd_is_known_by_an_attribute_of_the_older_form_too(dataset):
    sample = dataset.first()
    old, plain, _ = sample.ground_truth.detections
    old.attributes["iscrowd"] = fo.NumericAttribute(value=1)
    plain.attributes["iscrowd"] = fo.NumericAttribute(value=0)
    sample.save()
    report = sample_references(dataset, "ground_truth", shots=6)
    assert (report.short, report.passed_over) == ({old.label: 5}, {"marked as a crowd": 1})


def test_the_papers_protocol_runs_over_the_labels_in_the_views_order(dataset):
    """Blocks 20 wide are too small for it, so the images are told to be four times as large."""
    from PIL import Image

    for index, sample in enumerate(dataset):
        size = (scenes.SIZE[1] * 4, scenes.SIZE[0] * 4)
        Image.fromarray(scenes.draw(index)).resize(size).save(sample.filepath)
    images, annotations, names = [], [], ["red", "green", "blue"]
    for index, sample in enumerate(dataset):
        images.append({"id": index, "width": 384, "height": 256})
        for detection in sample.ground_truth.detections:
            x1, y1, x2, y2 = (4 * edge for edge in scenes.blocks(index)[detection.label])
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": index,
                    "category_id": names.index(detection.label),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                }
            )
    coco = {"images": images, "annotations": annotations}
    expected = {
        (f"{r['image_id']:03}.png", names[r["category_id"]]) for r in sample_few_shot(coco, 3, 33)
    }

    sample_references(dataset, "ground_truth", shots=3, seed=33, protocol="paper")

    assert tagged(dataset) == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"shots": 0}, "shots is 0"),
        ({"classes": ["pink"]}, "'pink'"),
        ({"protocol": "dice"}, "'spread', 'paper'"),
        ({"tag": ""}, "which is empty or no text"),
        ({"tag": "$tags"}, "begin with a dollar sign"),
        ({"tag": None}, "which is empty or no text"),
        ({"shots": 2.5}, "shots is 2.5; it must be a whole number"),
        ({"shots": True}, "shots is True; it must be a whole number"),
        ({"shots": "3"}, "shots is '3'; it must be a whole number"),
        ({"seed": None}, "seed is None; it must be a whole number"),
        ({"classes": []}, "No class was chosen"),
        ({"group_slices": "left"}, "not grouped"),
        ({"protocol": "paper"}, "can be a reference"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_tagged(dataset, arguments, said):
    sample_references(dataset, "ground_truth", shots=1)
    with pytest.raises(DatasetError, match=said):
        sample_references(dataset, "ground_truth", **arguments)
    assert len(tagged(dataset)) == 3


@pytest.fixture
def drawn(dataset):
    """The blocks as polylines too: of the first sample one is a line, one empty, one not closed."""
    for index, sample in enumerate(dataset):
        shapes = scenes.polylines(index, closed=True)
        if index == 0:
            shapes[0].closed, shapes[0].filled, shapes[1].points = False, False, []
            shapes[2].closed = False
        sample["drawn"] = fo.Polylines(polylines=shapes)
        sample.save()
    return dataset


def test_polylines_are_sampled_and_what_is_no_area_is_passed_over(drawn):
    report = sample_references(drawn, "drawn", shots=6)
    assert sorted(report.counts.values()) == [5, 5, 6]
    assert report.passed_over == {"neither closed nor filled, or without corners": 2}
    tags = drawn.filter_labels("drawn", fo.ViewField("tags").contains("reference"))
    assert set(tags.values("drawn.polylines.id", unwind=True)) == set(report.label_ids)


def test_polylines_are_drawn_by_lot_as_their_masks_would_be(drawn):
    """The order of the lots follows path and box, which are the same for both."""
    masks = sample_references(drawn.skip(1), "ground_truth", shots=2, seed=3)
    lines = sample_references(drawn.skip(1), "drawn", shots=2, seed=3)
    assert _places(drawn, "ground_truth.detections", masks) == _places(
        drawn, "drawn.polylines", lines
    )


def _places(dataset, path, report):
    """(sample, class) of each label that was chosen."""
    return {
        (sample.id, label.label)
        for sample in dataset
        for label in sample.get_field(path)
        if label.id in report.label_ids
    }


def test_the_slices_of_a_grouped_dataset_are_sampled(dataset):
    grouped = fo.Dataset(f"{dataset.name}_grouped")
    try:
        grouped.add_group_field("group", default="left")
        copies = []
        for index, sample in enumerate(dataset):
            group = fo.Group().element(["left", "right"][index % 2])
            labels = sample.ground_truth.copy()
            copies.append(fo.Sample(filepath=sample.filepath, group=group, ground_truth=labels))
        grouped.add_samples(copies, progress=False)
        assert sample_references(grouped, "ground_truth").counts["red"] == 3
        both = sample_references(grouped, "ground_truth", group_slices=["left", "right"])
        assert both.counts["red"] == 6
    finally:
        grouped.delete()


def test_classes_that_look_alike_are_told(dataset):
    sample = dataset.first()
    sample.ground_truth.detections[0].label = "Red"
    sample.save()
    report = sample_references(dataset, "ground_truth", shots=1)
    assert set(report.counts) >= {"Red", "red"}
    assert "'Red'" in str(report) and "look alike" in report.notes[0]


@pytest.mark.parametrize("name", ["$set", "a.b", "x" * 10_000, "\u540d\u524d"])
def test_a_class_of_any_name_is_sampled(dataset, name):
    sample = dataset.first()
    sample.ground_truth.detections[0].label = name
    sample.save()
    report = sample_references(dataset, "ground_truth", shots=1, classes=name)
    assert report.counts == {name: 1}
    assert report.label_ids == (sample.ground_truth.detections[0].id,)
    assert len(str(sample_references(dataset, "ground_truth", shots=2, classes=name))) < 500


@pytest.mark.parametrize("name", [" ", None])
def test_labels_without_a_name_are_counted_as_passed_over(dataset, name):
    sample = dataset.first()
    sample.ground_truth.detections[0].label = name
    sample.save()
    report = sample_references(dataset, "ground_truth")
    assert report.passed_over == {"no class name": 1}
    assert len(report.label_ids) == 17
