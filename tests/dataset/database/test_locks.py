import os
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone

import psutil
import pytest

from ntt_plugin.dataset.database import locks
from ntt_plugin.dataset.database.locks import RunLock
from ntt_plugin.errors import DatasetError


def kept(dataset):
    return list(locks._locks().find({"_id": f"{dataset._doc.id}/ntt"}))


def leave_lock(dataset, **changed):
    """The lock of a run that is this very process, but for what is changed."""
    now = datetime.now(timezone.utc)
    locks._locks().insert_one(
        {
            "_id": f"{dataset._doc.id}/ntt",
            "token": "theirs",
            "machine": locks._machine(),
            "host": "somewhere",
            "user": "someone",
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "since": now,
            "heartbeat": now,
            **changed,
        }
    )


@pytest.fixture
def other_process():
    """A process that is not this one, and runs."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def identity(process):
    return {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}


def test_a_second_run_on_the_field_is_refused_and_told_by_whom(dataset):
    with (
        RunLock(dataset, "ntt"),
        pytest.raises(DatasetError, match=rf"'ntt'.*process {os.getpid()} of .* on .*Wait"),
        RunLock(dataset, "ntt"),
    ):
        pass


def test_a_thread_is_refused_as_well(dataset):
    refused = []

    def take():
        try:
            with RunLock(dataset, "ntt"):
                pass
        except DatasetError as error:
            refused.append(error)

    with RunLock(dataset, "ntt"):
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
    assert len(refused) == 1


def test_one_who_has_patience_waits_for_the_end(dataset):
    held = RunLock(dataset, "ntt").__enter__()
    end = threading.Timer(0.5, held.__exit__, (None, None, None))
    end.start()
    with RunLock(dataset, "ntt", patience=20):
        assert len(kept(dataset)) == 1
    end.join()


def test_patience_has_an_end(dataset):
    with (
        RunLock(dataset, "ntt"),
        pytest.raises(DatasetError, match="Another run is writing"),
        RunLock(dataset, "ntt", patience=0.3),
    ):
        pass


def test_another_field_is_free(dataset):
    with RunLock(dataset, "ntt"), RunLock(dataset, "other"):
        assert len(kept(dataset)) == 1


def test_a_lock_is_free_after_its_end_however_that_came(dataset):
    with pytest.raises(KeyError), RunLock(dataset, "ntt"):
        raise KeyError
    assert kept(dataset) == []
    with RunLock(dataset, "ntt"):
        pass


def test_of_many_who_want_it_at_once_one_gets_it(dataset):
    got, start, end = [], threading.Barrier(8), threading.Event()

    def take():
        start.wait()
        try:
            with RunLock(dataset, "ntt"):
                got.append(1)
                end.wait()
        except DatasetError:
            pass

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while sum(thread.is_alive() for thread in threads) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    end.set()
    for thread in threads:
        thread.join()
    assert len(got) == 1


def test_the_lock_of_a_process_that_runs_holds(dataset, other_process):
    leave_lock(dataset, **identity(other_process))
    with pytest.raises(DatasetError, match="someone on somewhere"), RunLock(dataset, "ntt"):
        pass


def test_the_lock_of_a_dead_process_is_free_at_once(dataset, other_process):
    leave_lock(dataset, **identity(other_process))
    other_process.kill()
    # It is a zombie until its parent asks for it, which may be never.
    while psutil.Process(other_process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    with RunLock(dataset, "ntt"):
        assert kept(dataset)[0]["pid"] == os.getpid()


def test_a_process_with_the_number_of_the_dead_one_holds_nothing(dataset, other_process):
    seen = datetime.now(timezone.utc) - timedelta(seconds=60)
    leave_lock(dataset, pid=other_process.pid, started=1.0, heartbeat=seen)
    with RunLock(dataset, "ntt"):
        pass


def test_a_clock_that_was_set_takes_no_lock_from_a_process_that_lives(dataset, other_process):
    """The start of a process that the system tells moves with the clock."""
    seen = datetime.now(timezone.utc) - timedelta(seconds=20)
    started = identity(other_process)["started"] - 3600
    leave_lock(dataset, pid=other_process.pid, started=started, heartbeat=seen)
    with pytest.raises(DatasetError, match="someone on somewhere"), RunLock(dataset, "ntt"):
        pass


def test_a_lock_that_this_process_does_not_know_of_is_free(dataset):
    """As after a run whose database was gone when it ended."""
    leave_lock(dataset)
    with RunLock(dataset, "ntt"):
        pass


@pytest.mark.parametrize(("age", "free"), [(60, False), (180, True)])
def test_the_lock_of_another_machine_is_free_two_minutes_after_its_last_sign(
    dataset, monkeypatch, age, free
):
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.2)
    seen = datetime.now(timezone.utc) - timedelta(seconds=age)
    leave_lock(dataset, machine="another", heartbeat=seen)
    if free:
        with RunLock(dataset, "ntt"):
            pass
    else:
        with (
            pytest.raises(DatasetError, match=r"last sign of life was 6\d s ago"),
            RunLock(dataset, "ntt"),
        ):
            pass


def test_a_holder_shows_signs_of_life(dataset, monkeypatch):
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.05)
    with RunLock(dataset, "ntt"):
        first = kept(dataset)[0]["heartbeat"]
        deadline = time.monotonic() + 20
        while kept(dataset)[0]["heartbeat"] == first and time.monotonic() < deadline:
            time.sleep(0.05)
        assert kept(dataset)[0]["heartbeat"] > first


def test_a_database_clock_set_forward_takes_no_lock_from_one_that_lives(dataset, monkeypatch):
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.2)
    with RunLock(dataset, "ntt") as lock:
        # What a taker reads right after the clock was set; the next heartbeat has its time.
        jumped = {"$subtract": ["$$NOW", 600_000]}
        locks._locks().update_one({"_id": lock._key}, [{"$set": {"heartbeat": jumped}}])
        with pytest.raises(DatasetError, match="Another run is writing"), RunLock(dataset, "ntt"):
            pass
        lock.require()


def test_a_silent_holder_that_may_live_is_remembered(dataset, monkeypatch, other_process):
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.2)
    long_ago = datetime.now(timezone.utc) - timedelta(seconds=180)
    leave_lock(dataset, **identity(other_process), heartbeat=long_ago)
    with RunLock(dataset, "ntt") as lock:
        assert lock.overtaken() == ["theirs"] and lock.former["token"] == "theirs"
    with RunLock(dataset, "ntt") as lock:
        assert lock.overtaken() == ["theirs"] and lock.former is None


@pytest.mark.parametrize(("holder", "marked"), [("theirs", False), ("a faster one", True)])
def test_a_lock_is_not_taken_from_one_that_wakes_or_is_faster(
    dataset, monkeypatch, other_process, holder, marked
):
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.2)
    long_ago = datetime.now(timezone.utc) - timedelta(seconds=180)
    leave_lock(dataset, **identity(other_process), heartbeat=long_ago)
    mark = locks._mark_overtaken

    def last_moment(*args, **kwargs):
        mark(*args, **kwargs)
        beat = {"token": holder, "heartbeat": datetime.now(timezone.utc)}
        locks._locks().update_one({"_id": f"{dataset._doc.id}/ntt"}, {"$set": beat})

    monkeypatch.setattr(locks, "_mark_overtaken", last_moment)
    lock = RunLock(dataset, "ntt")
    with pytest.raises(DatasetError, match="someone on somewhere"), lock:
        pass
    assert kept(dataset)[0]["token"] == holder
    assert lock.overtaken() == ["theirs"] * marked


def test_a_dead_holder_is_not_remembered_as_one_that_may_live(dataset):
    leave_lock(dataset)
    with RunLock(dataset, "ntt") as lock:
        assert lock.overtaken() == [] and lock.former["token"] == "theirs"


def test_a_lock_whose_document_went_is_still_held(dataset):
    """As after a jump of the database's clock by more than a week."""
    with RunLock(dataset, "ntt") as lock:
        locks._locks().delete_one({"_id": lock._key})
        lock._last_beat -= 300
        lock.require()
        assert kept(dataset)[0]["token"] == lock.token


