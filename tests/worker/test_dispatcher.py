"""What becomes of items and workers when workers die, hang, or never start."""

import os
import time
from itertools import count

import psutil
import pytest

from ntt_plugin.errors import WorkerError
from ntt_plugin.worker import dispatcher, pool
from ntt_plugin.worker.dispatcher import Dispatcher, LostItem, dispatch

from .conftest import results

TEXTS = [f"x{number}" for number in range(60)]
CAPITALS = {number: text.upper() for number, text in enumerate(TEXTS)}


def children() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if any("worker.local_child" in word for word in child.cmdline())
    ]


@pytest.mark.parametrize("workers", [1, 3])
def test_each_item_gets_its_own_result(local, workers):
    assert results(TEXTS, local(workers)) == CAPITALS


def test_nothing_to_do_is_done_at_once(local):
    assert results([], local(2)) == {}


def test_no_process_is_left_after_the_last_result(local):
    results(TEXTS, local(2))
    assert children() == []


def test_items_are_read_as_they_are_needed(local):
    read = count()
    stream = ((number, b"x") for number in iter(lambda: next(read), -1))
    iterator = dispatch(stream, local(1))
    for _ in range(50):
        next(iterator)
    iterator.close()
    assert next(read) < 50 + 100


def test_handlers_are_closed_when_all_is_done(local, tmp_path):
    results(TEXTS, local(2, "Closing", str(tmp_path / "log").encode()))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["closed"] * 2


def test_what_handlers_say_when_they_are_closed_is_told(local, tmp_path):
    prepared = Dispatcher(local(1, "Closing", str(tmp_path / "log").encode()))
    assert dict(prepared.run([(0, b"x")])) == {0: b"X"}
    assert prepared.last_words == [b"last words"]


def test_workers_are_not_given_up_while_nobody_listens_to_them(local):
    told: list[str] = []
    found = {}
    stream = ((number, text.encode()) for number, text in enumerate(TEXTS))
    for key, result in dispatch(stream, local(2), item_seconds=0.8, tell=told.append):
        if key in (0, 30):
            time.sleep(2)
        found[key] = result
    assert told == [] and LostItem not in map(type, found.values()) and len(found) == 60


class StoppedPool:
    """One worker that answers at once; this process is stopped while an answer is on its way."""

    size, one_by_one = 1, True
    name = "worker 0"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.waiting: list[bytes] = []
        self.rounds = self.ends = 0

    def start(self, number):
        return self

    def send(self, items):
        self.waiting += items

    def end(self):
        self.ends += 1

    def wait(self, seconds):
        self.rounds += 1
        if self.rounds == 1:
            return [pool.Ready(self)]
        if self.rounds == 2:
            # As after SIGSTOP: what has come is told by the next call only.
            time.sleep(self.seconds)
            return []
        done, self.waiting = self.waiting, []
        return [pool.Results(self, done)] if done else []

    def close(self, finished):
        return []


def test_a_driver_that_was_stopped_gives_no_worker_up(monkeypatch):
    monkeypatch.setattr(dispatcher, "_DEAF_SECONDS", 0.5)
    stopped = StoppedPool(seconds=1.0)
    items = [(number, b"x") for number in range(20)]
    assert dict(dispatch(items, stopped, item_seconds=0.3)) == dict(items)
    assert stopped.ends == 0


def test_a_closed_iterator_leaves_no_process(local):
    iterator = dispatch(((n, b"x") for n in count()), local(2))
    next(iterator)
    iterator.close()
    assert children() == []


def test_an_exception_out_of_tick_ends_workers_that_are_still_starting(local):
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(dispatch([(0, b"x")], local(1, "slow_start"), tick=stop))
    assert children() == []


def test_a_prepared_worker_gets_the_items(local):
    prepared = Dispatcher(local(2))
    prepared.prepare(1)
    (started,) = children()
    found = dict(prepared.run([(0, b"who"), (1, b"x")]))
    assert found[0].split()[0] == str(started.pid).encode() and found[1] == b"X"
    assert children() == []


