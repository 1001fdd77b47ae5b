"""Thresholds of an evaluation, against pycocotools matching anew at each cut; their keeping."""

import contextlib
import io
import logging

import fiftyone as fo
import numpy as np
import pytest
import torch
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import ntt_plugin as ntt
from ntt_plugin.dataset.banks import banks, thresholds
from ntt_plugin.dataset.banks.best_threshold import Threshold
from ntt_plugin.dataset.banks.info import bank_digest
from ntt_plugin.engine.bank.memory_bank import Fingerprint, MemoryBank
from ntt_plugin.errors import BankError, DatasetError


def f1_by_pycocotools(scenes, label, kind, threshold):
    """F1 of a class at an IoU of 0.5 of the predictions from a threshold on, matched anew."""
    images, annotations, results = [], [], []
    for index, (size, truth, found) in enumerate(scenes):
        images.append({"id": index + 1, "width": size[1], "height": size[0]})
        for name, mask, box, crowd in truth:
            if name == label:
                shape = {"bbox": box, "area": int(mask.sum()), "iscrowd": crowd}
                place = {"id": len(annotations) + 1, "image_id": index + 1, "category_id": 1}
                rle = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
                annotations.append({**place, **shape, "segmentation": rle})
        for name, mask, box, score in found:
            if name == label and score >= threshold:
                rle = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
                shape = {"bbox": box} if kind == "bbox" else {"segmentation": rle}
                results.append({"image_id": index + 1, "category_id": 1, **shape, "score": score})
    if not results:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), kind)
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [1000]
        evaluation.evaluate()
    hits = wrong = truths = 0
    for image in filter(None, evaluation.evalImgs):
        counted = ~image["dtIgnore"][0].astype(bool)
        matched = image["dtMatches"][0] > 0
        hits += int((matched & counted).sum())
        wrong += int((~matched & counted).sum())
        truths += int((np.array(image["gtIgnore"]) == 0).sum())
    return 2 * hits / (hits + wrong + truths)


@pytest.mark.parametrize(("kind", "crowds"), [("segm", False), ("bbox", True)])
def test_no_threshold_is_better_by_pycocotools(make, kind, crowds):
    scenes, dataset = make(count=20, seed=3, crowds=crowds)
    ntt.evaluate(dataset, "found", "truth", "check", masks=kind == "segm")
    best = ntt.best_thresholds(dataset, "check")
    assert list(best) == ["cat", "dog"]
    for label, found in best.items():
        cuts = {row[3] for _, _, rows in scenes for row in rows if row[0] == label}
        every = [f1_by_pycocotools(scenes, label, kind, cut) for cut in cuts]
        assert found.f1 == pytest.approx(max(every))
        assert f1_by_pycocotools(scenes, label, kind, found.value) == pytest.approx(max(every))
        assert found.f1_without == pytest.approx(f1_by_pycocotools(scenes, label, kind, 0))
        assert found.f1 == pytest.approx(
            2 * found.precision * found.recall / (found.precision + found.recall)
        )


def test_crowds_count_for_nothing(make):
    _, with_crowds = make(count=20, seed=3, crowds=True)
    ntt.evaluate(with_crowds, "found", "truth", "check", masks=False)
    before = ntt.best_thresholds(with_crowds, "check")
    for sample in with_crowds.iter_samples(autosave=True):
        for label in sample["truth"].detections:
            label["iscrowd"] = 0
    after = ntt.best_thresholds(with_crowds, "check")
    assert before != after  # as ordinary objects they would be found many times


