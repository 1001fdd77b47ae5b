import base64
from dataclasses import replace

import numpy as np
import pytest
import torch

from ntt_plugin.dataset.banks import banks
from ntt_plugin.engine.bank.memory_bank import MemoryBank
from ntt_plugin.errors import BankError, DatasetError
from tests.dataset import scenes
from tests.processes import run_elsewhere


def test_a_bank_holds_one_feature_a_label(bank):
    assert {label: bank.shots(label) for label in bank.classes} == dict.fromkeys(scenes.COLOURS, 6)
    for label, colour in scenes.COLOURS.items():
        assert torch.equal(bank.features(label), torch.tensor([colour] * 6).float())


def test_each_feature_knows_its_label_and_box(dataset, bank):
    sample = dataset.first()
    label = next(d for d in sample.ground_truth.detections if d.label == "green")
    source = bank.references("green")[0].provenance
    assert (source.dataset, source.sample, source.label) == (dataset.name, sample.id, label.id)
    assert source.box == scenes.blocks(0)["green"]


def test_a_saved_bank_loads_as_it_was(dataset, bank):
    loaded = banks.load_memory_bank(dataset, "blocks")
    assert loaded.to_bytes() == bank.to_bytes()


def test_another_process_sees_it(dataset, bank):
    code = (
        "import sys, fiftyone as fo\n"
        "results = fo.load_dataset(sys.argv[1]).load_run_results('ntt_bank_blocks')\n"
        "print(results.bank)"
    )
    printed = run_elsewhere(code, dataset.name)
    assert base64.b64decode(printed.split()[-1]) == bank.to_bytes()


def test_a_clone_has_the_bank(dataset, bank):
    clone = dataset.clone()
    try:
        assert banks.load_memory_bank(clone, "blocks").to_bytes() == bank.to_bytes()
    finally:
        clone.delete()


def test_info_tells_shots_and_recipe(dataset, bank, segmenter):
    info = banks.get_memory_bank_info(dataset, "blocks")
    assert info.shots == dict.fromkeys(scenes.COLOURS, 6)
    assert info.recipe == segmenter.recipe
    assert (info.created, info.refused, info.sources) == (bank.created, 0, (dataset.name,))
    assert info.made_by.startswith("colours") and info.size == len(bank.to_bytes())


def test_info_names_the_networks_that_using_the_bank_would_load(dataset, bank):
    """Not the encoder that its maker says made it: a stranger's file may tell anything there."""
    recipe = replace(bank.recipe, segmenter="stranger/sam", encoder="stranger/dino")
    banks.save_memory_bank(dataset, "other", MemoryBank(bank.fingerprint, recipe))
    info = banks.get_memory_bank_info(dataset, "other")
    assert (info.segmenter, info.encoder) == ("stranger/sam", "stranger/dino")


def test_rename_and_delete(dataset, bank):
    banks.rename_memory_bank(dataset, "blocks", "renamed")
    assert banks.list_memory_banks(dataset) == ["renamed"]
    assert len(banks.load_memory_bank(dataset, "renamed")) == 18
    banks.delete_memory_bank(dataset, "renamed")
    assert banks.list_memory_banks(dataset) == []


def test_a_view_stands_for_its_dataset(dataset, bank):
    assert banks.list_memory_banks(dataset.limit(1)) == ["blocks"]


def test_other_runs_are_no_banks(dataset, bank):
    config = dataset.init_run()
    config.method = "something_else"
    dataset.register_run("ntt_bank_lookalike", config)
    assert banks.list_memory_banks(dataset) == ["blocks"]


def test_a_taken_name_is_refused_before_anything_is_read(dataset, bank, segmenter):
    segmenter.reference_feature = None
    with pytest.raises(DatasetError, match="already has a memory bank 'blocks'"):
        banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)
    banks.save_memory_bank(dataset, "other", bank)
    with pytest.raises(DatasetError, match="already"):
        banks.rename_memory_bank(dataset, "other", "blocks")


def test_overwrite_replaces(dataset, bank, segmenter):
    banks.build_memory_bank(
        dataset, "ground_truth", "blocks", classes=["red"], overwrite=True, segmenter=segmenter
    )
    assert banks.load_memory_bank(dataset, "blocks").classes == ["red"]


@pytest.mark.parametrize("action", ["load_memory_bank", "delete_memory_bank"])
def test_an_unknown_bank_is_told_with_those_there_are(dataset, bank, action):
    with pytest.raises(DatasetError, match="no memory bank 'nope'; it has 'blocks'"):
        getattr(banks, action)(dataset, "nope")


def test_a_bank_that_another_dataset_has_is_told(dataset, bank):
    clone = dataset.limit(1).clone()
    try:
        with pytest.raises(DatasetError, match=f"it has none. One .* is in '{dataset.name}'"):
            banks.load_memory_bank(clone, "blocks")
    finally:
        clone.delete()


