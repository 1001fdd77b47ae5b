"""Memory banks that cannot be used with what they are asked for."""

import base64
import json
import os
import struct
from pathlib import Path

import fiftyone.core.odm as foo
import pytest
import safetensors.torch
import torch

from ntt_plugin.dataset.banks import banks, edit, files, store
from ntt_plugin.dataset.banks.thresholds import apply_thresholds
from ntt_plugin.dataset.database import custom_runs, grid_files
from ntt_plugin.dataset.database.locks import RunLock
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.engine.bank.memory_bank import MemoryBank
from tests.bad_input.bank_mutations import join, nested, split, with_document
from tests.bad_input.expectations import refused, row
from tests.dataset import scenes
from tests.dataset.samples.test_checks import IMPOSSIBLE


@row("bank-of-another-encoder")
def test_a_bank_of_another_encoder_is_refused_with_both_names(unchanged):
    other = scenes.ColourSegmenter(digest="other weights")
    with refused("weights colours", "weights other weigh", "build it again"):
        segment(unchanged, "blocks", segmenter=other)
    with refused("weights colours", "weights other weigh", "build it again"):
        segment(unchanged, "blocks", "before", overwrite=True, segmenter=other)


@row("empty-bank")
def test_an_empty_bank_is_refused_before_the_field_is_made(dataset, segmenter):
    banks.save_memory_bank(dataset, "nothing", MemoryBank(segmenter.fingerprint, "tiny"))
    with refused("'nothing'", "empty", "add references"):
        segment(dataset, "nothing", segmenter=segmenter)
    assert "ntt" not in dataset.get_field_schema()


@row("unknown-bank")
def test_an_unknown_bank_is_refused_with_those_there_are(unchanged, segmenter):
    with refused("'block'", "'blocks'", unchanged.name):
        segment(unchanged, "block", segmenter=segmenter)


def bank_bytes(dataset):
    return banks.load_memory_bank(dataset, "blocks").to_bytes()


def foreign(_):
    return safetensors.torch.save({"weight": torch.ones(3, 3)})


def hostile(data):
    header, tensors = split(data)
    header["__metadata__"]["ntt_memory_bank"] = nested(50_000)
    return join(header, tensors)


def lying(data):
    header, tensors = split(data)
    header["features"]["shape"] = [2**40, 3]
    return join(header, tensors)