def test_no_worker_is_prepared_for_nothing(local):
    prepared = Dispatcher(local(2))
    prepared.prepare(0)
    assert children() == []
    prepared.close()


def test_preparing_says_why_no_worker_starts_and_leaves_none(local):
    with pytest.raises(WorkerError, match="gpu-7 cannot read"):
        Dispatcher(local(2, "refuse")).prepare(5)
    assert children() == []


def test_an_item_that_kills_its_workers_is_lost_and_no_other(local):
    texts = [*TEXTS]
    texts[17] = "kill 17"
    found = results(texts, local(2))
    lost = found.pop(17)
    assert isinstance(lost, LostItem) and "SIGKILL" in lost.reason
    assert found == {key: text for key, text in CAPITALS.items() if key != 17}


def test_an_item_that_kills_while_it_is_read_ahead_is_lost_and_no_other(local):
    texts = [*TEXTS]
    texts[30] = "kill-reader"
    found = results(texts, local(1))
    assert [key for key, result in found.items() if isinstance(result, LostItem)] == [30]


def test_a_death_is_noticed_while_a_child_of_the_worker_holds_its_socket(local):
    lost = results(["kill it"], local(1, "Parent"), item_seconds=20)[0]
    assert isinstance(lost, LostItem) and "SIGKILL" in lost.reason


def test_workers_of_which_none_is_ready_are_waited_for_aloud(local, monkeypatch):
    monkeypatch.setattr(dispatcher, "_START_TOLD", 0.2)
    told: list[str] = []

    def stop() -> None:
        if told:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        results(["x"], local(1, "slow_start"), tell=told.append, tick=stop)
    assert told[0].startswith("Waiting for a worker to be ready since ")


def test_a_pause_before_the_next_start_is_told_with_its_cause(local, tmp_path, monkeypatch):
    """A worker that was ready is killed, and the one in its place refuses to work."""
    monkeypatch.setattr(dispatcher, "_WAIT_FIRST_TOLD", 2)
    told: list[str] = []

    def stop() -> None:
        if any("is started again" in sentence for sentence in told):
            raise KeyboardInterrupt

    pool = local(1, "refuse_later", str(tmp_path / "marker").encode())
    with pytest.raises(KeyboardInterrupt):
        results(["kill it", "x"], pool, tell=told.append, tick=stop)
    assert "gpu-7 cannot read" in told[-1]


def test_a_worker_that_dies_once_loses_nothing(local, tmp_path):
    texts = [*TEXTS]
    texts[9] = f"once {tmp_path / 'marker'}"
    told: list[str] = []
    found = results(texts, local(1), tell=told.append)
    assert set(found) == set(range(60)) and LostItem not in map(type, found.values())
    assert [sentence for sentence in told if "its images are tried again" in sentence.lower()]


def test_the_last_words_of_a_worker_are_the_cause(local):
    found = results(["raise it"], local(1))
    assert isinstance(found[0], LostItem)
    assert found[0].reason.endswith("ValueError: the handler broke")


def test_an_item_that_hangs_is_given_up(local):
    texts = ["x", "hang here", "y", "z"]
    found = results(texts, local(2), item_seconds=1)
    assert isinstance(found.pop(1), LostItem)
    assert found == {0: "X", 2: "Y", 3: "Z"}


def test_an_item_that_gets_on_may_take_longer_than_the_limit(local):
    told: list[str] = []
    assert results(["parts 4"], local(1), item_seconds=1.6, tell=told.append) == {0: "PARTS 4"}
    assert told == []


def test_an_item_that_got_on_and_hangs_is_given_up_with_what_to_do(local):
    found = results(["x", "parts 2 hang", "y"], local(1), item_seconds=1.2)
    lost = found.pop(1)
    assert isinstance(lost, LostItem) and found == {0: "X", 2: "Y"}
    assert "no result and finished no tile within" in lost.reason
    assert "set NTT_ITEM_SECONDS to more" in lost.reason


