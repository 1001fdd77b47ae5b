"""What is handed over is written in order, beside the work on the next piece, whatever happens."""

import threading

import pytest

from ntt_plugin.dataset.segmentation import pipeline
from ntt_plugin.dataset.segmentation.pipeline import WritingBehind

PATIENCE = 30


def test_pieces_are_written_in_order_and_told_of_where_they_were_put():
    written, told = [], []

    def write(piece):
        written.append((piece, threading.current_thread()))
        return 10 * piece

    with WritingBehind(
        write, lambda done: told.append((done, threading.current_thread()))
    ) as behind:
        for piece in range(20):
            behind.put(piece)
    here = threading.current_thread()
    assert [piece for piece, _ in written] == list(range(20))
    assert {thread for _, thread in written}.isdisjoint({here})
    assert told == [(10 * piece, here) for piece in range(20)]


def test_the_next_piece_is_made_while_one_is_written():
    begun, may_end, told = threading.Event(), threading.Event(), []

    def write(piece):
        begun.set()
        assert may_end.wait(PATIENCE)
        return piece

    with WritingBehind(write, told.append) as behind:
        behind.put(1)
        assert begun.wait(PATIENCE)
        behind.put(2)
        assert told == []
        may_end.set()
    assert told == [1, 2]


def test_no_more_than_two_pieces_wait():
    may_end, third_is_in, told = threading.Event(), threading.Event(), []

    def release():
        assert not third_is_in.wait(0.2)
        may_end.set()

    def write(piece):
        assert may_end.wait(PATIENCE)
        return piece

    other = threading.Thread(target=release)
    with WritingBehind(write, told.append) as behind:
        behind.put(1)
        behind.put(2)
        other.start()
        behind.put(3)
        third_is_in.set()
        assert told[:1] == [1]
    other.join()


@pytest.mark.parametrize(("sizes", "waits"), [((100, 100), False), ((100, 200), True)])
def test_large_pieces_wait_for_what_is_before_them(monkeypatch, sizes, waits):
    monkeypatch.setattr(pipeline, "_WAITING_BYTES", 250)
    may_end, second_is_in, told = threading.Event(), threading.Event(), []

    def release():
        assert second_is_in.wait(0.2) is not waits
        may_end.set()

    def write(piece):
        assert may_end.wait(PATIENCE)
        return piece

    other = threading.Thread(target=release)
    with WritingBehind(write, told.append, lambda piece: sizes[piece - 1]) as behind:
        behind.put(1)
        other.start()
        behind.put(2)
        second_is_in.set()
        assert told == ([1] if waits else [])
    other.join()
    assert told == [1, 2]


def test_a_piece_larger_than_all_there_may_be_is_written(monkeypatch):
    monkeypatch.setattr(pipeline, "_WAITING_BYTES", 250)
    told = []
    with WritingBehind(lambda piece: piece, told.append, lambda piece: 1000) as behind:
        for piece in range(3):
            behind.put(piece)
    assert told == [0, 1, 2]


def test_after_a_write_that_fails_nothing_more_is_written():
    tried, told = [], []

    def write(piece):
        tried.append(piece)
        if piece == 2:
            raise OSError("the disk is full")
        return piece

    with (
        pytest.raises(OSError, match="the disk is full"),
        WritingBehind(write, told.append) as behind,
    ):
        for piece in range(10):
            behind.put(piece)
    assert (tried, told) == ([0, 1, 2], [0, 1])


def test_the_last_write_that_fails_is_raised_at_the_end():
    def write(piece):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"), WritingBehind(write, print) as behind:
        behind.put(1)


@pytest.mark.parametrize("last", [2, 99])
def test_what_was_put_is_written_when_the_work_is_stopped(last):
    """Also where one of them cannot be: the error that stopped the work is the one that counts."""
    told, at_work = [], threading.Event()

    def write(piece):
        assert at_work.wait(PATIENCE)
        if piece == 99:
            raise OSError("the disk is full")
        return piece

    with pytest.raises(KeyboardInterrupt), WritingBehind(write, told.append) as behind:
        behind.put(1)
        behind.put(last)
        at_work.set()
        raise KeyboardInterrupt
    assert told == ([1, 2] if last == 2 else [1])