@pytest.fixture
def evaluated(dataset):
    """The blocks' dataset with predictions of known scores under ``check``.

    ``red``: right at 0.9, 0.8 and 0.7 of six, wrong at 0.3 and 0.2. ``$green.a``: predictions
    without truth. ``blue``: truth without predictions. ``grey``: all wrong.
    """
    scores = [("red", 0.9), ("red", 0.8), ("red", 0.7), ("$green.a", 0.6), ("grey", 0.5)]
    for sample, (label, score) in zip(dataset, scores, strict=False):
        labels = []
        for truth in sample["ground_truth"].detections:
            if truth.label == "red":
                made = truth.copy()
                made.label, made.confidence = label, score
                labels.append(made)
        sample["found"] = fo.Detections(detections=labels)
        sample.save()
    first, second = list(dataset.limit(2))
    for sample, score in ((first, 0.3), (second, 0.2)):
        sample["found"].detections.append(
            fo.Detection.from_mask(np.eye(64, 96, dtype=bool), label="red", confidence=score)
        )
        sample.save()
    last = dataset.last()
    last["ground_truth"].detections.append(
        fo.Detection.from_mask(np.eye(64, 96, dtype=bool), label="grey")
    )
    last["found"] = fo.Detections()
    last.save()
    ntt.evaluate(dataset, "found", "ground_truth", "check")
    return dataset


def test_classes_without_a_threshold_are_named(evaluated, caplog):
    with caplog.at_level(logging.WARNING):
        found = ntt.best_thresholds(evaluated, "check")
    assert list(found) == ["red"]
    assert found["red"] == Threshold(0.5, *(pytest.approx(v) for v in (2 / 3, 1, 0.5, 6 / 11)))
    assert "'$green.a' has no threshold: there is no true label of it." in caplog.text
    assert "'blue' has no threshold: there is no prediction of it." in caplog.text
    assert "'grey' has no threshold: there is no right prediction of it." in caplog.text


def test_labels_made_since_change_nothing(evaluated):
    before = ntt.best_thresholds(evaluated, "check")
    evaluated.delete_sample_field("found")
    assert ntt.best_thresholds(evaluated, "check") == before


def test_labels_that_were_left_out_count_for_nothing(evaluated):
    sample = evaluated.first()
    sample["found"].detections.append(
        fo.Detection(label="red", bounding_box=[0.1, 0.1, 0.1, 0.1], confidence=0.99)
    )
    sample.save()
    before = ntt.best_thresholds(evaluated, "check")
    ntt.evaluate(evaluated, "found", "ground_truth", "check")
    assert ntt.best_thresholds(evaluated, "check") == before


def test_an_evaluation_by_other_rules_is_refused(evaluated):
    with pytest.raises(DatasetError, match=r"no evaluation 'none'.*'check'"):
        ntt.best_thresholds(evaluated, "none")
    evaluated.evaluate_detections("found", gt_field="ground_truth", eval_key="other", iou=0.7)
    with pytest.raises(DatasetError, match=r"'other'.*run evaluate\(\)"):
        ntt.best_thresholds(evaluated, "other")


def test_confidences_beyond_1_are_refused(evaluated):
    for sample in evaluated.iter_samples(autosave=True):
        for label in sample["found"].detections if sample["found"] else []:
            label.confidence *= 10
    ntt.evaluate(evaluated, "found", "ground_truth", "check")
    with pytest.raises(DatasetError, match=r"'red'.*not all from 0 to 1"):
        ntt.best_thresholds(evaluated, "check")


@pytest.fixture
def bank(evaluated, segmenter):
    """A bank ``blocks`` of the three colours, saved with the dataset."""
    for sample in evaluated.iter_samples(autosave=True):
        for label in sample["ground_truth"].detections:
            label.label = {"grey": "red"}.get(label.label, label.label)
    return ntt.build_memory_bank(evaluated, "ground_truth", "blocks", segmenter=segmenter)


def test_thresholds_of_an_evaluation_are_kept_in_the_bank(evaluated, bank):
    assert ntt.save_thresholds(evaluated, "blocks", "check") == {"red": 0.5}
    assert ntt.load_memory_bank(evaluated, "blocks").thresholds == {"red": 0.5}
    assert ntt.get_memory_bank_info(evaluated, "blocks").thresholds == {"red": 0.5}


def test_saving_them_makes_no_run_another_run(evaluated, bank):
    before = ntt.get_memory_bank_info(evaluated, "blocks")
    ntt.save_thresholds(
        evaluated, "blocks", thresholds={"red": 0.5, "blue": Threshold(1, *4 * [0])}
    )
    after = ntt.get_memory_bank_info(evaluated, "blocks")
    assert (after.digest, after.version) == (before.digest, before.version)
    assert bank_digest(ntt.load_memory_bank(evaluated, "blocks")) == before.digest
    assert banks.resolve_bank(evaluated, bank)[0] == "blocks"


