import multiprocessing
import threading

import numpy as np
import pytest
import torch

from ntt_plugin.engine.device import threads
from ntt_plugin.engine.device.threads import LoadMeter, threads_by_load, threads_for
from ntt_plugin.engine.segmenter import Segmenter
from tests.processes import run_elsewhere


class FixedLoad(LoadMeter):
    """A meter that says what it is told to."""

    def __init__(self, free):
        super().__init__()
        self.free, self.asked = free, 0

    def free_cores(self):
        self.asked += 1
        return self.free

    def look(self):
        pass


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def counters(monkeypatch):
    """Scripted readings of (moment, idle, own) on two cores; sleeping only takes the next one.

    ``clock`` has the moments at which the meter asks how old its last reading is.
    """

    def script(*readings, clock=()):
        moments = iter(clock)
        monkeypatch.setattr(threads.time, "monotonic", lambda: next(moments))
        left = iter([threads._Counters(*reading, cores=2) for reading in readings])
        monkeypatch.setattr(threads, "_read", lambda: next(left))
        monkeypatch.setattr(threads.time, "sleep", lambda seconds: None)
        return left

    return script


@pytest.mark.parametrize(
    "free, usual, expected",
    [(2.0, 2, 2), (1.8, 2, 2), (1.5, 2, 1), (1.0, 2, 1), (0.0, 2, 1), (64.0, 8, 8), (3.2, 8, 3)],
)
def test_threads_for_a_number_of_free_cores(free, usual, expected):
    assert threads_for(free, usual) == expected


def test_a_quiet_machine_has_all_cores_free(counters):
    counters((0, 0, 0), (0.1, 0.1, 0.1))
    assert LoadMeter().free_cores() == pytest.approx(2)


def test_cores_of_other_programs_are_not_free(counters):
    counters((0, 0, 0), (0.1, 0.0, 0.1))
    assert LoadMeter().free_cores() == pytest.approx(1)


def test_the_load_is_measured_again_after_half_a_second(counters):
    left = counters((0, 0, 0), (0.1, 0.1, 0.1), (0.7, 0.1, 0.7), clock=(0.3, 0.7))
    meter = LoadMeter()
    found = [meter.free_cores() for _ in range(3)]
    assert found == pytest.approx([2, 2, 1])
    assert next(left, None) is None


def test_a_measurement_of_long_ago_is_not_believed(counters):
    counters((0, 0, 0), (0.1, 0.1, 0.1), (60, 0, 0.2), (60.1, 0.1, 0.3), clock=(60,))
    meter = LoadMeter()
    assert [meter.free_cores() for _ in range(2)] == pytest.approx([2, 2])


def test_work_of_this_process_counts_as_free():
    before = threads._read()
    until = before.own + 0.2
    while (now := threads._read()).own < until:
        pass
    assert now.idle >= before.idle and now.moment > before.moment


def test_fewer_threads_inside_and_the_usual_number_after(four_threads):
    with threads_by_load(FixedLoad(2.0)):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 4


def test_the_usual_number_is_back_after_an_error(four_threads):
    with pytest.raises(ValueError), threads_by_load(FixedLoad(1.0)):
        raise ValueError
    assert torch.get_num_threads() == 4


def test_a_number_that_a_person_set_is_never_passed():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    meter = FixedLoad(8.0)
    with threads_by_load(meter):
        assert torch.get_num_threads() == 1
    assert meter.asked == 0
    torch.set_num_threads(before)


def test_a_scope_in_a_scope_changes_nothing(four_threads):
    inner = FixedLoad(4.0)
    with threads_by_load(FixedLoad(2.0)):
        with threads_by_load(inner):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 2
    assert inner.asked == 0


def test_two_computing_threads_share_the_cores_and_leave_the_usual_number(four_threads):
    inside, finish, seen = threading.Event(), threading.Event(), []

    def other():
        with threads_by_load(FixedLoad(4.0)):
            seen.append(torch.get_num_threads())
            inside.set()
            finish.wait(10)
        seen.append(torch.get_num_threads())

    with threads_by_load(FixedLoad(4.0)):
        assert torch.get_num_threads() == 4
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(10)
    finish.set()
    thread.join()
    assert seen == [2, 4]
    assert torch.get_num_threads() == 4


def test_an_image_is_segmented_with_the_threads_that_the_load_leaves(four_threads, monkeypatch):
    segmenter = Segmenter.from_preset("tiny", device="cpu", grid=6)
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    seen = []
    propose = segmenter._proposer.propose
    monkeypatch.setattr(
        segmenter._proposer,
        "propose",
        lambda *arguments: seen.append(torch.get_num_threads()) or propose(*arguments),
    )
    found = []
    for free in (1.0, 4.0):
        monkeypatch.setattr(threads.METER, "free_cores", lambda free=free: free)
        found.append(segmenter.propose(image).with_masks_made())
    assert seen == [1, 4]

    one, four = found
    assert len(one) == len(four) > 0
    torch.testing.assert_close(one.ious, four.ious, rtol=0, atol=1e-6)
    torch.testing.assert_close(one.features, four.features, rtol=0, atol=1e-6)
    for ours, theirs in zip(one.masks, four.masks, strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or np.array_equal(ours.unpack(), theirs.unpack())


# A child that was forked after networks ran: an error of ours in place of an endless wait.
FORK = """
import os, select, signal, sys
import numpy as np
import torch
from ntt_plugin.engine import NttError, Segmenter

torch.set_num_threads(2)
segmenter = Segmenter.from_preset("tiny", device="cpu", grid=8)
image = np.zeros((40, 40, 3), np.uint8)
proposals = segmenter.propose(image)
read, write = os.pipe()
child = os.fork()
if child == 0:
    threads = int(sys.argv[1])
    if threads != 2:
        torch.set_num_threads(threads)
    try:
        if sys.argv[2] == "propose":
            segmenter.propose(image)
        else:
            proposals.with_masks_made()
        said = "done"
    except NttError as error:
        said = str(error)
    os.write(write, said.encode())
    os._exit(0)
if select.select([read], [], [], 60)[0]:
    print(os.read(read, 10_000).decode())
else:
    print("The child hangs.")
    os.kill(child, signal.SIGKILL)
os.wait()
"""


def said_by_a_child(threads: int, work: str = "propose") -> str:
    return run_elsewhere(FORK, str(threads), work).splitlines()[-1]


needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork"
)


@needs_fork
def test_a_forked_child_that_makes_masks_is_told_to_be_spawned() -> None:
    assert "'spawn'" in said_by_a_child(threads=2, work="with_masks_made")


@needs_fork
def test_a_forked_child_with_one_thread_computes() -> None:
    assert said_by_a_child(threads=1) == "done"
