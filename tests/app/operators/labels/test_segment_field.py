"""The field that the App offers for labels: never one of another bank, or of a person."""

import pytest

import ntt_plugin as ntt
from ntt_plugin.dataset.database.last_used import keep_last_used

OF_THE_APP = {"selected_samples": []}


def offered(plugin, dataset, bank: str, **request):
    form = plugin.form(dataset, "segment_with_memory_bank", params={"bank": bank}, **request)
    return form.default("label_field")


@pytest.fixture
def two_banks(dataset):
    ntt.duplicate_memory_bank(dataset, "shapes", "other")
    return dataset


def test_a_field_of_the_same_bank_is_offered(plugin, dataset):
    assert offered(plugin, dataset, "shapes", **OF_THE_APP) == "ntt"


def test_a_field_that_is_free_is_offered(plugin, two_banks):
    two_banks.delete_sample_field("ntt")
    assert offered(plugin, two_banks, "other", **OF_THE_APP) == "ntt"


def test_for_a_field_of_another_bank_a_new_one_is_offered(plugin, two_banks):
    assert offered(plugin, two_banks, "other", **OF_THE_APP) == "ntt_2"


def test_for_a_field_of_a_person_a_new_one_is_offered(plugin, two_banks):
    two_banks.delete_sample_field("ntt")
    two_banks.clone_sample_field("ground_truth", "ntt")
    two_banks.clone_sample_field("ground_truth", "ntt_2")
    assert offered(plugin, two_banks, "other", **OF_THE_APP) == "ntt_3"


def test_the_field_that_was_used_last_is_offered(plugin, dataset):
    keep_last_used(dataset, "segment_with_memory_bank", {"label_field": "mine"})
    assert offered(plugin, dataset, "shapes", **OF_THE_APP) == "mine"


def test_a_script_gets_what_the_sdk_takes(plugin, two_banks):
    assert offered(plugin, two_banks, "other") == "ntt"
