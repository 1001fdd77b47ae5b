import math
import threading

import fiftyone as fo
import numpy as np
import pytest
import torch

from ntt_plugin.dataset.banks import banks, quality, store
from ntt_plugin.dataset.banks.quality import (
    check_references,
    class_similarity,
    reference_quality,
)
from ntt_plugin.dataset.database.locks import RunLock
from ntt_plugin.engine.bank.memory_bank import MemoryBank
from ntt_plugin.engine.bank.quality import reference_quality as engine_quality
from ntt_plugin.engine.references import Provenance
from ntt_plugin.errors import DatasetError
from tests.dataset import scenes
from tests.processes import run_elsewhere


class NoSegmenter(scenes.ColourSegmenter):
    def masks_from_boxes(self, image, boxes):
        raise AssertionError("It was to be left alone.")


def by_label(dataset, checks):
    """Checks by the id of the label that each is of."""
    return {check.provenance.label: check for check in checks}


def first_label(dataset):
    return dataset.first().ground_truth.detections[0]


def test_quality_is_the_engines_in_the_banks_order(dataset, bank):
    checks = reference_quality(dataset, "blocks")
    for check, entry in zip(checks, engine_quality(bank), strict=True):
        assert (check.id, check.label, check.negative) == (entry.id, entry.label, False)
        assert (check.own, check.nearest_class, check.nearest) == (
            entry.own,
            entry.nearest_class,
            entry.nearest,
        )
        assert check.pixels is None and check.recut_iou is None


def test_negatives_come_after_the_references_of_their_class(dataset, bank):
    bank.add_negatives("green", torch.tensor([200.0, 200.0, 0.0]))
    banks.save_memory_bank(dataset, "blocks", bank, overwrite=True)
    checks = reference_quality(dataset, "blocks")
    place = [check.negative for check in checks].index(True)
    assert checks[place].label == checks[place - 1].label == "green"
    assert sum(check.negative for check in checks) == 1
    assert math.isclose(checks[place].own, 0.5**0.5, abs_tol=1e-6)


def test_a_check_counts_pixels_and_cuts_again(dataset, bank, segmenter):
    checks = by_label(dataset, check_references(dataset, "blocks", segmenter=segmenter))
    assert len(checks) == dataset.count("ground_truth.detections")
    for sample in dataset:
        for label in sample.ground_truth.detections:
            assert checks[label.id].pixels == label.mask.sum()
            assert checks[label.id].recut_iou == 1


