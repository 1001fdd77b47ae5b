from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from ntt_plugin.dataset.references import choose
from ntt_plugin.dataset.references.choose import choose_references, read_references
from ntt_plugin.errors import DatasetError
from tests.dataset import scenes


def read(samples, field="ground_truth", **choice):
    """The references, and the labels that were refused with the reasons."""
    read = list(read_references(choose_references(samples, field, **choice)))
    refused = [entry.refused(entry.problem) for entry in read if entry.reference is None]
    return [entry.reference for entry in read if entry.reference is not None], refused


def test_each_label_becomes_a_reference_with_its_pixels(dataset):
    found, refused = read(dataset)

    assert len(found) == 18 and not refused
    by_sample = {sample.id: Path(sample.filepath) for sample in dataset}
    for reference in found:
        box = scenes.blocks(int(by_sample[reference.provenance.sample].stem))[reference.label]
        rows, columns = np.nonzero(reference.mask)
        x1, y1, x2, y2 = box
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == box
        assert reference.mask.sum() == (x2 - x1) * (y2 - y1)
        assert reference.box == reference.provenance.box == box


def test_an_image_is_read_once_for_all_its_labels(dataset, monkeypatch):
    paths = []
    read_image = choose.read_with_notes
    monkeypatch.setattr(
        choose, "read_with_notes", lambda path: paths.append(path) or read_image(path)
    )
    read(dataset)
    assert len(paths) == len(set(paths)) == 6


def test_only_labels_with_the_tag_and_class_are_read(dataset):
    sample = dataset.first()
    for detection in sample.ground_truth.detections:
        detection.tags = ["mine"]
    sample.save()
    found, _ = read(dataset, tag="mine", classes=["red", "blue"])
    assert sorted(reference.label for reference in found) == ["blue", "red"]


def test_refused_labels_are_listed_with_reasons(dataset):
    sample = dataset.first()
    bare, crowd, _ = sample.ground_truth.detections
    bare.mask, crowd["iscrowd"] = None, 1
    sample.save()

    found, refused = read(dataset.limit(1))

    assert len(found) == 1
    reasons = {entry.provenance.label: entry.reason for entry in refused}
    assert "no mask" in reasons[bare.id] and "crowd" in reasons[crowd.id]
    assert all(sample.filepath in reason for reason in reasons.values())
    assert {entry.provenance.sample for entry in refused} == {sample.id}


def test_a_mask_on_disk_is_read(dataset, tmp_path):
    sample = dataset.first()
    label = sample.ground_truth.detections[0]
    path = tmp_path / "mask.png"
    Image.fromarray(label.mask.astype(np.uint8) * 255).save(path)
    label.mask, label.mask_path = None, str(path)
    other = sample.ground_truth.detections[1]
    other.mask, other.mask_path = None, str(tmp_path / "missing.png")
    sample.save()
    found, (refused,) = read(dataset.limit(1))
    assert {entry.provenance.label for entry in found} >= {label.id}
    assert refused.provenance.label == other.id and "missing.png" in refused.reason


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ({"bounding_box": [float("nan"), 0, 0.1, 0.1]}, "finite numbers"),
        ({"bounding_box": [3.0, 3.0, 0.1, 0.1]}, "outside the image"),
        ({"bounding_box": []}, "finite numbers"),
        ({"mask": np.zeros((5, 5), bool)}, "mask is empty"),
    ],
)
def test_a_label_that_cannot_be_read_is_refused_and_the_others_are_not(dataset, spoil, said):
    sample = dataset.first()
    label = sample.ground_truth.detections[0]
    for name, value in spoil.items():
        label[name] = value
    sample.save()
    found, (refused,) = read(dataset)
    assert len(found) == 17
    assert refused.provenance.label == label.id and said in refused.reason


def test_a_sample_deleted_meanwhile_is_passed_over(dataset):
    chosen = choose_references(dataset, "ground_truth")
    dataset.delete_samples(dataset.values("id")[1:2])
    assert len(list(read_references(chosen))) == 15


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"tag": "nobody"}, "has the tag 'nobody'"),
        ({"classes": ["red", "pink"]}, r"'pink' in .*; its classes are 'blue', 'green', 'red'"),
    ],
)
def test_a_choice_that_leaves_nothing_says_so(dataset, choice, said):
    with pytest.raises(DatasetError, match=said):
        read(dataset, **choice)


def test_a_class_without_a_tagged_label_is_named(dataset):
    red = dataset.filter_labels("ground_truth", fo.ViewField("label") == "red")
    red.tag_labels("mine")
    with pytest.raises(DatasetError, match="class 'blue'"):
        read(dataset, tag="mine", classes=["red", "blue"])


