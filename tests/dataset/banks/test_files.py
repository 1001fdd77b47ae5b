import errno
import os
import resource
import uuid
from dataclasses import replace
from pathlib import Path

import fiftyone as fo
import pytest
import torch

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.banks.files import export_memory_bank, import_memory_bank
from ntt_plugin.engine.bank.memory_bank import MemoryBank
from ntt_plugin.engine.references import Provenance
from ntt_plugin.errors import BankError, DatasetError


@pytest.fixture
def other():
    dataset = fo.Dataset(f"test_{uuid.uuid4().hex}")
    yield dataset
    dataset.delete()


def test_a_bank_goes_to_a_file_and_into_another_dataset(dataset, bank, other, tmp_path):
    path = export_memory_bank(dataset, "blocks", tmp_path / "mine.safetensors")
    assert path == tmp_path / "mine.safetensors"
    import_memory_bank(other, path)
    assert banks.list_memory_banks(other) == ["mine"]
    assert banks.load_memory_bank(other, "mine").to_bytes() == bank.to_bytes()


def test_a_folder_takes_the_banks_name(dataset, bank, tmp_path):
    assert export_memory_bank(dataset, "blocks", str(tmp_path)) == tmp_path / "blocks.safetensors"
    assert MemoryBank.load(tmp_path / "blocks.safetensors").to_bytes() == bank.to_bytes()


def test_a_file_that_is_there_is_replaced_only_when_asked(dataset, bank, tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_text("precious")
    with pytest.raises(DatasetError, match="pass overwrite=True"):
        export_memory_bank(dataset, "blocks", path)
    assert path.read_text() == "precious"
    export_memory_bank(dataset, "blocks", path, overwrite=True)
    assert MemoryBank.load(path).to_bytes() == bank.to_bytes()


def test_a_name_in_the_dataset_is_replaced_only_when_asked(dataset, bank, other, tmp_path):
    path = export_memory_bank(dataset, "blocks", tmp_path)
    small = MemoryBank(bank.fingerprint, "tiny")
    small.add("one", torch.ones(3))
    banks.save_memory_bank(other, "blocks", small)
    with pytest.raises(DatasetError, match="already has a memory bank 'blocks'"):
        import_memory_bank(other, path)
    assert banks.load_memory_bank(other, "blocks").classes == ["one"]
    import_memory_bank(other, path, overwrite=True)
    assert banks.load_memory_bank(other, "blocks").to_bytes() == bank.to_bytes()


def test_banks_come_along_when_fiftyone_exports_and_imports_the_dataset(dataset, bank, tmp_path):
    folder, kind = str(tmp_path / "exported"), fo.types.FiftyOneDataset
    dataset.export(folder, dataset_type=kind, progress=False)
    again = fo.Dataset.from_dir(folder, dataset_type=kind, progress=False)
    try:
        assert banks.load_memory_bank(again, "blocks").to_bytes() == bank.to_bytes()
    finally:
        again.delete()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("missing/mine.safetensors", "no folder .*missing.* make it"),
        ("mine.txt", "ends in '.safetensors'"),
        ("mine", "neither a folder nor"),
    ],
)
def test_where_a_bank_cannot_be_written_is_told(dataset, bank, tmp_path, path, said):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DatasetError, match=said):
        export_memory_bank(dataset, "blocks", tmp_path / path)
    assert sorted(tmp_path.iterdir()) == before


def test_a_name_too_long_for_a_file_is_refused_when_a_bank_is_saved(dataset, bank, tmp_path):
    with pytest.raises(DatasetError, match=r"201 characters\) is too long .* 200 characters"):
        banks.save_memory_bank(dataset, "a" * 201, bank)
    banks.save_memory_bank(dataset, "a" * 200, bank)
    assert export_memory_bank(dataset, "a" * 200, tmp_path).is_file()


def test_a_folder_with_the_files_name_is_no_file_to_replace(dataset, bank, tmp_path):
    (tmp_path / "blocks.safetensors").mkdir()
    with pytest.raises(DatasetError, match="choose another path"):
        export_memory_bank(dataset, "blocks", tmp_path, overwrite=True)


