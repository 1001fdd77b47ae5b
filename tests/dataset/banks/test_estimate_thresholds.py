"""Thresholds of a bank estimated from its own reference images, and kept with it."""

import shutil

import numpy as np
import pytest

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.banks.edit import update_memory_bank
from ntt_plugin.dataset.banks.estimate_thresholds import estimate_thresholds
from ntt_plugin.dataset.banks.files import export_memory_bank
from ntt_plugin.dataset.banks.thresholds import save_thresholds
from ntt_plugin.engine.bank.memory_bank import MemoryBank
from ntt_plugin.engine.matching.leave_one_out import Annotated, LeaveOneOut
from ntt_plugin.engine.matching.match import match
from ntt_plugin.errors import DatasetError
from tests.dataset import scenes


def by_hand(bank, segmenter, count=6):
    """The same, of scenes whose objects are known."""
    observed = LeaveOneOut()
    for index in range(count):
        rest = MemoryBank(bank.fingerprint, bank.recipe)
        for label in bank.classes:
            for place, stored in enumerate(bank.references(label)):
                if place != index:
                    rest.add(label, stored.feature)
        annotated = []
        for label, (x1, y1, x2, y2) in scenes.blocks(index).items():
            mask = np.zeros(scenes.SIZE, bool)
            mask[y1:y2, x1:x2] = True
            annotated.append(Annotated(label, mask))
        found = match(segmenter.propose(scenes.draw(index)), rest, bank.recipe)
        observed.add(found, annotated, rest.classes)
    return observed.estimate(bank.classes)


def test_each_image_is_matched_without_its_own_references(dataset, bank, segmenter):
    found = estimate_thresholds(dataset, "blocks", segmenter=segmenter)
    assert found.thresholds == by_hand(bank, segmenter)
    assert (found.images, found.without, found.failed) == (6, {}, [])


@pytest.mark.parametrize("copied", [False, True])
def test_references_of_one_picture_in_two_samples_tell_nothing(
    copied, dataset, segmenter, tmp_path
):
    twin = dataset.first().copy()
    if copied:
        twin.filepath = str(shutil.copy(twin.filepath, tmp_path / "copy.png"))
    dataset.add_sample(twin)
    both = dataset.select([dataset.first().id, twin.id])
    banks.build_memory_bank(both, "ground_truth", "twins", segmenter=segmenter)
    found = estimate_thresholds(dataset, "twins", segmenter=segmenter)
    assert (found.images, found.thresholds) == (2, {})


def test_they_are_kept_with_the_bank_and_its_file_and_marked(dataset, bank, segmenter, tmp_path):
    found = estimate_thresholds(dataset, "blocks", segmenter=segmenter)
    recalls = {label: one.recall for label, one in found.thresholds.items()}
    path = tmp_path / "bank.safetensors"
    export_memory_bank(dataset, "blocks", path)
    for kept in (banks.load_memory_bank(dataset, "blocks"), MemoryBank.load(path)):
        assert kept.thresholds == {label: one.value for label, one in found.thresholds.items()}
        assert kept.expected_recalls == recalls
    assert banks.get_memory_bank_info(dataset, "blocks").expected_recalls == recalls
    save_thresholds(dataset, "blocks", thresholds={"red": 0.5})
    assert banks.get_memory_bank_info(dataset, "blocks").expected_recalls == {}


def test_without_save_the_bank_stays_as_it_is(dataset, bank, segmenter):
    estimate_thresholds(dataset, "blocks", save=False, segmenter=segmenter)
    assert banks.load_memory_bank(dataset, "blocks").to_bytes() == bank.to_bytes()


