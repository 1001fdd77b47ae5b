import fiftyone.core.odm as foo
import pymongo.errors
import pytest
import torch
from pymongo.synchronous.pool import Connection

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.database import custom_runs, grid_files
from ntt_plugin.engine.bank.memory_bank import MemoryBank
from ntt_plugin.engine.references import Provenance
from ntt_plugin.errors import BankError, DatasetError

WRITES = {"insert", "update", "delete", "findAndModify"}


class Killed(BaseException):
    """Nothing that the code under test could catch and tidy up after."""


@pytest.fixture
def fingerprint(segmenter):
    return segmenter.fingerprint


def leftovers(dataset):
    """Runs and files in the database that belong to no bank of the dataset."""
    database = foo.get_db_conn()
    listed = database.datasets.find_one({"_id": dataset._doc.id})["runs"].values()
    runs = list(database.runs.find({"_dataset_id": dataset._doc.id}))
    files = {run["results"] for run in runs}
    stored = {file["_id"] for file in database.fs.files.find()} | set(
        database.fs.chunks.distinct("files_id")
    )
    others = database.runs.distinct("results", {"_dataset_id": {"$ne": dataset._doc.id}})
    # Of earlier tests nothing counts.
    mine = {file for file in stored - files - set(others) if file > dataset._doc.id}
    return [run["key"] for run in runs if run["_id"] not in listed] + list(mine)


def make_bank(fingerprint, label, shots=1):
    bank = MemoryBank(fingerprint, "tiny")
    bank.add(label, torch.rand(shots, 3))
    return bank


def kill_at(monkeypatch, write):
    """End the process, as it were, in place of the given write to the database (0, 1, ...)."""
    done = []
    command, write_command = Connection.command, Connection.write_command

    def count(name):
        if name in WRITES:
            done.append(name)
            if len(done) > write:
                raise Killed

    def counted_command(self, database, spec, *args, **kwargs):
        count(next(iter(spec)))
        return command(self, database, spec, *args, **kwargs)

    def counted_write(self, *args, **kwargs):
        count("insert")
        return write_command(self, *args, **kwargs)

    monkeypatch.setattr(Connection, "command", counted_command)
    monkeypatch.setattr(Connection, "write_command", counted_write)
    return done


def killed_meanwhile(monkeypatch, dataset, act):
    """Run ``act`` on ever more of its writes; after each death yields what another process sees.

    Ends when ``act`` came to its end.
    """
    for write in range(100):
        with monkeypatch.context() as patch:
            kill_at(patch, write)
            try:
                act()
            except Killed:
                finished = False
            else:
                finished = True
        dataset.reload()
        yield finished
        if finished:
            return
    raise AssertionError("it never came to its end")


def test_an_overwrite_that_is_killed_leaves_the_old_bank_or_the_new_one(
    dataset, fingerprint, monkeypatch
):
    old, new = make_bank(fingerprint, "old"), make_bank(fingerprint, "new")
    banks.save_memory_bank(dataset, "mine", old)
    seen = []

    def overwrite():
        banks.save_memory_bank(dataset, "mine", new, overwrite=True)

    for finished in killed_meanwhile(monkeypatch, dataset, overwrite):
        assert banks.list_memory_banks(dataset) == ["mine"]
        found = banks.load_memory_bank(dataset, "mine")
        assert found.to_bytes() in (old.to_bytes(), new.to_bytes())
        assert list(banks.get_memory_bank_info(dataset, "mine").shots) == found.classes
        seen.append(found.classes[0])
        assert found.classes == ["new"] or not finished
        banks.save_memory_bank(dataset, "mine", old, overwrite=True)
        assert leftovers(dataset) == []
    assert {"old", "new"} <= set(seen) and len(seen) > 6


def test_a_first_save_that_is_killed_leaves_no_bank_or_a_whole_one(
    dataset, fingerprint, monkeypatch
):
    bank = make_bank(fingerprint, "only")
    counts = []

    def save():
        banks.save_memory_bank(dataset, "mine", bank, overwrite=True)

    for _ in killed_meanwhile(monkeypatch, dataset, save):
        found = banks.list_memory_banks(dataset)
        counts.append(len(found))
        for name in found:
            assert banks.load_memory_bank(dataset, name).to_bytes() == bank.to_bytes()
            banks.delete_memory_bank(dataset, name)
        banks.save_memory_bank(dataset, "another", bank, overwrite=True)
        assert leftovers(dataset) == []
        banks.delete_memory_bank(dataset, "another")
    assert {0, 1} == set(counts)


def test_a_deletion_that_is_killed_leaves_the_whole_bank_or_none(dataset, fingerprint, monkeypatch):
    bank = make_bank(fingerprint, "only")
    banks.save_memory_bank(dataset, "mine", bank)
    counts = []

    def delete():
        banks.delete_memory_bank(dataset, "mine")

    for _ in killed_meanwhile(monkeypatch, dataset, delete):
        found = banks.list_memory_banks(dataset)
        counts.append(len(found))
        for name in found:
            assert banks.load_memory_bank(dataset, name).to_bytes() == bank.to_bytes()
        banks.save_memory_bank(dataset, "mine", bank, overwrite=True)
        assert leftovers(dataset) == []
    assert {0, 1} == set(counts)