def test_a_lock_that_another_took_and_gave_back_is_lost(dataset):
    with RunLock(dataset, "ntt") as lock:
        locks._mark_overtaken(kept(dataset)[0], may_live=True, by="another")
        locks._locks().delete_one({"_id": lock._key})
        lock._last_beat -= 300
        with pytest.raises(DatasetError, match="taken over"):
            lock.require()
    assert kept(dataset) == []


def test_an_intent_is_inherited_from_one_that_was_killed_until_it_is_dropped(dataset):
    leave_lock(dataset, intent="overwrite this")
    with RunLock(dataset, "ntt") as lock:
        assert lock.former["intent"] == kept(dataset)[0]["intent"] == "overwrite this"
        lock.drop_intent()
        assert "intent" not in kept(dataset)[0]


def test_where_no_thread_can_be_started_the_lock_is_given_back(dataset, monkeypatch):
    def refused(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(RuntimeError), RunLock(dataset, "ntt"):
            pass
    assert kept(dataset) == []


def test_a_process_is_known_by_its_start_whatever_the_clock_says(dataset, other_process):
    ticks = locks._start_ticks(other_process.pid)
    if ticks is None:
        pytest.skip("the system does not tell when a process began")
    seen = datetime.now(timezone.utc) - timedelta(seconds=60)
    leave_lock(dataset, pid=other_process.pid, started=1.0, ticks=ticks, heartbeat=seen)
    with pytest.raises(DatasetError, match="someone on somewhere"), RunLock(dataset, "ntt"):
        pass


def test_a_run_that_slept_notices_that_another_took_over(dataset):
    with RunLock(dataset, "ntt") as lock:
        lock.require()
        locks._locks().update_one({"_id": lock._key}, {"$set": {"token": "theirs"}})
        lock._last_beat -= 100
        with pytest.raises(DatasetError, match="taken over"):
            lock.require()
    assert kept(dataset)[0]["token"] == "theirs", "it released what was not its own"


def test_what_was_forgotten_long_ago_is_swept(dataset):
    long_ago = datetime.now(timezone.utc) - timedelta(days=8)
    leave_lock(dataset, _id="of a deleted dataset/ntt", heartbeat=long_ago)
    with RunLock(dataset, "ntt"):
        assert locks._locks().find_one({"_id": "of a deleted dataset/ntt"}) is None
