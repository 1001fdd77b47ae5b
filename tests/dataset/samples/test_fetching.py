"""Samples are asked of the database in batches that are fresh when their turn comes."""

import zlib

import pytest
from mongoengine.errors import InvalidDocumentError
from pymongo.errors import AutoReconnect

from ntt_plugin.dataset.samples import fetching
from ntt_plugin.dataset.samples.fetching import fetch_documents, fetch_samples, in_batches

IDS = [str(number) for number in range(100)]


def test_all_come_in_order():
    assert list(in_batches(lambda ids: ids, IDS)) == IDS


def test_slow_work_makes_small_batches(monkeypatch):
    now, asked = [0.0], []
    monkeypatch.setattr(fetching.time, "monotonic", lambda: now[0])

    def fetch(ids):
        asked.append(len(ids))
        return ids

    for _ in in_batches(fetch, IDS[:12]):
        now[0] += 10.0
    assert max(asked[-3:]) == 1


def test_documents_have_what_is_asked_for_and_lack_the_deleted(dataset):
    ids = dataset.values("id")
    dataset.delete_samples(ids[:1])
    found = fetch_documents(dataset, {"filepath": 1}, ids)
    assert {key: entry["filepath"] for key, entry in found.items()} == dict(
        zip(ids[1:], dataset.values("filepath"), strict=True)
    )
    assert all(set(entry) == {"_id", "filepath"} for entry in found.values())


def test_a_sample_that_cannot_be_loaded_is_an_error_in_its_place(dataset):
    bad, *others = dataset.values("id")
    place = {"_id": dataset.first()._id}
    dataset._sample_collection.update_one(place, {"$set": {"tags": [{"_cls": "Nothing"}]}})
    found = fetch_samples(dataset, ["ground_truth"], [bad, *others])
    assert isinstance(found[bad], Exception)
    assert [found[key].id for key in others] == others


@pytest.mark.parametrize("error", [InvalidDocumentError("odd"), zlib.error("not deflated")])
def test_whatever_is_wrong_with_a_document_concerns_that_sample_only(dataset, monkeypatch, error):
    ids, original = dataset.values("id"), fetching.all_images

    class Odd:
        def __init__(self, view):
            self.view = view

        def select_fields(self, fields):
            return Odd(self.view.select_fields(fields))

        def select(self, chosen):
            if ids[1] in chosen:
                raise error
            return self.view.select(chosen)

    monkeypatch.setattr(fetching, "all_images", lambda dataset: Odd(original(dataset)))
    found = fetch_samples(dataset, ["ground_truth"], ids)
    assert [key for key, value in found.items() if value is error] == [ids[1]]
    assert set(found) == set(ids)


@pytest.mark.parametrize("error", [ConnectionError, AutoReconnect])
def test_a_database_that_is_gone_is_not_taken_for_a_bad_sample(dataset, monkeypatch, error):
    def gone(dataset):
        raise error

    monkeypatch.setattr(fetching, "all_images", gone)
    with pytest.raises(error):
        fetch_samples(dataset, ["ground_truth"], dataset.values("id"))
