from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from ntt_plugin.dataset import references
from ntt_plugin.dataset.references import choose_references, read_references
from ntt_plugin.errors import DatasetError
from tests.dataset import scenes


def read(samples, **choice):
    refused = []
    chosen = choose_references(samples, "ground_truth", **choice)
    found = [r for r in read_references(chosen, "ground_truth", refused) if r is not None]
    return found, refused


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


def test_provenance_names_dataset_sample_and_label(dataset):
    found, _ = read(dataset.limit(1), classes=["red"])
    sample = dataset.first()
    label = next(d for d in sample.ground_truth.detections if d.label == "red")
    source = found[0].provenance
    assert (source.dataset, source.sample, source.label) == (dataset.name, sample.id, label.id)


def test_an_image_is_read_once_for_all_its_labels(dataset, monkeypatch):
    paths = []
    read_image = references.read_image
    monkeypatch.setattr(
        references, "read_image", lambda path: paths.append(path) or read_image(path)
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


def test_labels_of_an_unreadable_image_are_refused(dataset):
    Path(dataset.first().filepath).write_bytes(b"")
    found, refused = read(dataset.limit(2))
    assert len(found) == 3 and len(refused) == 3
    assert all("000.png" in entry.reason for entry in refused)


def test_a_sample_deleted_meanwhile_is_passed_over(dataset):
    chosen = choose_references(dataset, "ground_truth")
    dataset.delete_samples(dataset.values("id")[1:2])
    assert len(list(read_references(chosen, "ground_truth", []))) == 15


def test_a_label_without_a_name_stands_for_no_class(dataset):
    sample = dataset.first()
    sample.ground_truth.detections[0].label = " "
    sample.save()
    found, refused = read(dataset)
    assert len(found) == 17 and not refused


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"tag": "nobody"}, "has the tag 'nobody'"),
        ({"classes": ["red", "pink"]}, "'pink'; its classes are 'blue', 'green', 'red'"),
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
