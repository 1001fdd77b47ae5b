"""Work on a GPU beside what another thread does there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """On a GPU, run what is inside on a stream of its own; elsewhere just run it.

    On the common stream each result that the host reads would wait for all that other threads
    have queued there. What was queued before is waited for, once.

    Args:
        device: where the tensors are.
    """
    if device.type != "cuda":
        yield
        return
    new_stream: Any = torch.cuda.Stream
    stream = new_stream(device)
    stream.wait_stream(torch.cuda.default_stream(device))
    with torch.cuda.stream(stream):
        yield