def test_they_take_the_place_of_the_former_ones(evaluated, bank):
    ntt.save_thresholds(evaluated, "blocks", thresholds={"red": 0.5, "blue": 0.1})
    assert ntt.save_thresholds(evaluated, "blocks", thresholds={"green": 1}) == {"green": 1.0}
    assert ntt.save_thresholds(evaluated, "blocks", thresholds={}) == {}


def test_an_update_changes_the_given_classes_of_the_bank_only(evaluated, bank, caplog):
    bank.set_thresholds({"red": 0.5, "blue": 0.1, "green": 0.3}, {"red": 0.9, "blue": 0.8})
    ntt.save_memory_bank(evaluated, "blocks", bank, overwrite=True)
    given = {"red": 0.5, "blue": 0.2, "unknown": 0.4}
    found = thresholds.update_thresholds(evaluated, "blocks", given)
    kept = ntt.load_memory_bank(evaluated, "blocks")
    assert found == kept.thresholds == {"red": 0.5, "blue": 0.2, "green": 0.3}
    assert kept.expected_recalls == {"red": 0.9}
    assert "does not hold 'unknown'" in caplog.text
    with pytest.raises(DatasetError, match="from 0 to 1"):
        thresholds.update_thresholds(evaluated, "blocks", {"red": 2})


def test_a_change_of_another_process_is_kept(evaluated, bank, monkeypatch):
    found = thresholds.find_thresholds

    def meanwhile(dataset, eval_key):
        other = ntt.load_memory_bank(evaluated, "blocks")
        other.remove("green")
        ntt.save_memory_bank(evaluated, "blocks", other, overwrite=True)
        return found(dataset, eval_key)

    monkeypatch.setattr(thresholds, "find_thresholds", meanwhile)
    ntt.save_thresholds(evaluated, "blocks", "check")
    kept = ntt.load_memory_bank(evaluated, "blocks")
    assert (kept.classes, kept.thresholds) == (["red", "blue"], {"red": 0.5})


def test_classes_that_the_bank_does_not_hold_are_left_out_and_logged(make, caplog):
    _, dataset = make(count=20, seed=3)
    ntt.evaluate(dataset, "found", "truth", "check")
    bank = MemoryBank(Fingerprint("colours", "colours", size=96, channels=3), "tiny")
    bank.add("cat", torch.ones(3))
    ntt.save_memory_bank(dataset, "cats", bank)
    with caplog.at_level(logging.WARNING):
        saved = ntt.save_thresholds(dataset, "cats", "check")
    assert saved == {"cat": ntt.best_thresholds(dataset, "check")["cat"].value}
    assert "'cats' does not hold 'dog'" in caplog.text


def test_thresholds_for_no_class_of_the_bank_are_refused(evaluated, bank):
    bank.add("other", bank.features("red"))
    bank.remove("red")
    ntt.save_memory_bank(evaluated, "blocks", bank, overwrite=True)
    with pytest.raises(DatasetError, match=r"'check' has no threshold for any class.*'red'"):
        ntt.save_thresholds(evaluated, "blocks", "check")


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({}, DatasetError, "one of the two"),
        ({"eval_key": "check", "thresholds": {"red": 0.5}}, DatasetError, "one of the two"),
        ({"thresholds": {"pink": 0.5}}, BankError, "no class 'pink'"),
        ({"thresholds": {"red": 1.5}}, BankError, "from 0 to 1"),
        ({"eval_key": "none"}, DatasetError, "no evaluation 'none'"),
    ],
)
def test_what_cannot_be_saved_is_refused_and_changes_nothing(evaluated, bank, given, error, words):
    ntt.save_thresholds(evaluated, "blocks", thresholds={"red": 0.25})
    with pytest.raises(error, match=words):
        ntt.save_thresholds(evaluated, "blocks", **given)
    assert ntt.load_memory_bank(evaluated, "blocks").thresholds == {"red": 0.25}


def test_an_unknown_bank_is_refused(evaluated):
    with pytest.raises(DatasetError, match="no memory bank 'none'"):
        ntt.save_thresholds(evaluated, "none", thresholds={})
