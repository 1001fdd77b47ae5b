"""What is handed over is written in order, beside the work on the next piece, whatever happens."""

import threading

import pytest

from ntt_plugin.dataset.segmentation import writing_behind
from ntt_plugin.dataset.segmentation.writing_behind import WritingBehind

PATIENCE = 30


def writing(action):
    """Writes pieces by an action, and gives them all."""

    def write(pieces):
        action(pieces)
        return pieces

    return write


@pytest.fixture
def at_once(monkeypatch):
    """Sets how many pieces a bulk has; nothing is written before it is full."""

    def choose(count, seconds=PATIENCE):
        monkeypatch.setattr(writing_behind, "MOST_AT_ONCE", count)
        monkeypatch.setattr(writing_behind, "_SECONDS", seconds)

    return choose


def test_pieces_are_written_in_order_and_told_of_where_they_were_put():
    written, told = [], []

    def write(pieces):
        written.extend((piece, threading.current_thread()) for piece in pieces)

    with WritingBehind(
        writing(write), lambda piece: told.append((piece, threading.current_thread()))
    ) as behind:
        for piece in range(200):
            behind.put(piece)
    here = threading.current_thread()
    assert [piece for piece, _ in written] == list(range(200))
    assert {thread for _, thread in written}.isdisjoint({here})
    assert told == [(piece, here) for piece in range(200)]


def test_many_are_written_at_once_and_the_rest_at_the_end(at_once):
    at_once(4)
    bulks = []
    with WritingBehind(writing(bulks.append), lambda piece: None) as behind:
        for piece in range(10):
            behind.put(piece)
    assert bulks == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_piece_does_not_wait_for_others_for_long(at_once):
    at_once(32, seconds=0.05)
    written = threading.Event()
    with WritingBehind(writing(lambda pieces: written.set()), lambda piece: None) as behind:
        behind.put(1)
        assert written.wait(PATIENCE)


def test_a_bulk_has_no_more_bytes_than_fit(at_once, monkeypatch):
    at_once(32)
    monkeypatch.setattr(writing_behind, "_BULK_BYTES", 250)
    bulks = []
    with WritingBehind(writing(bulks.append), lambda piece: None, lambda piece: 100) as behind:
        for piece in range(5):
            behind.put(piece)
    assert bulks == [[0, 1], [2, 3], [4]]


def test_the_next_piece_is_made_while_one_is_written(at_once):
    at_once(1)
    begun, may_end, told = threading.Event(), threading.Event(), []

    def write(pieces):
        begun.set()
        assert may_end.wait(PATIENCE)

    with WritingBehind(writing(write), told.append) as behind:
        behind.put(1)
        assert begun.wait(PATIENCE)
        behind.put(2)
        assert told == []
        may_end.set()
    assert told == [1, 2]


@pytest.mark.parametrize("count", [1, 3])
def test_no_more_than_two_bulks_wait(at_once, count):
    at_once(count)
    may_end, one_more_is_in, told = threading.Event(), threading.Event(), []

    def release():
        assert not one_more_is_in.wait(0.2)
        may_end.set()

    def write(pieces):
        assert may_end.wait(PATIENCE)

    other = threading.Thread(target=release)
    with WritingBehind(writing(write), told.append) as behind:
        for piece in range(2 * count):
            behind.put(piece)
        other.start()
        behind.put(99)
        one_more_is_in.set()
        assert told[:count] == list(range(count))
    other.join()


@pytest.mark.parametrize(("sizes", "waits"), [((100, 100), False), ((100, 200), True)])
def test_large_pieces_wait_for_what_is_before_them(monkeypatch, sizes, waits):
    monkeypatch.setattr(writing_behind, "_WAITING_BYTES", 250)
    may_end, second_is_in, told = threading.Event(), threading.Event(), []

    def release():
        assert second_is_in.wait(0.2) is not waits
        may_end.set()

    def write(pieces):
        assert may_end.wait(PATIENCE)

    other = threading.Thread(target=release)
    with WritingBehind(writing(write), told.append, lambda piece: sizes[piece - 1]) as behind:
        behind.put(1)
        other.start()
        behind.put(2)
        second_is_in.set()
        assert told == ([1] if waits else [])
    other.join()
    assert told == [1, 2]


def test_a_piece_larger_than_all_there_may_be_is_written(monkeypatch):
    monkeypatch.setattr(writing_behind, "_WAITING_BYTES", 250)
    monkeypatch.setattr(writing_behind, "_BULK_BYTES", 250)
    told = []
    with WritingBehind(writing(lambda pieces: None), told.append, lambda piece: 1000) as behind:
        for piece in range(3):
            behind.put(piece)
    assert told == [0, 1, 2]


def test_after_a_write_that_fails_nothing_more_is_written(at_once):
    at_once(1)
    tried, told = [], []

    def write(pieces):
        tried.extend(pieces)
        if pieces == [2]:
            raise OSError("the disk is full")

    with (
        pytest.raises(OSError, match="the disk is full"),
        WritingBehind(writing(write), told.append) as behind,
    ):
        for piece in range(10):
            behind.put(piece)
    assert (tried, told) == ([0, 1, 2], [0, 1])


def test_the_last_write_that_fails_is_raised_at_the_end():
    def write(pieces):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"), WritingBehind(writing(write), print) as behind:
        behind.put(1)


@pytest.mark.parametrize("last", [2, 99])
def test_what_was_put_is_written_when_the_work_is_stopped(at_once, last):
    """Also where one of them cannot be: the error that stopped the work is the one that counts."""
    at_once(1)
    told, at_work = [], threading.Event()

    def write(pieces):
        assert at_work.wait(PATIENCE)
        if pieces == [99]:
            raise OSError("the disk is full")

    with pytest.raises(KeyboardInterrupt), WritingBehind(writing(write), told.append) as behind:
        behind.put(1)
        behind.put(last)
        at_work.set()
        raise KeyboardInterrupt
    assert told == ([1, 2] if last == 2 else [1])


def test_its_thread_ends_with_it():
    with WritingBehind(writing(lambda pieces: None), lambda piece: None) as behind:
        behind.put(1)
    assert not [thread for thread in threading.enumerate() if thread.name == "ntt writer"]


def test_what_was_written_before_a_failure_is_told(at_once):
    at_once(4)
    told = []

    def write(pieces):
        yield from pieces[:2]
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"), WritingBehind(write, told.append) as behind:
        for piece in range(4):
            behind.put(piece)
    assert told == [0, 1]
