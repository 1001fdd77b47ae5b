"""Ids of samples in 12 bytes each behave as a list of texts does."""

import json
from collections import Counter

import pytest
from bson import ObjectId

from ntt_plugin.dataset.database.custom_runs import encode
from ntt_plugin.dataset.samples.sample_ids import SampleIds, ids_of

IDS = [str(ObjectId()) for _ in range(7)]


def test_they_are_the_ids_in_their_order():
    ids = SampleIds(IDS)
    assert list(ids) == IDS and len(ids) == 7
    assert [ids[0], ids[-1], ids[3]] == [IDS[0], IDS[-1], IDS[3]]
    assert ids == IDS and IDS == ids and ids == SampleIds(map(ObjectId, IDS))
    assert ids != IDS[:-1] and ids != [*IDS[:-1], IDS[0]]
    assert repr(ids) == repr(IDS)


@pytest.mark.parametrize("place", [slice(2), slice(2, 5), slice(5, 2), slice(None, None, 2)])
def test_parts_are_those_of_the_list(place):
    assert SampleIds(IDS)[place] == IDS[place]


def test_what_is_not_there_is_an_error():
    ids = SampleIds(IDS[:3])
    with pytest.raises(IndexError):
        ids[3]
    with pytest.raises(ValueError):
        ids.remove(IDS[5])
    with pytest.raises(ValueError):
        ids.append("abc")
    assert IDS[5] not in ids and "abc" not in ids and 7 not in ids and IDS[1] in ids


def test_an_id_is_taken_out_and_others_are_added():
    ids = SampleIds(IDS[:4])
    ids.remove(IDS[1])
    ids.extend(SampleIds(IDS[5:]))
    ids.append(ObjectId(IDS[4]))
    assert ids == [IDS[0], IDS[2], IDS[3], IDS[5], IDS[6], IDS[4]]


def test_bytes_that_only_look_like_an_id_are_not_found():
    first, second = "ab" * 6 + "00" * 6, "11" * 6 + "ab" * 6
    between = "00" * 6 + "11" * 6
    ids = SampleIds([first, second])
    assert between not in ids
    assert SampleIds([first, second, between]).index(between) == 2


def test_ids_may_be_added_while_others_are_gone_through():
    ids, seen = SampleIds(IDS[:2]), []
    for sample_id in ids:
        seen.append(sample_id)
        if len(seen) == 1:
            ids.append(IDS[2])
    assert seen == IDS[:3]


@pytest.mark.parametrize("ids", [IDS, IDS[:1], []])
def test_the_database_keeps_them_as_a_list(ids):
    kept = {"report": {"segmented_ids": SampleIds(ids), "a": [1]}, "clearing": SampleIds(ids)}
    read = json.loads(encode(kept))
    assert read["report"] == {"segmented_ids": ids, "a": [1]} and read["clearing"] == ids
    plain = {"report": {"segmented_ids": ids, "a": [1]}, "clearing": ids}
    assert encode(kept) == encode(plain)


def test_ids_of_a_view_are_its_own(dataset):
    view = dataset.sort_by("filepath", reverse=True).limit(4)
    assert ids_of(view) == view.values("id")
    assert Counter(ids_of(dataset)) == Counter(dataset.values("id"))