def test_the_iou_is_that_of_mask_and_cut(dataset, bank, segmenter):
    """The segmenter gives all of a box that is not black; of the mask, the upper half is left."""
    sample = dataset.first()
    label = sample.ground_truth.detections[0]
    upper = label.mask.copy()
    upper[len(upper) // 2 :] = False
    whole, label.mask = label.mask.sum(), upper
    sample.save()
    checks = by_label(dataset, check_references(dataset, "blocks", segmenter=segmenter))
    assert checks[label.id].pixels == upper.sum()
    assert math.isclose(checks[label.id].recut_iou, upper.sum() / whole)


def test_what_was_found_is_kept_for_reference_quality(dataset, bank, segmenter):
    checks = check_references(dataset, "blocks", segmenter=segmenter)
    assert reference_quality(dataset, "blocks") == checks


def test_what_was_found_stays_when_the_bank_is_renamed_and_changed(dataset, bank, segmenter):
    check_references(dataset, "blocks", segmenter=segmenter)
    banks.rename_memory_bank(dataset, "blocks", "renamed")
    bank.remove_reference(bank.references("red")[0].id)
    bank.add("red", torch.tensor([250.0, 1.0, 0.0]))
    banks.save_memory_bank(dataset, "renamed", bank, overwrite=True)
    checks = reference_quality(dataset, "renamed")
    assert [check.recut_iou for check in checks].count(None) == 1
    assert len(checks) == 18


def test_a_second_check_leaves_what_is_known_of_other_banks(dataset, bank, segmenter):
    check_references(dataset, "blocks", segmenter=segmenter)
    banks.build_memory_bank(
        dataset.limit(1), "ground_truth", "another", segmenter=segmenter, classes=["red"]
    )
    check_references(dataset, "another", segmenter=segmenter)
    assert all(check.pixels for check in reference_quality(dataset, "blocks"))


def test_another_process_sees_it_and_a_clone_has_it(dataset, bank, segmenter):
    check_references(dataset, "blocks", segmenter=segmenter)
    code = (
        "import sys, fiftyone as fo, ntt_plugin as ntt\n"
        "checks = ntt.reference_quality(fo.load_dataset(sys.argv[1]), 'blocks')\n"
        "print([check.recut_iou for check in checks].count(1.0))"
    )
    assert run_elsewhere(code, dataset.name).split()[-1] == "18"
    clone = dataset.clone()
    try:
        assert all(check.pixels for check in reference_quality(clone, "blocks"))
    finally:
        clone.delete()


def test_what_another_process_found_meanwhile_stays(dataset, bank, segmenter):
    check_references(dataset, "blocks", segmenter=segmenter)
    code = (
        "import sys, fiftyone as fo\n"
        "from ntt_plugin.dataset.banks.quality import KeptCheck, keep_checks\n"
        "keep_checks(fo.load_dataset(sys.argv[1]), {'theirs': KeptCheck(5, 0.5)})"
    )
    run_elsewhere(code, dataset.name)
    check_references(dataset, "blocks", segmenter=segmenter)
    kept = quality.read_checks(dataset)
    assert kept["theirs"] == quality.KeptCheck(5, 0.5) and len(kept) == 19


def test_the_oldest_go_when_there_are_too_many(dataset, monkeypatch):
    monkeypatch.setattr(quality, "_MOST_KEPT", 2)
    for identity in "abc":
        quality.keep_checks(dataset, {identity: quality.KeptCheck(1, 1.0)})
    quality.keep_checks(dataset, {"b": quality.KeptCheck(2, 1.0)})
    assert list(quality.read_checks(dataset)) == ["c", "b"]


def test_results_that_are_damaged_count_as_none(dataset, bank, segmenter):
    check_references(dataset, "blocks", segmenter=segmenter)
    run = dataset.init_run_results("ntt_reference_checks", checks={"a": "b", "c": [1]})
    dataset.save_run_results("ntt_reference_checks", run, overwrite=True)
    assert all(check.pixels is None for check in reference_quality(dataset, "blocks"))


def test_what_was_found_waits_for_another_process_that_keeps_its_own(dataset, bank, segmenter):
    held = RunLock(dataset, "ntt_reference_checks").__enter__()
    end = threading.Timer(1.0, held.__exit__, (None, None, None))
    end.start()
    check_references(dataset, "blocks", segmenter=segmenter)
    end.join()
    assert len(quality.read_checks(dataset)) == 18


def test_two_checks_at_once_do_not_lose_each_others_results(dataset, bank, segmenter, monkeypatch):
    monkeypatch.setattr(quality, "_PATIENCE", 0.2)
    with RunLock(dataset, "ntt_reference_checks"), pytest.raises(DatasetError, match="Another"):
        check_references(dataset, "blocks", segmenter=segmenter)


def test_what_is_gone_is_judged_by_its_feature_alone(dataset, bank, segmenter, tmp_path):
    first, second, third = (sample for sample in dataset.limit(3))
    gone = [label.id for label in first.ground_truth.detections]
    first.ground_truth.detections = []
    first.save()
    gone += [label.id for label in second.ground_truth.detections]
    (tmp_path / "001.png").unlink()
    gone += [label.id for label in third.ground_truth.detections]
    dataset.delete_samples(third.id)
    checks = by_label(dataset, check_references(dataset, "blocks", segmenter=segmenter))
    unknown = [label for label, check in checks.items() if check.recut_iou is None]
    assert sorted(unknown) == sorted(gone)
    assert not math.isnan(checks[gone[0]].own)


def test_a_bank_of_unknown_origin_loads_no_network(dataset, segmenter):
    bank = MemoryBank(segmenter.fingerprint, segmenter.recipe)
    bank.add("red", torch.rand(3, 3))
    banks.save_memory_bank(dataset, "foreign", bank)
    (*_, last) = check_references(dataset, "foreign", device="no such device")
    assert last.pixels is None


def test_references_of_another_dataset_are_found_there(dataset, bank, segmenter):
    other = fo.Dataset()
    try:
        banks.save_memory_bank(other, "blocks", bank)
        checks = check_references(other, "blocks", segmenter=segmenter)
    finally:
        other.delete()
    assert all(check.recut_iou == 1 for check in checks)


def test_a_stopped_check_keeps_what_it_found(dataset, bank, segmenter):
    def stop(bar):
        if bar.iteration == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        check_references(dataset, "blocks", segmenter=segmenter, progress=stop)
    known = [check for check in reference_quality(dataset, "blocks") if check.pixels]
    assert 3 <= len(known) < 18


def test_an_image_is_embedded_once_for_all_its_references(dataset, bank, segmenter, monkeypatch):
    asked = []
    cut = segmenter.masks_from_boxes
    monkeypatch.setattr(
        segmenter,
        "masks_from_boxes",
        lambda image, boxes: asked.append(len(boxes)) or cut(image, boxes),
    )
    check_references(dataset, "blocks", segmenter=segmenter)
    assert asked == [3] * len(dataset)


def flags(dataset, label):
    return by_label(dataset, reference_quality(dataset, "named"))[label].flags


def saved(dataset, segmenter, sizes):
    """A bank whose references are alike but not the same, with boxes of the given sizes."""
    bank = MemoryBank(segmenter.fingerprint, segmenter.recipe)
    spread = torch.tensor(np.random.default_rng(0).normal(size=(len(sizes), 3)) * 45)
    features = torch.tensor([250.0, 100.0, 50.0]) + spread.float()
    for name, feature in zip(sizes, features, strict=True):
        width, height = sizes[name]
        bank.add("red", feature, Provenance("d", "s", name, (5.0, 5.0, 5.0 + width, 5.0 + height)))
    banks.save_memory_bank(dataset, "named", bank, overwrite=True)
    return bank


def test_small_and_thin_ones_are_flagged_by_their_boxes(dataset, segmenter):
    saved(dataset, segmenter, {"fine": (40, 30), "small": (12, 11), "thin": (300, 9)})
    assert flags(dataset, "fine") == ()
    assert "small, 132 pixels" in flags(dataset, "small")[0]
    assert "thin, 9 pixels wide at a length of 300" in flags(dataset, "thin")[0]


def test_what_is_known_of_the_mask_counts_before_the_box(dataset, segmenter):
    bank = saved(dataset, segmenter, {"one": (40, 30), "two": (40, 30)})
    one, two = bank.references("red")
    found = {one.id: quality.KeptCheck(100, 1.0), two.id: quality.KeptCheck(1000, 0.01)}
    quality.keep_checks(dataset, found)
    assert "small, 100 pixels" in flags(dataset, "one")[0]
    assert "IoU 0.01" in flags(dataset, "two")[0]


def test_a_reference_of_another_class_is_flagged(dataset, bank):
    (wrong,) = bank.add("red", torch.tensor([0.0, 0.0, 250.0]))
    banks.save_memory_bank(dataset, "blocks", bank, overwrite=True)
    (check,) = [one for one in reference_quality(dataset, "blocks") if one.id == wrong]
    assert "more like 'blue' (1.00) than its own class 'red' (0.00)" in check.flags[0]


def test_class_similarity_is_of_the_banks_classes(dataset, bank):
    bank.add("violet", torch.tensor([100.0, 0.0, 100.0]))
    banks.save_memory_bank(dataset, "blocks", bank, overwrite=True)
    classes, matrix = class_similarity(dataset, "blocks")
    assert classes == bank.classes and matrix.dtype == np.float32
    half = 0.5**0.5
    colours = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "violet": (half, 0, half)}
    expected = [[np.dot(colours[a], colours[b]) for b in classes] for a in classes]
    assert np.allclose(matrix, expected, atol=1e-6)


@pytest.mark.parametrize("ask", [reference_quality, check_references, class_similarity])
def test_an_unknown_bank_is_named_with_those_there_are(dataset, bank, ask):
    with pytest.raises(DatasetError, match="'blocks'"):
        ask(dataset, "none")


def test_what_was_judged_once_is_not_read_again(dataset, bank, monkeypatch):
    first = reference_quality(dataset, "blocks"), class_similarity(dataset, "blocks")[0]
    first[0].append("another's")
    monkeypatch.setattr(store, "read", None)
    assert reference_quality(dataset, "blocks") == first[0][:-1]
    assert class_similarity(dataset, "blocks")[0] == first[1]


def test_a_mask_far_from_its_source_box_is_flagged(dataset, bank, segmenter):
    sample = dataset.first()
    far, near, _ = sample.ground_truth.detections
    far["box_iou"], near["box_iou"] = 0.31, 0.9
    sample.save()
    checks = by_label(dataset, check_references(dataset, "blocks", segmenter=segmenter))
    assert [key for key, check in checks.items() if "from the box" in str(check.flags)] == [far.id]
    again = by_label(dataset, reference_quality(dataset, "blocks"))
    assert "IoU 0.31" in str(again[far.id].flags)