def test_a_damaged_bank_is_a_bank_error(dataset, bank):
    results = dataset.load_run_results("ntt_bank_blocks", cache=False)
    results.bank = results.bank[: len(results.bank) // 8 * 4]
    dataset.save_run_results("ntt_bank_blocks", results, cache=False)
    with pytest.raises(BankError):
        banks.load_memory_bank(dataset, "blocks")


def test_refused_references_are_kept_in_the_bank(dataset, segmenter):
    sample = dataset.first()
    red, green, _ = sorted(sample.ground_truth.detections, key=lambda d: d.label, reverse=True)
    red.mask = None
    green.mask = np.eye(*green.mask.shape, dtype=bool) & (np.arange(green.mask.shape[1]) < 3)
    sample.save()

    banks.build_memory_bank(dataset, "ground_truth", "part", segmenter=segmenter)

    loaded = banks.load_memory_bank(dataset, "part")
    reasons = {entry.provenance.label: entry.reason for entry in loaded.refused}
    assert len(loaded) == 16 and set(reasons) == {red.id, green.id}
    assert "no mask" in reasons[red.id] and "too small" in reasons[green.id]
    assert banks.get_memory_bank_info(dataset, "part").refused == 2


def test_classes_with_odd_names_are_kept(dataset, bank):
    odd = MemoryBank(bank.fingerprint, "tiny")
    names = ["a.b", "$set", "größe", "名前", "x" * 500]
    for name in names:
        odd.add(name, torch.ones(3))
    banks.save_memory_bank(dataset, "odd", odd)
    assert list(banks.get_memory_bank_info(dataset, "odd").shots) == names
    assert banks.load_memory_bank(dataset, "odd").classes == names


def test_the_digest_follows_features_not_names_or_dates(dataset, bank, segmenter):
    again = banks.build_memory_bank(dataset, "ground_truth", "again", segmenter=segmenter)
    assert banks.bank_digest(again) == banks.bank_digest(bank)
    again.add_negatives("red", torch.ones(3))
    assert banks.bank_digest(again) != banks.bank_digest(bank)


def test_progress_reaches_every_label(dataset, segmenter):
    seen = []
    banks.build_memory_bank(
        dataset,
        "ground_truth",
        "blocks",
        segmenter=segmenter,
        progress=lambda bar: seen.append(bar.iteration),
    )
    assert seen[-1] == 18


def test_what_was_refused_is_told_a_person_with_class_label_sample_and_file(dataset, segmenter):
    sample = dataset.first()
    bare = sample.ground_truth.detections[0]
    bare.mask = None
    sample.save()
    bank = banks.build_memory_bank(dataset, "ground_truth", "part", segmenter=segmenter)
    text = banks.describe_refused(bank.refused)
    for told in (bare.label, bare.id, sample.id, sample.filepath, "masks_from_boxes"):
        assert told in text
    many = banks.describe_refused(bank.refused * 50, most=3)
    assert "50 references" in many and "47 more" in many and many.count(bare.id) == 3


def test_a_feature_that_is_not_finite_is_refused_and_the_others_are_learnt(dataset, segmenter):
    first = dataset.first().ground_truth.detections[0].id
    feature = segmenter.reference_feature

    def sometimes_nan(reference):
        bad = reference.provenance.label == first
        return torch.full((3,), float("nan")) if bad else feature(reference)

    segmenter.reference_feature = sometimes_nan
    bank = banks.build_memory_bank(dataset, "ground_truth", "part", segmenter=segmenter)
    assert len(bank) == 17
    assert [entry.provenance.label for entry in bank.refused] == [first]


def test_a_callback_that_raises_ends_the_building_and_nothing_is_saved(dataset, bank, segmenter):
    class Cancelled(Exception):
        pass

    def cancel(bar):
        if bar.iteration > 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        banks.build_memory_bank(
            dataset,
            "ground_truth",
            "blocks",
            classes=["red"],
            overwrite=True,
            segmenter=segmenter,
            progress=cancel,
        )
    assert banks.load_memory_bank(dataset, "blocks").to_bytes() == bank.to_bytes()


def test_classes_that_look_alike_are_told_with_the_bank(dataset, segmenter, caplog):
    sample = dataset.first()
    sample.ground_truth.detections[0].label = "Red"
    sample.save()
    bank = banks.build_memory_bank(dataset, "ground_truth", "mine", segmenter=segmenter)
    assert {"Red", "red"} < set(bank.classes)
    (note,) = banks.get_memory_bank_info(dataset, "mine").notes
    assert "'Red'" in note and note in caplog.text


def test_a_bank_is_built_from_samples_with_a_tag(dataset, segmenter):
    dataset.limit(2).tag_samples("good")
    bank = banks.build_memory_bank(
        dataset, "ground_truth", "mine", sample_tag="good", segmenter=segmenter
    )
    assert len(bank) == 6