def test_thresholds_that_are_no_estimates_stay_unless_asked_for(dataset, bank, segmenter):
    bank.set_thresholds({"red": 0.123, "green": 0.5}, {"green": 0.9})
    banks.save_memory_bank(dataset, "blocks", bank, overwrite=True)
    right = by_hand(bank, segmenter)
    found = estimate_thresholds(dataset, "blocks", segmenter=segmenter)
    kept = banks.load_memory_bank(dataset, "blocks")
    assert (found.kept, found.thresholds) == (["red"], right)
    assert kept.thresholds == {label: one.value for label, one in right.items()} | {"red": 0.123}
    assert set(kept.expected_recalls) == {"green", "blue"}
    found = estimate_thresholds(dataset, "blocks", overwrite=True, segmenter=segmenter)
    kept = banks.load_memory_bank(dataset, "blocks")
    assert (found.kept, kept.thresholds["red"]) == ([], right["red"].value)
    assert set(kept.expected_recalls) == {"red", "green", "blue"}


def test_a_class_without_an_estimate_keeps_its_threshold(dataset, bank, segmenter, monkeypatch):
    right = estimate_thresholds(dataset, "blocks", segmenter=segmenter).thresholds
    bank.set_thresholds({"red": 0.4, "green": 0.5}, {"red": 0.8})
    banks.save_memory_bank(dataset, "blocks", bank, overwrite=True)
    monkeypatch.setattr(LeaveOneOut, "estimate", lambda *_: {"blue": right["blue"]})
    estimate_thresholds(dataset, "blocks", segmenter=segmenter)
    kept = banks.load_memory_bank(dataset, "blocks")
    assert kept.thresholds == {"red": 0.4, "green": 0.5, "blue": right["blue"].value}
    assert kept.expected_recalls == {"red": 0.8, "blue": right["blue"].recall}


def test_references_of_one_image_tell_nothing(dataset, segmenter):
    banks.build_memory_bank(dataset.limit(1), "ground_truth", "one", segmenter=segmenter)
    found = estimate_thresholds(dataset, "one", segmenter=segmenter)
    assert found.thresholds == {}
    assert set(found.without) == {"red", "green", "blue"}


def test_a_bad_image_is_named_and_stops_nothing(dataset, bank, segmenter):
    sample = dataset.first()
    with open(sample.filepath, "wb") as file:
        file.write(b"no image")
    found = estimate_thresholds(dataset, "blocks", segmenter=segmenter)
    assert [note.sample for note in found.failed] == [sample.id]
    assert (found.images, len(found.thresholds)) == (5, 3)


def test_a_bank_of_elsewhere_cannot_be_estimated_here(dataset, bank, segmenter):
    dataset.clear_sample_field("ground_truth")
    with pytest.raises(DatasetError, match="nothing to estimate"):
        estimate_thresholds(dataset, "blocks", segmenter=segmenter)


def test_a_build_estimates_them_if_asked_and_never_fails_of_it(dataset, segmenter, monkeypatch):
    made = banks.build_memory_bank(
        dataset, "ground_truth", "one", segmenter=segmenter, estimate=True
    )
    assert set(made.expected_recalls) == {"red", "green", "blue"}

    def fail(image, progress=None):
        raise RuntimeError("no")

    monkeypatch.setattr(segmenter, "propose", fail)
    banks.build_memory_bank(dataset, "ground_truth", "two", segmenter=segmenter, estimate=True)
    assert banks.load_memory_bank(dataset, "two").thresholds == {}


def test_an_update_estimates_anew_what_was_estimated_only(dataset, bank, segmenter):
    some = dataset.limit(4)
    banks.build_memory_bank(some, "ground_truth", "few", segmenter=segmenter, estimate=True)
    bank = banks.load_memory_bank(dataset, "few")
    right = bank.expected_recalls
    bank.set_thresholds({"red": 0.9}, {"red": 0.1})
    banks.save_memory_bank(dataset, "few", bank, overwrite=True)
    arguments = {"segmenter": segmenter, "estimate": True}
    update_memory_bank(dataset.limit(5), "ground_truth", "few", **arguments)
    assert banks.get_memory_bank_info(dataset, "few").expected_recalls == right
    save_thresholds(dataset, "few", thresholds={"red": 0.5})
    update_memory_bank(dataset, "ground_truth", "few", **arguments)
    assert banks.load_memory_bank(dataset, "few").thresholds == {"red": 0.5}
