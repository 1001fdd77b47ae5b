from __future__ import annotations

import threading
from contextlib import nullcontext

import pytest
import torch

from ntt_plugin.engine import side_stream as side_streams
from ntt_plugin.engine.side_stream import side_stream


def test_on_a_cpu_it_runs_what_is_inside() -> None:
    with side_stream(torch.device("cpu")):
        assert float(torch.ones(3).sum()) == 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_it_sees_what_was_queued_before() -> None:
    device = torch.device("cuda")
    matrix = torch.eye(2000, device=device)
    for _ in range(50):
        matrix = matrix @ matrix
    common = torch.cuda.current_stream()
    with side_stream(device):
        assert torch.cuda.current_stream() != common
        assert float(matrix.sum()) == 2000
    assert torch.cuda.current_stream() == common


class Stream:
    """Of a pretended GPU.

    Attributes:
        waited: for which streams it waited.
        entered: how often work was put on it.
    """

    def __init__(self, device: torch.device) -> None:
        self.waited: list[object] = []
        self.entered = 0

    def wait_stream(self, other: object) -> None:
        self.waited.append(other)

    def enter(self) -> nullcontext[None]:
        self.entered += 1
        return nullcontext()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Stream]:
    """The streams that are made of a pretended GPU."""
    made: list[Stream] = []

    def new_stream(device: torch.device) -> Stream:
        made.append(Stream(device))
        return made[-1]

    monkeypatch.setattr(torch.cuda, "Stream", new_stream)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda device: "common")
    monkeypatch.setattr(torch.cuda, "stream", Stream.enter)
    monkeypatch.setattr(side_streams, "_idle", {})
    return made


def test_threads_at_the_same_time_have_streams_of_their_own_and_leave_them_to_the_next(
    made: list[Stream],
) -> None:
    both_inside = threading.Barrier(2)

    def run() -> None:
        with side_stream(torch.device("cuda:0")):
            both_inside.wait(timeout=30)

    for _ in range(3):
        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [stream.waited for stream in made] == [["common"] * 3] * 2
    assert [stream.entered for stream in made] == [3, 3]


def test_a_stream_is_given_back_after_an_error(made: list[Stream]) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="inside"), side_stream(torch.device("cuda:0")):
            raise ValueError("inside")
    assert len(made) == 1
