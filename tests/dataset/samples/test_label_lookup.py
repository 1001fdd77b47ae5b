import uuid

import fiftyone as fo
import pytest
from bson import ObjectId

from ntt_plugin.dataset.samples.label_lookup import find_sources
from ntt_plugin.engine.references import Provenance


@pytest.fixture
def labels(dataset):
    """A label's provenance by the field that it is in; samples hold others beside it."""
    sample = dataset.first()
    shape = fo.Polyline(points=[[(0, 0), (1, 0), (1, 1)]], closed=True, filled=True)
    sample["shapes"] = fo.Polylines(polylines=[shape, shape.copy()])
    sample["nothing"] = fo.Detections()
    sample["class"] = fo.Classification(label="detections")
    sample.save()
    return {
        "ground_truth": Provenance(dataset.name, sample.id, sample.ground_truth.detections[1].id),
        "shapes": Provenance(dataset.name, sample.id, sample.shapes.polylines[1].id),
    }


@pytest.mark.parametrize("field", ["ground_truth", "shapes"])
def test_a_label_is_found_in_whichever_field_has_it(dataset, labels, field):
    (source,) = find_sources([labels[field]])
    assert source.filepath == dataset.first().filepath
    assert str(source.label["_id"]) == labels[field].label


def test_answers_are_in_the_order_of_the_questions(dataset, labels):
    asked = [
        Provenance(dataset.name, sample.id, label.id)
        for sample in dataset
        for label in sample.ground_truth.detections
    ]
    asked = [*asked[::-1], labels["shapes"], asked[4]]
    found = find_sources(asked)
    assert [str(source.label["_id"]) for source in found] == [one.label for one in asked]


def test_a_label_that_is_gone_leaves_the_image(dataset, labels):
    sample = dataset.first()
    for label in (None, "no id", str(ObjectId())):
        (source,) = find_sources([Provenance(dataset.name, sample.id, label)])
        assert (source.filepath, source.label) == (sample.filepath, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": None},
        {"dataset": "there is none of this name"},
        {"sample": None},
        {"sample": "no id"},
        {"sample": "0123456789abcdef01234567"},
    ],
    ids=str,
)
def test_a_sample_that_is_not_there_is_none(labels, changes):
    asked = Provenance(**{**vars(labels["shapes"]), **changes})
    assert find_sources([asked]) == [None]


def test_a_renamed_dataset_is_found_by_being_given(dataset, labels):
    former = Provenance("former name", labels["shapes"].sample, labels["shapes"].label)
    (source,) = find_sources([former], dataset.limit(1))
    assert str(source.label["_id"]) == former.label


def test_lookup_falls_back_to_source_dataset(dataset, labels):
    other = fo.Dataset(uuid.uuid4().hex)
    try:
        found = find_sources(list(labels.values()), other)
    finally:
        other.delete()
    assert [str(source.label["_id"]) for source in found] == [p.label for p in labels.values()]


def test_samples_of_every_slice_are_found(dataset):
    grouped = fo.Dataset(uuid.uuid4().hex)
    grouped.add_group_field("group", default="left")
    group, path = fo.Group(), dataset.first().filepath
    samples = [fo.Sample(filepath=path, group=group.element(name)) for name in ("left", "right")]
    grouped.add_samples(samples)
    try:
        found = find_sources([Provenance(grouped.name, sample.id) for sample in samples])
        assert [source.filepath for source in found] == [path, path]
    finally:
        grouped.delete()
