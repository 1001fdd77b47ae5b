"""A database that goes away while references are chosen, learnt from or scored."""

import fiftyone as fo
import pytest
from pymongo.errors import ServerSelectionTimeoutError

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.banks.add_references import mark_negatives
from ntt_plugin.dataset.banks.files import export_memory_bank, import_memory_bank
from ntt_plugin.dataset.database import custom_runs
from ntt_plugin.dataset.evaluation.evaluate import coco_figures, evaluate
from ntt_plugin.dataset.references.sampling import sample_references
from ntt_plugin.dataset.segmentation.report import load_segment_report
from ntt_plugin.errors import DatasetError


def gone(*args, **kwargs):
    raise ServerSelectionTimeoutError("nobody listens")


def lost_at(monkeypatch, owner, name, answers):
    """Let a method answer so many times and then find no database."""
    method, asked = getattr(owner, name), []

    def ask(*args, **kwargs):
        asked.append(name)
        return method(*args, **kwargs) if len(asked) <= answers else gone()

    monkeypatch.setattr(owner, name, ask)


@pytest.mark.parametrize("method, answers", [("values", 0), ("__getitem__", 2)])
def test_while_a_bank_is_built(dataset, segmenter, monkeypatch, method, answers):
    with monkeypatch.context() as patch:
        lost_at(patch, fo.DatasetView, method, answers)
        with pytest.raises(DatasetError, match=r"does not answer \(nobody.*no memory bank was"):
            banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)
    assert banks.list_memory_banks(dataset) == []


@pytest.mark.parametrize("method", ["untag_labels", "distinct"])
def test_while_references_are_chosen(dataset, monkeypatch, method):
    with monkeypatch.context() as patch:
        patch.setattr(fo.core.collections.SampleCollection, method, gone)
        with pytest.raises(DatasetError, match=r"does not answer.*choose again"):
            sample_references(dataset, "ground_truth")
    assert len(sample_references(dataset, "ground_truth").label_ids) == 18


@pytest.mark.parametrize("method", ["evaluate_detections", "distinct"])
def test_while_labels_are_scored(dataset, monkeypatch, method):
    for sample in dataset:
        found = sample.ground_truth.copy()
        for label in found.detections:
            label.confidence = 0.5
        sample["found"] = found
        sample.save()
    with monkeypatch.context() as patch:
        patch.setattr(fo.core.collections.SampleCollection, method, gone)
        with pytest.raises(DatasetError, match=r"does not answer.*start it again"):
            evaluate(dataset, "found", "ground_truth", "check")
    evaluate(dataset, "found", "ground_truth", "check")
    assert dataset.list_evaluations() == ["check"]


@pytest.mark.parametrize(
    "action",
    [
        lambda dataset: banks.list_memory_banks(dataset),
        lambda dataset: banks.load_memory_bank(dataset, "blocks"),
        lambda dataset: banks.get_memory_bank_info(dataset, "blocks"),
        lambda dataset: banks.load_references_view(dataset, "blocks"),
        lambda dataset: banks.rename_memory_bank(dataset, "blocks", "other"),
        lambda dataset: banks.delete_memory_bank(dataset, "blocks"),
        lambda dataset: export_memory_bank(dataset, "blocks", "blocks.safetensors"),
    ],
    ids=["list", "load", "info", "view", "rename", "delete", "export"],
)
def test_while_a_bank_is_looked_at_or_changed(dataset, segmenter, monkeypatch, action):
    banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)
    with monkeypatch.context() as patch:
        patch.setattr(fo.core.odm, "get_db_conn", gone)
        with pytest.raises(DatasetError, match=r"does not answer.*when it is back"):
            action(dataset)
    assert banks.list_memory_banks(dataset) == ["blocks"]


def test_while_a_bank_is_imported(dataset, segmenter, monkeypatch, tmp_path):
    file = tmp_path / "blocks.safetensors"
    bank = banks.build_memory_bank(dataset, "ground_truth", "built", segmenter=segmenter)
    bank.save(file)
    with monkeypatch.context() as patch:
        patch.setattr(fo.core.odm, "get_db_conn", gone)
        with pytest.raises(DatasetError, match=r"does not answer.*import the file again"):
            import_memory_bank(dataset, file)
    assert banks.list_memory_banks(dataset) == ["built"]


@pytest.mark.parametrize(
    ("action", "owner", "method"),
    [
        (lambda dataset: load_segment_report(dataset, "ntt"), custom_runs, "stored_run"),
        (lambda dataset: coco_figures(dataset, "check"), fo.Dataset, "list_evaluations"),
        (lambda dataset: mark_negatives(dataset, "ground_truth"), fo.Dataset, "distinct"),
    ],
    ids=["report", "figures", "negatives"],
)
def test_while_something_is_read_or_marked(dataset, monkeypatch, action, owner, method):
    monkeypatch.setattr(owner, method, gone)
    with pytest.raises(DatasetError, match=r"does not answer.*when it is back"):
        action(dataset)