def test_a_field_of_another_type_is_refused_with_those_that_would_do(dataset):
    dataset.add_sample_field("words", fo.StringField)
    for field in ("words", "nothing"):
        with pytest.raises(DatasetError, match="'ground_truth'"):
            choose_references(dataset, field)


def test_patches_and_empty_views_are_refused(dataset):
    with pytest.raises(DatasetError, match="patches view"):
        choose_references(dataset.to_patches("ground_truth"), "ground_truth")
    with pytest.raises(DatasetError, match="holds no sample"):
        choose_references(dataset.limit(0), "ground_truth")


def test_a_sample_tag_chooses_the_samples_to_learn_from(dataset):
    first, second = dataset.limit(2)
    dataset.select([first.id, second.id]).tag_samples("good")
    found, _ = read(dataset, sample_tag="good", classes=["red"])
    assert {entry.provenance.sample for entry in found} == {first.id, second.id}
    with pytest.raises(DatasetError, match="tag 'bad'; its sample tags are 'good'"):
        read(dataset, sample_tag="bad")


def test_selected_samples_and_selected_labels_choose_references(dataset):
    sample = dataset.skip(2).first()
    found, _ = read(dataset.select(sample.id))
    assert {entry.provenance.sample for entry in found} == {sample.id} and len(found) == 3

    ids = [label.id for s in dataset for label in s.ground_truth.detections][3:8]
    found, _ = read(dataset.select_labels(ids=ids))
    assert {entry.provenance.label for entry in found} == set(ids)
    clicked = [
        {"label_id": label.id, "sample_id": sample.id, "field": "ground_truth"}
        for label in sample.ground_truth.detections[:2]
    ]
    found, _ = read(dataset.select_labels(labels=clicked))
    assert {entry.provenance.label for entry in found} == {c["label_id"] for c in clicked}


@pytest.fixture
def drawn(dataset):
    """The blocks as polylines beside their masks; the first is a line, some are not closed."""
    for index, sample in enumerate(dataset):
        shapes = scenes.polylines(index, closed=index > 2)
        if index == 0:
            shapes[0].filled = False
        sample["drawn"] = fo.Polylines(polylines=shapes)
        sample.save()
    return dataset


def test_filled_polylines_are_the_same_references_as_masks(drawn):
    by_mask, _ = read(drawn.skip(1))
    by_line, refused = read(drawn.skip(1), "drawn")
    assert len(by_line) == 15 and not refused
    for one, other in zip(by_mask, by_line, strict=True):
        assert np.array_equal(one.mask, other.mask)
        assert (one.label, one.box, one.provenance.box) == (
            other.label,
            other.box,
            other.provenance.box,
        )


def test_a_polyline_neither_closed_nor_filled_is_refused_by_name(drawn):
    found, (refused,) = read(drawn, "drawn")
    assert len(found) == 17
    assert refused.provenance.label == drawn.first().drawn.polylines[0].id
    assert "filled and closed are False" in refused.reason


def test_a_tag_that_mongodb_could_take_for_a_field_is_a_tag(dataset):
    dataset.limit(1).tag_labels("$tags")
    found, _ = read(dataset, tag="$tags")
    assert len(found) == 3


def test_polylines_are_chosen_by_tag_and_class_too(drawn):
    red = drawn.filter_labels("drawn", fo.ViewField("label") == "red")
    red.limit(3).tag_labels("mine", label_fields="drawn")
    found, refused = read(drawn, "drawn", tag="mine", classes=["red"])
    assert len(found) + len(refused) == 3
    assert {entry.label for entry in found} == {"red"}


def test_a_message_cuts_a_long_name_short(dataset):
    with pytest.raises(DatasetError) as caught:
        read(dataset, classes=["y" * 10_000])
    assert len(str(caught.value)) < 500


def test_an_empty_list_of_classes_is_refused(dataset):
    with pytest.raises(DatasetError, match="No class was chosen"):
        read(dataset, classes=[])


def test_a_grouped_dataset_gives_the_references_of_its_slices(dataset):
    grouped = fo.Dataset(f"{dataset.name}_grouped")
    try:
        grouped.add_group_field("group", default="left")
        samples = []
        for index, sample in enumerate(dataset):
            element = fo.Group().element(["left", "right", "film"][index % 3])
            path = f"/nowhere/{index}.mp4" if index % 3 == 2 else sample.filepath
            labels = sample.ground_truth.copy()
            samples.append(fo.Sample(filepath=path, group=element, ground_truth=labels))
        grouped.add_samples(samples, progress=False)
        for slices, count in ((None, 6), ("right", 6), (["left", "right"], 12)):
            found, refused = read(grouped, group_slices=slices)
            assert (len(found), len(refused)) == (count, 0)
        with pytest.raises(DatasetError, match=r"'film' .* holds video"):
            read(grouped, group_slices="film")
    finally:
        grouped.delete()
