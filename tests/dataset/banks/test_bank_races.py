"""Banks that several threads or processes read and change at the same moment."""

import sys
import threading
from collections import Counter
from pathlib import Path

import fiftyone.core.odm as foo
import pytest
import torch
from pymongo.synchronous.pool import Connection

from ntt_plugin.dataset.banks import banks, store
from ntt_plugin.dataset.banks import edit as bank_edits
from ntt_plugin.dataset.database import custom_runs, grid_files
from ntt_plugin.dataset.database.locks import RunLock
from ntt_plugin.engine.bank.memory_bank import MemoryBank
from ntt_plugin.errors import BankError, DatasetError
from tests.dataset.banks.test_store import leftovers

ROOT = Path(__file__).parents[3]


@pytest.fixture
def make_bank(segmenter):
    def make(*labels):
        bank = MemoryBank(segmenter.fingerprint, "tiny")
        for label in labels:
            bank.add(label, torch.rand(2, 3))
        return bank

    return make


def at_once(*calls, rounds=10):
    """Make the calls in a thread each, all at the same moment; counts their errors."""
    seen = Counter()
    for _ in range(rounds):
        gate = threading.Barrier(len(calls))

        def one(call, gate=gate):
            gate.wait()
            try:
                call()
            except Exception as error:
                seen[f"{type(error).__name__}: {error!s:.100}"] += 1

        threads = [threading.Thread(target=one, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return seen


def test_threads_read_one_bank_at_once(dataset, make_bank):
    banks.save_memory_bank(dataset, "A", make_bank("red"))
    load = [lambda: banks.load_memory_bank(dataset, "A")] * 4
    assert at_once(*load, rounds=15) == {}


def test_threads_read_banks_while_others_change(dataset, make_bank):
    for name in ("A", "B"):
        banks.save_memory_bank(dataset, name, make_bank("red"))

    def save():
        banks.save_memory_bank(dataset, "B", make_bank("blue"), overwrite=True)

    def copy_and_delete():
        bank_edits.duplicate_memory_bank(dataset, "A", "C")
        banks.delete_memory_bank(dataset, "C")

    errors = at_once(
        save,
        copy_and_delete,
        lambda: banks.load_memory_bank(dataset, "A"),
        lambda: banks.load_memory_bank(dataset, "B"),
        lambda: banks.get_memory_bank_info(dataset, "B"),
        lambda: banks.list_memory_banks(dataset),
    )
    assert errors == {}
    assert banks.list_memory_banks(dataset) == ["A", "B"]
    assert leftovers(dataset) == []


def test_a_bank_replaced_while_it_is_read_is_read_again(dataset, make_bank, monkeypatch):
    banks.save_memory_bank(dataset, "A", make_bank("old"))
    read_pieces = grid_files.read_pieces

    def replaced_first(file):
        monkeypatch.setattr(grid_files, "read_pieces", read_pieces)
        # Twice: the state before the last change is kept.
        banks.save_memory_bank(dataset, "A", make_bank("newer"), overwrite=True)
        banks.save_memory_bank(dataset, "A", make_bank("new"), overwrite=True)
        return read_pieces(file)

    monkeypatch.setattr(grid_files, "read_pieces", replaced_first)
    assert banks.load_memory_bank(dataset, "A").classes == ["new"]


def test_lost_content_is_no_reason_to_delete_a_bank(dataset, make_bank, monkeypatch):
    monkeypatch.setattr(store, "_LOOK_AGAIN_SECONDS", 0.01)
    banks.save_memory_bank(dataset, "A", make_bank("red"))
    banks.save_memory_bank(dataset, "B", make_bank("red"))
    run = custom_runs.listed(dataset)["ntt_bank_A"]
    grid_files.delete(custom_runs.file_of(run))
    with pytest.raises(BankError, match="at this moment") as caught:
        banks.load_memory_bank(dataset, "A")
    assert "delete" not in str(caught.value)
    banks.rename_memory_bank(dataset, "B", "C")
    assert banks.list_memory_banks(dataset) == ["A", "C"]


def test_too_little_memory_is_not_called_damage(dataset, make_bank, monkeypatch):
    banks.save_memory_bank(dataset, "A", make_bank("red"))

    def exhausted(*_):
        raise MemoryError

    for owner, name in ((MemoryBank, "from_bytes"), (store, "from_results")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, exhausted)
            with pytest.raises(BankError, match=r"not enough memory.*'A'.*may well be sound"):
                banks.load_memory_bank(dataset, "A")


def taught(make_bank):
    def edit(bank):
        bank.merge(make_bank("theirs"))
        return True

    return edit


def overtake(monkeypatch, act):
    """Let another process take the lock over, and act, just before a change takes its place."""

    def overtaken(self):
        monkeypatch.undo()
        foo.get_db_conn()["ntt_locks"].delete_many({})
        act()

    monkeypatch.setattr(RunLock, "require", overtaken)


CHANGES = {
    "update": lambda d, make: store.change(d, "A", taught(make)),
    "save": lambda d, make: banks.save_memory_bank(d, "A", make("saved"), overwrite=True),
    "remove": lambda d, make: bank_edits.remove_references(d, "A", classes=["second"]),
    "rename": lambda d, make: banks.rename_memory_bank(d, "A", "D"),
    "delete": lambda d, make: banks.delete_memory_bank(d, "A"),
    "merge": lambda d, make: bank_edits.merge_memory_banks(d, ["A", "B"], "A", overwrite=True),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("meanwhile", ["taught", "renamed", "deleted"])
def test_an_overtaken_change_is_refused_and_the_other_one_stays(
    dataset, make_bank, monkeypatch, change, meanwhile
):
    for name in ("A", "B"):
        banks.save_memory_bank(dataset, name, make_bank("first", "second"))
    act = {
        "taught": lambda: store.change(dataset, "A", taught(make_bank)),
        "renamed": lambda: banks.rename_memory_bank(dataset, "A", "C"),
        "deleted": lambda: banks.delete_memory_bank(dataset, "A"),
    }
    overtake(monkeypatch, act[meanwhile])
    with pytest.raises(DatasetError, match=r"changed meanwhile by another process.*Start again"):
        CHANGES[change](dataset, make_bank)
    found = {
        name: banks.load_memory_bank(dataset, name).classes
        for name in banks.list_memory_banks(dataset)
    }
    expected = {
        "taught": {"A": ["first", "second", "theirs"]},
        "renamed": {"C": ["first", "second"]},
        "deleted": {},
    }
    assert found == {**expected[meanwhile], "B": ["first", "second"]}
    banks.rename_memory_bank(dataset, "B", "E")
    assert leftovers(dataset) == []


def test_a_name_taken_meanwhile_is_not_overwritten(dataset, make_bank, monkeypatch):
    overtake(monkeypatch, lambda: banks.save_memory_bank(dataset, "new", make_bank("theirs")))
    with pytest.raises(DatasetError, match="changed meanwhile"):
        banks.save_memory_bank(dataset, "new", make_bank("mine"))
    assert banks.load_memory_bank(dataset, "new").classes == ["theirs"]


def test_a_merger_into_a_bank_that_was_changed_meanwhile_is_refused(
    dataset, make_bank, monkeypatch
):
    for name in ("A", "B"):
        banks.save_memory_bank(dataset, name, make_bank(name))
    doubles = bank_edits._doubles

    def taught_meanwhile(merged):
        store.change(dataset, "A", taught(make_bank))
        return doubles(merged)

    monkeypatch.setattr(bank_edits, "_doubles", taught_meanwhile)
    with pytest.raises(DatasetError, match="changed meanwhile"):
        bank_edits.merge_memory_banks(dataset, ["A", "B"], "A", overwrite=True)
    assert banks.load_memory_bank(dataset, "A").classes == ["A", "theirs"]


def test_a_draft_of_a_process_that_is_alive_is_left_alone(dataset, make_bank, monkeypatch):
    def meanwhile():
        banks.save_memory_bank(dataset, "B", make_bank("blue"))

    monkeypatch.setattr(RunLock, "require", lambda self: (monkeypatch.undo(), meanwhile()))
    banks.save_memory_bank(dataset, "A", make_bank("red"))
    assert banks.load_memory_bank(dataset, "A").classes == ["red"]
    assert banks.load_memory_bank(dataset, "B").classes == ["blue"]


def commands_of(monkeypatch, call):
    """How many commands a call sends to the database."""
    seen = []
    command = Connection.command

    def counted(self, *args, **kwargs):
        if threading.current_thread() is threading.main_thread():
            seen.append(next(iter(args[1])))
        return command(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "command", counted)
        call()
    return len(seen)


def test_the_work_for_one_bank_does_not_grow_with_the_number_of_banks(
    dataset, make_bank, monkeypatch
):
    calls = {
        "save": lambda: banks.save_memory_bank(dataset, "A", make_bank("x"), overwrite=True),
        "info": lambda: banks.get_memory_bank_info(dataset, "A"),
        "infos": lambda: banks.memory_bank_infos(dataset),
        "list": lambda: banks.list_memory_banks(dataset),
        "load": lambda: banks.load_memory_bank(dataset, "A"),
    }
    # From the second change on a former state is deleted.
    calls["save"]()
    calls["save"]()
    before = {name: commands_of(monkeypatch, call) for name, call in calls.items()}
    for number in range(12):
        banks.save_memory_bank(dataset, f"bank{number}", make_bank("x"))
    assert {name: commands_of(monkeypatch, call) for name, call in calls.items()} == before
    assert before["infos"] <= 3 and before["info"] <= 3


def test_infos_of_all_banks_are_those_of_each(dataset, make_bank, monkeypatch):
    for name in ("B", "A", "hurt"):
        banks.save_memory_bank(dataset, name, make_bank(name))
    run = custom_runs.listed(dataset)["ntt_bank_hurt"]
    foo.get_db_conn().runs.update_one({"_id": run}, {"$unset": {"config.facts": ""}})
    grid_files.delete(custom_runs.file_of(run))
    monkeypatch.setattr(store, "_LOOK_AGAIN_SECONDS", 0.01)
    found = banks.memory_bank_infos(dataset)
    assert list(found) == ["A", "B", "hurt"]
    assert isinstance(found["hurt"], BankError)
    assert found["A"] == banks.get_memory_bank_info(dataset, "A")
    assert list(banks.memory_bank_infos(dataset, ["hurt", "A", "gone"])) == ["A", "hurt"]


def test_results_replaced_while_they_are_read_are_read_again(dataset, monkeypatch):
    dataset.register_run("mine", dataset.init_run())
    custom_runs.replace(dataset, "mine", value=1)
    read = grid_files.read

    def replaced_first(file):
        monkeypatch.setattr(grid_files, "read", read)
        custom_runs.replace(dataset, "mine", value=2)
        return read(file)

    monkeypatch.setattr(grid_files, "read", replaced_first)
    assert custom_runs.read(dataset, "mine")["value"] == 2
    dataset.reload()
    assert dataset.load_run_results("mine").value == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are paused by /proc")
def test_paused_and_woken_changes_lose_nothing(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import paused_banks

    from ntt_plugin.dataset.database import locks

    for name in ("BEAT_SECONDS", "STALE_SECONDS"):
        # Put back what the benchmark shortens.
        monkeypatch.setattr(locks, name, getattr(locks, name))
    # It waits a second a round for what this test does not ask.
    monkeypatch.setattr(paused_banks, "left_over", lambda dataset: 0)
    counts = paused_banks.try_all(rounds=7)
    assert (counts["rounds"], counts["lost"], counts["wrong"]) == (7, 0, 0)
