"""Thresholds that a bank keeps: what can be one, and how they go through file and change."""

import numpy as np
import pytest
import torch

from ntt_plugin.engine.bank.memory_bank import Fingerprint, MemoryBank
from ntt_plugin.errors import BankError
from tests.bad_input.bank_mutations import with_document

ENCODER = Fingerprint("facebook/dinov2-large", "0123456789abcdef", 518, 4)
NO_THRESHOLD = [-0.1, 1.1, float("nan"), float("inf"), True, None, "0.5", [], 10**400]


@pytest.fixture
def bank():
    bank = MemoryBank(ENCODER)
    bank.add("boat", torch.tensor([[0.1, 2, 3, 4], [5, 6, 7, 8]]))
    bank.add("$bird.a", torch.arange(4.0))
    return bank


def test_a_bank_has_none_at_first(bank):
    assert bank.thresholds == {}


def test_they_come_back_from_the_file(bank):
    bank.set_thresholds({"$bird.a": 0.1 + 0.2, "boat": 1})
    assert MemoryBank.from_bytes(bank.to_bytes()).thresholds == {"boat": 1.0, "$bird.a": 0.1 + 0.2}


def test_setting_takes_away_those_of_classes_not_named(bank):
    bank.set_thresholds({"boat": 0.5})
    bank.set_thresholds({"$bird.a": 0.0})
    assert bank.thresholds == {"$bird.a": 0.0}


def test_a_bank_without_them_has_the_bytes_it_always_had(bank):
    before = bank.to_bytes()
    bank.set_thresholds({"boat": 0.5})
    assert rb"\"threshold\"" in bank.to_bytes()
    bank.set_thresholds({})
    assert bank.to_bytes() == before
    assert rb"\"threshold\"" not in before


def test_numbers_of_numpy_are_kept_as_numbers(bank):
    bank.set_thresholds({"boat": np.float64(0.25)})
    assert MemoryBank.from_bytes(bank.to_bytes()).thresholds == {"boat": 0.25}


@pytest.mark.parametrize("value", NO_THRESHOLD, ids=lambda value: repr(value)[:6])
def test_what_is_no_threshold_is_refused_and_changes_nothing(bank, value):
    bank.set_thresholds({"boat": 0.5})
    with pytest.raises(BankError, match=r"threshold of 'boat'.*from 0 to 1"):
        bank.set_thresholds({"$bird.a": 0.1, "boat": value})
    assert bank.thresholds == {"boat": 0.5}


@pytest.mark.parametrize("value", NO_THRESHOLD, ids=lambda value: repr(value)[:6])
def test_what_is_no_threshold_in_a_file_is_refused(bank, value):
    def forge(document):
        document["classes"][0]["threshold"] = value

    with pytest.raises(BankError, match="not a sound memory bank"):
        MemoryBank.from_bytes(with_document(bank.to_bytes(), forge))


def test_an_unknown_class_is_refused(bank):
    with pytest.raises(BankError, match=r"no class 'cow'.*boat"):
        bank.set_thresholds({"cow": 0.5})


def test_they_are_no_change_of_what_the_bank_finds(bank):
    version, prototypes = bank.version, bank.unit_features
    bank.set_thresholds({"boat": 0.5})
    assert (bank.version, bank.unit_features) == (version, prototypes)


def test_a_threshold_goes_with_its_class(bank):
    bank.set_thresholds({"boat": 0.5, "$bird.a": 0.2})
    bank.remove("boat")
    bank.remove_reference(bank.references("$bird.a")[0].id)
    bank.add("boat", torch.ones(4))
    assert bank.thresholds == {}


def test_merging_keeps_the_own_and_takes_what_is_missing(bank):
    other = MemoryBank.from_bytes(bank.to_bytes())
    other.add("cow", torch.ones(4))
    other.set_thresholds({"boat": 0.9, "$bird.a": 0.2, "cow": 0.3})
    bank.set_thresholds({"boat": 0.5})
    bank.merge(other)
    assert bank.thresholds == {"boat": 0.5, "$bird.a": 0.2, "cow": 0.3}
