"""Bytes by sample behave as a dict does."""

import random

import pytest
from bson import ObjectId

from ntt_plugin.dataset.samples.by_sample import BytesBySample

# Ids that end in zeros, which numpy takes off, and one that is a beginning of another.
IDS = ["f" * 24, "0" * 24, "a" * 22 + "00", "a" * 20 + "0000", "a" * 24, "00" * 11 + "01"]


def pairs(count: int = 500) -> list[tuple[str, bytes]]:
    chosen = random.Random(0)
    ids = [*IDS, *(ObjectId(chosen.randbytes(12)).binary.hex() for _ in range(count))]
    return [(key, chosen.randbytes(8)) for key in ids]


def test_it_holds_what_a_dict_holds_in_order_of_the_ids():
    held = dict(pairs())
    packed = BytesBySample(pairs(), 8)
    assert dict(packed) == held and list(packed) == sorted(held) and len(packed) == len(held)


@pytest.mark.parametrize("value", [b"\0" * 8, b"a" + b"\0" * 7, b"\0" * 7 + b"a"])
def test_zeros_in_values_stay(value):
    assert BytesBySample([(IDS[0], value)], 8)[IDS[0]] == value


def test_of_a_sample_that_comes_twice_the_later_value_counts():
    twice = [(IDS[0], b"a"), (IDS[1], b"b"), (IDS[0], b"c")]
    assert dict(BytesBySample(twice, 1)) == dict(twice)


@pytest.mark.parametrize("other", ["1" * 24, "f" * 22, "no id", "", "a" * 18 + "000000"])
def test_what_is_not_there_is_a_key_error(other):
    packed = BytesBySample(pairs(5), 8)
    assert packed.get(other) is None and other not in packed
    with pytest.raises(KeyError):
        packed[other]


def test_an_empty_one_has_nothing():
    assert dict(BytesBySample([], 8)) == {} and IDS[0] not in BytesBySample([], 8)


def test_the_packed_form_does_not_depend_on_the_order():
    assert BytesBySample(pairs(), 8).packed == BytesBySample(reversed(pairs()), 8).packed
    assert BytesBySample(pairs(), 8).packed != BytesBySample(pairs()[1:], 8).packed