def test_a_disk_that_fills_leaves_the_old_file_and_nothing_else(dataset, bank, tmp_path):
    folder = tmp_path / "full"
    folder.mkdir()
    path = folder / "mine.safetensors"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system refuses to let any file of this process grow beyond it, as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(BankError, match=r"mine\.safetensors.*"):
            export_memory_bank(dataset, "blocks", path, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [entry.name for entry in folder.iterdir()] == ["mine.safetensors"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("code", ["EROFS", "EACCES", "ENOSPC"])
def test_a_folder_that_takes_no_file_is_told(dataset, bank, tmp_path, monkeypatch, code):
    number = getattr(errno, code)
    opened = Path.open

    def refuse(self, mode="r", *args, **kwargs):
        if "w" in mode:
            raise OSError(number, os.strerror(number), str(self))
        return opened(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BankError, match=os.strerror(number)):
        export_memory_bank(dataset, "blocks", tmp_path)
    assert not (tmp_path / "blocks.safetensors").exists()


@pytest.mark.parametrize("name", ["two words", "1st", "_hidden", "größer-als"])
def test_a_file_whose_name_no_bank_can_have_asks_for_one(dataset, bank, tmp_path, name):
    path = tmp_path / f"{name}.safetensors"
    bank.save(path)
    with pytest.raises(DatasetError, match=r"give one with name="):
        import_memory_bank(dataset, path)
    import_memory_bank(dataset, path, "fine")
    assert "fine" in banks.list_memory_banks(dataset)


def test_a_strangers_networks_are_named_and_not_loaded(dataset, bank, tmp_path, monkeypatch):
    monkeypatch.setattr("ntt_plugin.engine.segmenter.Segmenter.from_preset", None)
    monkeypatch.setattr("ntt_plugin.engine.segmenter.Segmenter", None)
    recipe = replace(bank.recipe, segmenter="stranger/sam", encoder="/stranger/dino")
    strange = MemoryBank(bank.fingerprint, recipe)
    strange.add("a", torch.ones(3))
    strange.save(tmp_path / "strange.safetensors")
    import_memory_bank(dataset, tmp_path / "strange.safetensors")
    info = banks.get_memory_bank_info(dataset, "strange")
    assert (info.segmenter, info.encoder) == ("stranger/sam", "/stranger/dino")


def test_a_bank_is_found_by_itself_by_name_by_dataset_and_by_file(dataset, bank, other, tmp_path):
    path = export_memory_bank(dataset, "blocks", tmp_path / "file_name.safetensors")
    for given, keeper, name in (
        (bank, None, "blocks"),
        ("blocks", None, "blocks"),
        ("blocks", dataset.name, "blocks"),
        ("blocks", dataset.limit(1), "blocks"),
        (path, None, "file_name"),
        (str(path), None, "file_name"),
    ):
        worked_on = dataset if keeper is None else other
        found = banks.resolve_bank(worked_on, given, keeper)
        assert found[0] == name and found[1].to_bytes() == bank.to_bytes()


def test_a_bank_that_is_saved_nowhere_is_named_by_its_digest(bank, other):
    assert banks.resolve_bank(other, bank)[0] == f"unsaved_{banks.bank_digest(bank)}"


@pytest.mark.parametrize(
    ("given", "keeper", "said"),
    [
        ("nope", None, "no memory bank 'nope'"),
        ("blocks", "no such dataset", "no dataset 'no such dataset'"),
        ("missing.safetensors", None, "missing.safetensors"),
        (Path("missing"), None, "missing"),
        (Path("blocks.safetensors"), "any", "as a file; leave bank_dataset out"),
        (7, None, "not of the type int"),
    ],
)
def test_a_bank_that_is_not_there_is_told(dataset, bank, given, keeper, said):
    with pytest.raises((DatasetError, BankError), match=said):
        banks.resolve_bank(dataset, given, keeper)


def test_a_bank_itself_needs_no_dataset_to_be_found_in(dataset, bank):
    with pytest.raises(DatasetError, match="given itself; leave bank_dataset out"):
        banks.resolve_bank(dataset, bank, dataset.name)


def shown(view):
    return set(view.values("ground_truth.detections.id", unwind=True))


def test_the_references_view_shows_a_banks_labels_and_no_others(dataset, segmenter):
    view = dataset.limit(2)
    banks.build_memory_bank(view, "ground_truth", "some", classes=["red"], segmenter=segmenter)
    references = banks.load_references_view(dataset, "some")
    expected = {
        label.id
        for sample in view
        for label in sample.ground_truth.detections
        if label.label == "red"
    }
    assert shown(references) == expected
    assert set(references.values("id")) == set(view.values("id"))


def test_the_references_view_leaves_out_what_was_deleted(dataset, bank):
    first, second = dataset.values("id")[:2]
    dataset.delete_samples([first])
    label = dataset[second].ground_truth.detections[0].id
    dataset.delete_labels(ids=[label], fields="ground_truth")
    assert len(shown(banks.load_references_view(dataset, "blocks"))) == 14


def test_the_references_view_works_in_a_clone_and_after_a_new_name(dataset, bank):
    clone = dataset.clone()
    try:
        assert len(shown(banks.load_references_view(clone, "blocks"))) == 18
        clone.name = f"{clone.name}_renamed"
        assert len(shown(banks.load_references_view(clone, "blocks"))) == 18
    finally:
        clone.delete()


def test_references_with_names_that_are_no_ids_are_not_shown(dataset, bank):
    elsewhere = MemoryBank(bank.fingerprint, bank.recipe)
    elsewhere.add("red", torch.tensor([250.0, 0.0, 0.0]), Provenance("lab", "img_001", "label_2"))
    banks.save_memory_bank(dataset, "elsewhere", elsewhere)
    with pytest.raises(DatasetError, match=r"None of the 1 references .* came from 'lab'"):
        banks.load_references_view(dataset, "elsewhere")

    bank.add("red", torch.tensor([240.0, 0.0, 0.0]), Provenance("lab", "img_001", "label_2"))
    banks.save_memory_bank(dataset, "both", bank)
    assert len(shown(banks.load_references_view(dataset, "both"))) == 18


def test_references_of_another_dataset_are_told(dataset, bank, other):
    banks.save_memory_bank(other, "blocks", bank)
    with pytest.raises(DatasetError, match=rf"None of the 18 .* came from '{dataset.name}'"):
        banks.load_references_view(other, "blocks")
