"""What this package uses of FiftyOne's internals is there, and means what we take it to mean.

Where a new version of FiftyOne changes one of them, a test here fails first and names it.
"""

from collections.abc import MutableMapping

import fiftyone as fo
import fiftyone.core.odm as foo
import pytest
from bson import DBRef, ObjectId

from ntt_plugin.dataset.database import fiftyone_internals as internals
from ntt_plugin.dataset.database import grid_files
from ntt_plugin.dataset.database.custom_runs import RESULTS_CLASS
from ntt_plugin.errors import DatasetError

SEEN_IN = f"seen in FiftyOne 1.22; this is FiftyOne {fo.__version__}"


@pytest.fixture
def listed(dataset):
    """The dataset, which lists one custom run with results, and that run's document."""
    dataset.register_run("key", dataset.init_run(bank="blocks"))
    dataset.save_run_results("key", dataset.init_run_results("key", found=3))
    return dataset, internals.runs().find_one({"_dataset_id": dataset._doc.id})


def test_a_dataset_has_a_document_whose_id_names_it_in_the_database(dataset):
    stored = internals.datasets().find_one({"_id": internals.dataset_id(dataset)})
    assert stored is not None and stored["name"] == dataset.name, f"dataset._doc.id, {SEEN_IN}"


def test_the_document_lists_fields_and_runs_by_name(listed):
    dataset, run = listed
    stored = internals.datasets().find_one({"_id": internals.dataset_id(dataset)})
    names = {field["name"] for field in stored["sample_fields"]}
    assert "ground_truth" in names, f"sample_fields.name of a dataset's document, {SEEN_IN}"
    assert names == {field.name for field in dataset._doc.sample_fields}, (
        f"dataset._doc.sample_fields, {SEEN_IN}"
    )
    assert stored["runs"] == {"key": run["_id"]}, f"runs of a dataset's document, {SEEN_IN}"


def test_a_sample_is_one_document_of_the_datasets_collection(dataset):
    sample = dataset.first()
    stored = internals.samples_of(dataset).find_one({"_id": ObjectId(sample.id)})
    assert stored["filepath"] == sample.filepath, f"dataset._sample_collection, {SEEN_IN}"
    held = stored["ground_truth"]
    assert held["_cls"] == "Detections" and str(held["detections"][0]["_id"]) == (
        sample.ground_truth.detections[0].id
    ), f"labels within a sample's document, {SEEN_IN}"


def test_whoever_holds_a_sample_sees_what_was_written_past_it(dataset):
    sample = dataset.first()
    internals.samples_of(dataset).update_one(
        {"_id": ObjectId(sample.id)}, {"$set": {"ground_truth.detections.0.label": "another"}}
    )
    internals.reload_sample(dataset.select_fields("ground_truth").first())
    assert sample.ground_truth.detections[0].label == "another", (
        f"sample._reload_parents, {SEEN_IN}"
    )


def test_a_custom_run_is_a_document_with_its_results_in_a_file(listed):
    _, run = listed
    assert run["key"] == "key" and run["config"]["bank"] == "blocks", f"a run's config, {SEEN_IN}"
    assert set(run) >= {"_id", "_dataset_id", "version", "timestamp", "results"}, (
        f"a run's document, {SEEN_IN}"
    )
    data = grid_files.read(run["results"])
    assert RESULTS_CLASS.encode() in data and b'"found": 3' in data, f"a run's results, {SEEN_IN}"


def test_a_dataset_object_holds_its_runs_as_mongoengine_does(listed):
    dataset, run = listed
    known = dataset._doc._data["runs"]
    assert isinstance(known, dict) and hasattr(known, "_dereferenced"), (
        f"dataset._doc._data['runs'], {SEEN_IN}"
    )
    held = dict.get(known, "key")
    assert isinstance(held, (DBRef, foo.RunDocument)) and held.id == run["_id"]
    assert isinstance(dataset._doc.runs["key"], foo.RunDocument), f"dataset._doc.runs, {SEEN_IN}"
    assert isinstance(dataset._run_cache, MutableMapping), f"dataset._run_cache, {SEEN_IN}"
    assert callable(dataset._doc.runs["key"]._clear_changed_fields)


def test_the_list_of_runs_is_read_again_alone(listed):
    dataset, run = listed
    place = {"_id": internals.dataset_id(dataset)}
    internals.datasets().update_one(place, {"$set": {"runs.other": run["_id"]}})
    internals.reload_runs(dataset)
    assert dataset.list_runs() == ["key", "other"], f"dataset._doc.reload('runs'), {SEEN_IN}"


@pytest.mark.parametrize(
    ("owner", "name"),
    [(fo.Dataset, "_merge_sample_field_schema"), (fo.Sample, "_reload_docs")],
)
def test_what_declares_and_clears_fields_is_there(owner, name):
    assert callable(getattr(owner, name, None)), f"{owner.__name__}.{name}, {SEEN_IN}"


def test_a_datasets_document_has_its_fields_and_evaluations(dataset):
    dataset.add_sample_field("fresh", fo.StringField)
    stored = internals.stored_dataset(dataset.limit(1), "sample_fields.name", "evaluations")
    assert "fresh" in {field["name"] for field in stored["sample_fields"]}
    assert stored["evaluations"] == {}


def test_a_deleted_dataset_is_an_error(dataset):
    dataset.delete()
    with pytest.raises(DatasetError, match="was deleted"):
        internals.stored_dataset(dataset, "name")


def test_datasets_are_found_by_the_keys_of_their_runs(dataset):
    assert dataset.name not in internals.datasets_with_runs("some")
    dataset.register_run("some_run", dataset.init_run())
    assert dataset.name in internals.datasets_with_runs("some")
    assert dataset.name not in internals.datasets_with_runs("other")


def test_a_sample_of_any_slice_is_found(dataset):
    group = fo.Group()
    samples = [
        fo.Sample(filepath=f"{side}.png", side=group.element(side), number=number)
        for number, side in enumerate(("left", "right"))
    ]
    grouped = fo.Dataset(f"{dataset.name}_grouped")
    try:
        grouped.add_samples(samples, progress=False)
        assert [internals.has_sample(grouped, {"number": number}) for number in range(3)] == [
            True,
            True,
            False,
        ]
    finally:
        grouped.delete()
