from __future__ import annotations

import threading
from contextlib import nullcontext

import pytest
import torch

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


def test_each_thread_has_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a pretended GPU."""
    device = torch.device("cuda:0")

    class Stream:
        def __init__(self, device: torch.device) -> None:
            made.append((threading.get_ident(), self))

        def wait_stream(self, other: object) -> None:
            waited.append(other)

    made: list[tuple[int, Stream]] = []
    waited: list[object] = []
    entered: list[object] = []
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda device: "common")
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext(entered.append(stream)))

    def three_times() -> None:
        for _ in range(3):
            with side_stream(device):
                pass

    threads = [threading.Thread(target=three_times) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 2 and made[0][1] is not made[1][1]
    assert waited == ["common"] * 6
    assert [entered.count(stream) for _, stream in made] == [3, 3]
