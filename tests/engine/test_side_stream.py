from __future__ import annotations

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
