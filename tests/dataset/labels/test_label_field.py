import uuid

import fiftyone as fo
import pytest

from ntt_plugin.dataset.database.dataset_locks import schema_lock
from ntt_plugin.dataset.labels.convert import LABEL_ATTRIBUTES
from ntt_plugin.dataset.labels.label_field import declare


@pytest.fixture
def empty():
    dataset = fo.Dataset(f"test_{uuid.uuid4().hex}")
    yield dataset
    dataset.delete()


def declared(dataset, field):
    with schema_lock(dataset):
        declare(dataset, field, LABEL_ATTRIBUTES)


def one_by_one(dataset, field):
    """The same field, by a call of FiftyOne's for each part of it."""
    dataset.add_sample_field(
        field,
        fo.EmbeddedDocumentField,
        embedded_doc_type=fo.Detections,
        info={"made_by": "ntt_plugin"},
    )
    dataset.add_sample_field(f"{field}.run", fo.StringField)
    for name, kind in LABEL_ATTRIBUTES.items():
        dataset.add_sample_field(f"{field}.detections.{name}", kind)


def stored(dataset, field):
    """A field in the dataset's document, without its name and the dates of its parts."""

    def plain(value):
        if isinstance(value, list):
            return [plain(item) for item in value]
        if isinstance(value, dict):
            return {name: plain(item) for name, item in value.items() if name != "created_at"}
        return value

    fields = dataset._doc.to_dict()["sample_fields"]
    (found,) = (entry for entry in fields if entry["name"] == field)
    return {**plain(found), "name": None, "db_field": None}


def test_a_field_is_stored_as_fiftyone_stores_one_made_step_by_step(empty):
    declared(empty, "made")
    one_by_one(empty, "expected")
    assert stored(empty, "made") == stored(empty, "expected")


def test_a_field_that_a_killed_run_left_incomplete_is_completed(empty):
    empty.add_sample_field(
        "made",
        fo.EmbeddedDocumentField,
        embedded_doc_type=fo.Detections,
        info={"made_by": "ntt_plugin"},
    )
    declared(empty, "made")
    one_by_one(empty, "expected")
    assert stored(empty, "made") == stored(empty, "expected")


def test_attributes_can_be_written_and_filtered_after_loading_it_anew(empty):
    declared(empty, "made")
    label = fo.Detection(label="a", bounding_box=[0, 0, 1, 1], margin=0.5)
    empty.add_sample(fo.Sample(filepath="a.png", made=fo.Detections(detections=[label])))
    empty.reload()
    assert empty.count_values("made.detections.margin") == {0.5: 1}
    assert len(empty.filter_labels("made", fo.ViewField("margin") > 0.4)) == 1