class TellingPool:
    """One worker that takes 0.1 seconds an item, and says just before each result that it lives."""

    size, one_by_one = 1, True
    name = "worker 0"

    def __init__(self) -> None:
        self.chunks: list[int] = []
        self.events = iter([[pool.Ready(self)]])

    def start(self, number):
        return self

    def send(self, items):
        self.chunks.append(len(items))

    def end(self):
        pass

    def wait(self, seconds):
        for events in self.events:
            return events
        self.events = iter([[pool.Alive(self, "")], [pool.Results(self, [b"X"])]])
        time.sleep(0.1)
        return next(self.events)

    def close(self, finished):
        return []


def test_chunks_are_as_large_as_whole_items_allow_and_not_their_parts():
    telling = TellingPool()
    iterator = dispatch(((n, b"x") for n in count()), telling)
    for _ in range(6):
        next(iterator)
    iterator.close()
    # Half a second's items: 5 at most, where those of a few microseconds would be 16.
    assert telling.chunks[:2] == [4, 4] and 4 <= telling.chunks[2] <= 5


def test_a_stopped_worker_is_given_up_and_its_items_are_done_by_another(local, tmp_path):
    texts = ["x", f"stop {tmp_path / 'marker'}", "y"]
    found = results(texts, local(1), item_seconds=1)
    assert found == {number: text.upper() for number, text in enumerate(texts)}
    assert children() == []


@pytest.mark.parametrize(
    ("stub", "cause"),
    [
        ("refuse", "gpu-7 cannot read /data/a.png"),
        ("crash", "libmissing.so"),
        ("killed", "memory"),
        ("no_such_stub", "no_such_stub"),
    ],
)
def test_workers_that_never_start_end_the_run_with_the_cause(local, stub, cause):
    with pytest.raises(WorkerError, match=f"No worker can start: .*{cause}"):
        results(TEXTS, local(2, stub))
    assert children() == []


def test_a_worker_that_never_becomes_ready_is_given_up(local):
    with pytest.raises(WorkerError, match="it was not ready within 0 seconds"):
        results(TEXTS, local(1, "slow_start"), start_seconds=0.3)


def test_a_start_that_downloads_for_longer_than_its_limit_is_waited_for_aloud(local):
    told: list[str] = []
    assert results(["x"], local(1, "downloading"), start_seconds=3, tell=told.append) == {0: "X"}
    assert told == ["gpu-7 is downloading facebook/sam2-hiera-large."]


def test_one_worker_that_refuses_is_told_and_the_others_do_its_work(local, tmp_path):
    told: list[str] = []
    pool = local(2, "refuse_once", str(tmp_path / "marker").encode())
    assert results(TEXTS, pool, tell=told.append) == CAPITALS
    assert told == ["gpu-7 cannot read /data/a.png; mount it there or give paths=."]


def test_items_that_all_kill_end_the_run(local):
    with pytest.raises(WorkerError, match=r"SIGKILL"):
        results([f"kill {number}" for number in range(30)], local(2))


def test_an_exception_out_of_the_items_ends_the_workers(local):
    def broken():
        yield 0, b"x"
        raise LookupError("no more")

    with pytest.raises(LookupError):
        list(dispatch(broken(), local(1)))
    assert children() == []


@pytest.mark.parametrize("written", ["soon", "0", "-3", "nan", "inf"])
def test_a_limit_that_is_no_number_of_seconds_is_refused(local, monkeypatch, written):
    monkeypatch.setenv("NTT_ITEM_SECONDS", written)
    with pytest.raises(WorkerError, match="NTT_ITEM_SECONDS"):
        dispatch([], local(1))


def test_the_limit_can_be_set_by_a_variable(local, monkeypatch):
    monkeypatch.setenv("NTT_ITEM_SECONDS", "0.5")
    assert isinstance(results(["hang on"], local(1))[0], LostItem)


def test_tick_is_called_while_nothing_comes(local):
    moments: list[float] = []
    results(["hang on"], local(1), item_seconds=1, tick=lambda: moments.append(time.monotonic()))
    assert len(moments) >= 2


def test_a_pool_has_other_processes_than_the_drivers(local):
    found = results(["who"] * 8, local(2))
    pids = {int(text.split()[0]) for text in found.values()}
    assert os.getpid() not in pids
