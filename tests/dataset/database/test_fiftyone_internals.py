"""FiftyOne's documents in MongoDB are as this version of FiftyOne writes them."""

from __future__ import annotations

import fiftyone as fo
import pytest

from ntt_plugin.dataset.database.fiftyone_internals import (
    datasets_with_runs,
    has_sample,
    stored_dataset,
)
from ntt_plugin.errors import DatasetError


def test_a_datasets_document_has_its_fields_and_evaluations(dataset):
    dataset.add_sample_field("fresh", fo.StringField)
    stored = stored_dataset(dataset.limit(1), "sample_fields.name", "evaluations")
    assert "fresh" in {field["name"] for field in stored["sample_fields"]}
    assert stored["evaluations"] == {}


def test_a_deleted_dataset_is_an_error(dataset):
    dataset.delete()
    with pytest.raises(DatasetError, match="was deleted"):
        stored_dataset(dataset, "name")


def test_datasets_are_found_by_the_keys_of_their_runs(dataset):
    assert dataset.name not in datasets_with_runs("some")
    dataset.register_run("some_run", dataset.init_run())
    assert dataset.name in datasets_with_runs("some")
    assert dataset.name not in datasets_with_runs("other")


def test_a_sample_of_any_slice_is_found(dataset):
    group = fo.Group()
    samples = [
        fo.Sample(filepath=f"{side}.png", side=group.element(side), number=number)
        for number, side in enumerate(("left", "right"))
    ]
    grouped = fo.Dataset(f"{dataset.name}_grouped")
    try:
        grouped.add_samples(samples, progress=False)
        assert [has_sample(grouped, {"number": number}) for number in range(3)] == [
            True,
            True,
            False,
        ]
    finally:
        grouped.delete()
