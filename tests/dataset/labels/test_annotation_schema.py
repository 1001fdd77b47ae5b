"""FiftyOne's Annotate set up for a field: a person's schema stays, our attributes are hidden."""

import fiftyone as fo
import pytest

from ntt_plugin.dataset.labels.annotation_schema import set_up_annotation
from ntt_plugin.dataset.labels.convert import RESERVED_ATTRIBUTES
from ntt_plugin.dataset.segmentation.segment import segment

OWN = {
    "type": "detections",
    "component": "dropdown",
    "classes": ["purple", "red"],
    "default": "red",
    "attributes": [
        {"name": "quality", "type": "str", "component": "radio", "values": ["good", "bad"]},
        {"name": "planned", "type": "float", "component": "text"},
        {"name": "margin", "type": "float", "component": "text"},
    ],
}


@pytest.fixture
def segmented(dataset, bank, segmenter):
    segment(dataset, "blocks", "ntt", segmenter=segmenter)
    return dataset


@pytest.fixture
def annotated(segmented):
    """A field with a person's schema, and the schema that is there after set_up_annotation."""
    segmented.add_sample_field("ntt.detections.quality", fo.StringField)
    segmented.add_sample_field("ntt.detections.shade", fo.StringField)
    segmented.update_label_schema("ntt", OWN, allow_new_attrs=True)
    set_up_annotation(segmented, "ntt")
    return segmented.label_schemas["ntt"]


def named(schema):
    return {one["name"]: one for one in schema["attributes"]}


def test_without_a_schema_none_of_our_attributes_is_asked_for(segmented):
    set_up_annotation(segmented, "ntt")
    shown = set(named(segmented.label_schemas["ntt"]))
    assert len(RESERVED_ATTRIBUTES) >= 13
    assert shown <= {"tags"}


def test_attributes_of_a_person_stay_as_they_were(annotated):
    assert named(annotated)["quality"] == OWN["attributes"][0]
    assert named(annotated)["planned"] == OWN["attributes"][1]


def test_our_attributes_are_taken_out_of_a_persons_schema(annotated):
    assert "margin" not in named(annotated)


def test_attributes_that_the_schema_lacks_are_added(annotated):
    assert set(named(annotated)) - {"tags"} == {"quality", "planned", "shade"}


def test_classes_stay_first_and_those_of_the_labels_are_added(annotated, segmented):
    held = set(segmented.distinct("ntt.detections.label"))
    assert annotated["classes"][:2] == ["purple", "red"]
    assert set(annotated["classes"]) == {"purple", "red"} | held


def test_component_and_default_of_a_person_stay(annotated):
    assert (annotated["component"], annotated["default"]) == ("dropdown", "red")


def test_a_class_that_is_typed_freely_stays_so(segmented):
    segmented.update_label_schema("ntt", {"type": "detections", "component": "text"})
    classes = set_up_annotation(segmented, "ntt")
    schema = segmented.label_schemas["ntt"]
    assert schema["component"] == "text"
    assert "classes" not in schema
    assert set(classes) == set(segmented.distinct("ntt.detections.label"))


def test_a_second_time_changes_nothing(annotated, segmented):
    set_up_annotation(segmented, "ntt")
    assert segmented.label_schemas["ntt"] == annotated