FILES = {
    "corrupt-bank": lambda data: data[:-4] + b"\xff\xff\xff\x7f",
    "truncated-bank": lambda data: data[: len(data) // 2],
    "foreign-bank": foreign,
    "hostile-bank": hostile,
    "hostile-bank: lying": lying,
    "hostile-bank: endless header": lambda data: struct.pack("<Q", 2**63) + data[8:],
    "foreign-bank: text": lambda data: json.dumps({"classes": []}).encode(),
    "corrupt-bank: empty": lambda data: b"",
}


@row("corrupt-bank")
@row("truncated-bank")
@row("foreign-bank")
@row("hostile-bank")
@pytest.mark.parametrize("kind", FILES)
def test_a_bank_file_that_is_not_sound_is_refused_wherever_it_is_given(
    unchanged, segmenter, tmp_path, kind
):
    path = tmp_path / "stranger.safetensors"
    path.write_bytes(FILES[kind](bank_bytes(unchanged)))
    remedy = "Export it again where it was made"
    with refused(str(path), "not a sound memory bank", remedy):
        files.import_memory_bank(unchanged, path)
    with refused(str(path), "not a sound memory bank", remedy):
        segment(unchanged, path, segmenter=segmenter)


@row("corrupt-bank")
def test_a_bank_that_is_damaged_in_the_database_is_named_and_can_be_deleted(dataset, segmenter):
    banks.save_memory_bank(dataset, "hurt", banks.load_memory_bank(dataset, "blocks"))
    results = dataset.init_run_results("ntt_bank_hurt", bank=base64.b64encode(b"x" * 99).decode())
    dataset.save_run_results("ntt_bank_hurt", results, overwrite=True, cache=False)
    with refused("not a sound memory bank", "build it again"):
        segment(dataset, "hurt", segmenter=segmenter)
    banks.delete_memory_bank(dataset, "hurt")
    assert banks.list_memory_banks(dataset) == ["blocks"]


def forged(dataset, tmp_path, change):
    """A stranger's file: the bank of the dataset after a change of its document."""
    path = tmp_path / "stranger.safetensors"
    path.write_bytes(with_document(bank_bytes(dataset), change))
    return path


@row("bank-version")
def test_a_bank_of_the_largest_version_can_be_imported_changed_and_read(
    dataset, segmenter, tmp_path
):
    path = forged(dataset, tmp_path, lambda document: document.update(version=2**31 - 1))
    files.import_memory_bank(dataset, path, "taken_over")
    first = banks.load_memory_bank(dataset, "taken_over").references("red")[0].id
    edit.remove_references(dataset, "taken_over", [first])
    assert banks.load_memory_bank(dataset, "taken_over").version == 1
    assert banks.get_memory_bank_info(dataset, "taken_over").version == 1
    segment(dataset, "taken_over", "again", segmenter=segmenter)
    assert dataset.first()["again"].detections[0]["bank_version"] == 1


@row("bank-version")
@pytest.mark.parametrize("version", [-1, 2**31, 2**63, 10**30, 1.5, 1e308, True, "1", None])
def test_a_version_that_is_no_count_is_refused(unchanged, tmp_path, version):
    path = forged(unchanged, tmp_path, lambda document: document.update(version=version))
    with refused(str(path), "version", "Export it again where it was made"):
        files.import_memory_bank(unchanged, path, "taken_over")


@row("long-bank-texts")
@pytest.mark.parametrize("length", [100_001, 15_000_000])
def test_a_class_name_that_nothing_can_show_is_refused(unchanged, segmenter, tmp_path, length):
    def change(document):
        document["classes"][0]["label"] = "x" * length

    path = forged(unchanged, tmp_path, change)
    for attempt in (
        lambda: files.import_memory_bank(unchanged, path, "taken_over"),
        lambda: segment(unchanged, path, segmenter=segmenter),
        lambda: apply_thresholds(unchanged, "before", path),
    ):
        with refused(str(path), f"{length:,} characters", "100,000 are the most"):
            attempt()


@row("long-bank-texts")
def test_many_long_names_are_no_hindrance_to_thresholds(dataset, segmenter, tmp_path):
    segment(dataset, "blocks", "found", segmenter=segmenter)
    bank = banks.load_memory_bank(dataset, "blocks")
    for index in range(140):
        bank.add(f"{index:04}" + "x" * 99_000, torch.ones(3))
    bank.set_thresholds(dict.fromkeys(bank.classes, 0.5))
    bank.save(tmp_path / "long.safetensors")
    files.import_memory_bank(dataset, tmp_path / "long.safetensors", "long")
    applied = apply_thresholds(dataset, "found", "long")
    assert applied.below + applied.above == sum(
        dataset.count_values("found.detections.label").values()
    )


@row("bank-being-changed")
def test_a_bank_whose_content_is_not_there_is_not_said_to_be_deleted(
    dataset, segmenter, monkeypatch
):
    monkeypatch.setattr(store, "_LOOK_AGAIN_SECONDS", 0.01)
    edit.duplicate_memory_bank(dataset, "blocks", "hurt")
    run = custom_runs.listed(dataset)["ntt_bank_hurt"]
    grid_files.delete(custom_runs.file_of(run))
    with refused("'hurt'", "at this moment", "build it again"):
        segment(dataset, "hurt", segmenter=segmenter)
    assert banks.list_memory_banks(dataset) == ["blocks", "hurt"]
    banks.delete_memory_bank(dataset, "hurt")


@row("bank-being-changed")
def test_a_change_that_was_overtaken_is_refused(dataset, monkeypatch):
    def overtaken(self):
        monkeypatch.undo()
        foo.get_db_conn()["ntt_locks"].delete_many({})
        banks.rename_memory_bank(dataset, "copy", "theirs")

    edit.duplicate_memory_bank(dataset, "blocks", "copy")
    monkeypatch.setattr(RunLock, "require", overtaken)
    with refused("changed meanwhile by another process", "Start again"):
        edit.remove_references(dataset, "copy", classes=["red"])
    assert len(banks.load_memory_bank(dataset, "theirs").classes) == 3


@row("bank-file-missing")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "There is no memory bank"),
        ("folder", "is a folder; name the memory bank's file in it"),
        ("pipe", "no ordinary file"),
        ("device", "no ordinary file"),
    ],
)
def test_what_is_no_bank_file_is_named(unchanged, segmenter, tmp_path, kind, said):
    path = tmp_path / "bank.safetensors"
    if kind == "folder":
        path.mkdir()
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "device":
        path.symlink_to("/dev/zero")
    with refused(str(path), said):
        files.import_memory_bank(unchanged, path)
    with refused(str(path)):
        segment(unchanged, str(path), segmenter=segmenter)


@row("hostile-bank")
def test_a_bank_file_writes_nothing_outside_its_folder(dataset, segmenter, tmp_path):
    bank = banks.load_memory_bank(dataset, "blocks")
    bank.add("../../evil", torch.tensor([250.0, 0, 0]))
    (tmp_path / "in").mkdir()
    bank.save(tmp_path / "in" / "bank.safetensors")
    before = {path for path in tmp_path.rglob("*")}
    files.import_memory_bank(dataset, tmp_path / "in" / "bank.safetensors", "taken_over")
    written = files.export_memory_bank(dataset, "taken_over", tmp_path / "in")
    assert {path for path in tmp_path.rglob("*")} - before == {written}
    assert written.parent == tmp_path / "in"
    banks.delete_memory_bank(dataset, "taken_over")


@row("path-that-cannot-be")
@pytest.mark.parametrize("path", IMPOSSIBLE, ids=["user", "long", "nul", "long name"])
@pytest.mark.parametrize("action", ["export", "import", "segment", "masks"])
def test_a_path_that_cannot_be_is_refused_in_words(unchanged, segmenter, path, action):
    steps = {
        "export": lambda: files.export_memory_bank(unchanged, "blocks", path),
        "import": lambda: files.import_memory_bank(unchanged, path, "other"),
        "segment": lambda: segment(unchanged, Path(path), segmenter=segmenter),
        "masks": lambda: segment(unchanged, "blocks", mask_dir=path, segmenter=segmenter),
    }
    remedy = "name another folder" if action == "masks" else "give another path"
    with refused("cannot be", remedy):
        steps[action]()