def test_a_database_that_refuses_is_an_error_of_ours_and_the_old_bank_stays(
    dataset, fingerprint, monkeypatch
):
    banks.save_memory_bank(dataset, "mine", make_bank(fingerprint, "old"))

    def full(*args, **kwargs):
        raise pymongo.errors.OperationFailure("No space left on device", 14031)

    with monkeypatch.context() as patch:
        patch.setattr(grid_files, "put", full)
        with pytest.raises(BankError, match=r"No space left on device.*before is there, or"):
            banks.save_memory_bank(dataset, "mine", make_bank(fingerprint, "new"), overwrite=True)
    dataset.reload()
    assert banks.load_memory_bank(dataset, "mine").classes == ["old"]
    banks.save_memory_bank(dataset, "mine", make_bank(fingerprint, "new"), overwrite=True)
    assert banks.load_memory_bank(dataset, "mine").classes == ["new"]


def test_a_lost_answer_to_the_last_step_leaves_the_new_bank(dataset, fingerprint, monkeypatch):
    banks.save_memory_bank(dataset, "mine", make_bank(fingerprint, "old"))
    swap = custom_runs.swap

    def losing(*args, **kwargs):
        swap(*args, **kwargs)
        raise pymongo.errors.AutoReconnect("connection closed")

    with monkeypatch.context() as patch:
        patch.setattr(custom_runs, "swap", losing)
        with pytest.raises(BankError, match=r"connection closed.*or the new one is"):
            banks.save_memory_bank(dataset, "mine", make_bank(fingerprint, "new"), overwrite=True)
    assert banks.load_memory_bank(dataset, "mine").classes == ["new"]


def test_every_write_of_a_run_is_asked_to_be_on_the_disk(dataset, fingerprint, monkeypatch):
    asked, command = [], Connection.command

    def listening(self, database, spec, *args, **kwargs):
        name, collection = next(iter(spec.items()))
        if name in WRITES and collection in ("runs", "datasets"):
            concern = kwargs.get("write_concern")
            asked.append(spec.get("writeConcern") or (concern and concern.document))
        return command(self, database, spec, *args, **kwargs)

    bank = make_bank(fingerprint, "a")
    monkeypatch.setattr(Connection, "command", listening)
    banks.save_memory_bank(dataset, "mine", bank)
    assert len(asked) >= 3 and all(found == {"w": "majority", "j": True} for found in asked)


def test_the_facts_beside_a_bank_are_those_of_the_bank(dataset, fingerprint):
    bank = make_bank(fingerprint, "$a.b", shots=3)
    bank.add("b", torch.rand(2, 3), [Provenance("elsewhere"), Provenance("dataset")])
    bank.add_negatives("b", torch.rand(4, 3))
    banks.save_memory_bank(dataset, "mine", bank)
    info = banks.get_memory_bank_info(dataset, "mine")
    loaded = banks.load_memory_bank(dataset, "mine")
    assert info.shots == {"$a.b": 3, "b": 2}
    assert info.negatives == {"$a.b": 0, "b": 4}
    assert info.sources == ("dataset", "elsewhere")
    assert (info.recipe, info.version, info.created) == (bank.recipe, 3, bank.created)
    assert info.digest == banks.bank_digest(loaded)
    assert info.size == len(loaded.to_bytes())


def test_facts_follow_an_overwrite_and_a_rename(dataset, fingerprint):
    banks.save_memory_bank(dataset, "mine", make_bank(fingerprint, "old"))
    banks.save_memory_bank(dataset, "mine", make_bank(fingerprint, "new", 7), overwrite=True)
    banks.rename_memory_bank(dataset, "mine", "yours")
    info = banks.get_memory_bank_info(dataset, "yours")
    assert (info.name, info.shots) == ("yours", {"new": 7})


def test_info_reads_no_features(dataset, fingerprint, monkeypatch):
    for index in range(3):
        banks.save_memory_bank(dataset, f"bank{index}", make_bank(fingerprint, "a"))
    monkeypatch.setattr(custom_runs, "load", None)
    assert [
        banks.get_memory_bank_info(dataset, name).shots for name in banks.list_memory_banks(dataset)
    ] == [{"a": 1}] * 3


def test_info_of_a_bank_without_facts_comes_from_the_bank(dataset, fingerprint):
    """As one saved by an earlier version has none, or one with names too long to keep twice."""
    bank = make_bank(fingerprint, "a", shots=2)
    banks.save_memory_bank(dataset, "mine", bank)
    before = banks.get_memory_bank_info(dataset, "mine")
    config = dataset.get_run_info("ntt_bank_mine").config
    del config.facts
    dataset.update_run_config("ntt_bank_mine", config)
    assert not hasattr(dataset.get_run_info("ntt_bank_mine").config, "facts")
    assert banks.get_memory_bank_info(dataset, "mine") == before


def test_more_names_than_a_document_holds_are_kept(dataset, fingerprint):
    bank = MemoryBank(fingerprint, "tiny")
    names = [f"{index:04}" + "x" * 10_000 for index in range(600)]
    for name in names:
        bank.add(name, torch.ones(3))
    banks.save_memory_bank(dataset, "mine", bank)
    assert list(banks.get_memory_bank_info(dataset, "mine").shots) == names


def test_a_long_unknown_name_is_cut_short_in_the_message(dataset):
    with pytest.raises(DatasetError) as caught:
        banks.load_memory_bank(dataset, "x" * 10_000)
    assert len(str(caught.value)) < 400
