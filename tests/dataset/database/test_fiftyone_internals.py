"""What this package uses of FiftyOne's internals is there, and means what we take it to mean.

Where a new version of FiftyOne changes one of them, a test here fails first and names it.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import zlib
from collections.abc import Iterator, MutableMapping
from pathlib import Path

import fiftyone as fo
import fiftyone.core.odm as foo
import numpy as np
import pytest
from bson import DBRef, ObjectId
from fiftyone import ViewField as F

import ntt_plugin
from ntt_plugin.dataset.database import fiftyone_internals as internals
from ntt_plugin.dataset.database import grid_files
from ntt_plugin.dataset.database.custom_runs import RESULTS_CLASS
from ntt_plugin.errors import DatasetError
from ntt_plugin.worker.labels.label_bytes import encode_mask

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
    internals.reload_held(dataset, "ground_truth", dataset.values("id"))
    assert sample.ground_truth.detections[0].label == "another", f"fo.Sample._instances, {SEEN_IN}"


def test_what_is_not_saved_yet_of_a_sample_in_memory_stays(dataset):
    sample = dataset.first()
    sample.tags.append("mine")
    internals.samples_of(dataset).update_one(
        {"_id": ObjectId(sample.id)}, {"$set": {"ground_truth.detections.0.label": "another"}}
    )
    internals.reload_held(dataset, "ground_truth", [sample.id])
    assert sample.ground_truth.detections[0].label == "another" and sample.tags == ["mine"]
    sample.save()
    assert internals.samples_of(dataset).find_one({"_id": ObjectId(sample.id)})["tags"] == ["mine"]


def test_a_sample_that_was_deleted_is_passed_over_by_those_who_hold_it(dataset):
    sample = dataset.first()
    internals.samples_of(dataset).delete_one({"_id": ObjectId(sample.id)})
    internals.reload_held(dataset, "ground_truth", [sample.id])
    assert sample.ground_truth is not None


def test_a_sample_that_cannot_be_loaded_any_more_keeps_no_other_from_being_seen(dataset):
    samples = list(dataset)
    changes = [{"ground_truth": 7}] + [{"ground_truth.detections.0.label": "another"}] * 5
    for sample, change in zip(samples, changes, strict=True):
        internals.samples_of(dataset).update_one({"_id": ObjectId(sample.id)}, {"$set": change})
    internals.reload_held(dataset, "ground_truth", [sample.id for sample in samples])
    assert [sample.ground_truth.detections[0].label for sample in samples[1:]] == ["another"] * 5


def test_samples_are_streamed_in_the_order_of_their_view(dataset):
    view = dataset.sort_by("filepath", reverse=True).limit(3)
    found = internals.stream(view, [{"$project": {"filepath": 1}}])
    assert [entry["filepath"] for entry in found] == view.values("filepath"), (
        f"samples._aggregate, {SEEN_IN}"
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


def test_fields_are_declared_together_and_existing_ones_stay(dataset):
    internals.add_fields(dataset, {"ground_truth": dataset.get_field("ground_truth")})
    internals.add_fields(dataset, {"one": fo.StringField(), "ground_truth.run": fo.StringField()})
    stored = internals.stored_dataset(dataset, "sample_fields")["sample_fields"]
    fields = {field["name"]: field for field in stored}
    assert "one" in fields, f"dataset._merge_sample_field_schema, {SEEN_IN}"
    assert "run" in {field["name"] for field in fields["ground_truth"]["fields"]}
    with pytest.raises(ValueError):
        internals.add_fields(dataset, {"one": fo.IntField()})


def test_samples_in_memory_see_what_was_cleared_past_them(dataset):
    sample = dataset.first()
    internals.samples_of(dataset).update_many({}, {"$set": {"ground_truth": None}})
    internals.reload_samples(dataset)
    assert sample.ground_truth is None, f"fo.Sample._reload_docs, {SEEN_IN}"


def test_a_view_has_its_datasets_own_object(dataset):
    for samples in (dataset, dataset.limit(1).match_tags("no")):
        assert internals.root_dataset(samples) is dataset, f"samples._root_dataset, {SEEN_IN}"


def test_types_of_labels_name_their_lists():
    found = {kind: internals.label_list(kind) for kind in (fo.Detections, fo.Polylines)}
    assert found == {fo.Detections: "detections", fo.Polylines: "polylines"}, SEEN_IN
    assert internals.label_list(fo.Detection) is None


def test_a_mask_is_encoded_as_fiftyone_does():
    mask = np.eye(3, dtype=bool)
    label = fo.Detection(label="cat", mask=mask)
    ours, theirs = zlib.decompress(encode_mask(mask)), zlib.decompress(label.to_dict()["mask"])
    assert ours == theirs, f"fo.Detection._fields['mask'], {SEEN_IN}"


def test_a_view_changes_an_attribute_that_is_not_declared(dataset):
    path = "ground_truth.detections.undeclared"
    view = internals.set_undeclared(dataset, path, F("label"))
    held = view.first().ground_truth.detections[0]
    assert held.undeclared == held.label, f"set_field(_allow_missing=True), {SEEN_IN}"


def test_results_of_an_evaluation_load_the_given_samples(dataset):
    results = dataset.evaluate_detections("ground_truth", gt_field="ground_truth", progress=False)
    internals.attach_samples(results, dataset.limit(1))
    assert len(results.samples) == 1, f"results._samples, {SEEN_IN}"


def test_a_view_is_its_stages(dataset):
    view = dataset.limit(2).skip(1)
    kinds = [type(stage) for stage in internals.stages_of(view)]
    assert kinds == [fo.Limit, fo.Skip], f"view._stages, {SEEN_IN}"
    assert not internals.stages_of(dataset)
    stages = json.loads(json.dumps(internals.view_as_json(view)))
    again = internals.view_from_json(dataset, stages)
    assert again.values("id") == view.values("id"), (
        f"view._serialize, DatasetView._build, {SEEN_IN}"
    )
    assert internals.view_as_json(dataset) == []


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
    assert dataset.name not in internals.datasets_with_runs("some", exactly=True)


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


def test_no_other_folder_uses_them():
    database = Path(internals.__file__).parent
    names = {name for file in database.glob("*.py") for name in internal_names(file)}
    assert {"_doc", "_stages", "_allow_missing", "get_db_conn"} <= names
    package = Path(inspect.getfile(ntt_plugin)).parent
    elsewhere = [
        f"{file.relative_to(package)}: {name}"
        for file in package.rglob("*.py")
        if file.parent != database
        for name in internal_names(file)
        if name in names
    ]
    assert not elsewhere


def internal_names(file: Path) -> Iterator[str]:
    """Private attributes and arguments of others, and the database, that a module uses."""
    for node in ast.walk(ast.parse(file.read_text())):
        own = isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls")
        name = None if own else getattr(node, "attr", getattr(node, "arg", None))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
            name = getattr(node.args[1], "value", None)
        if isinstance(node, ast.alias):
            name = node.name
        if isinstance(name, str) and (name == "get_db_conn" or re.match("_[^_]", name)):
            yield name
