"""Work on a GPU beside what another thread does there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# Streams that nobody is on, by device. Memory of a GPU is kept apart for each stream that ever
# used it, so a stream is used again by whichever thread comes next.
_idle: dict[str, list[Any]] = {}
_lock = threading.Lock()


@contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """On a GPU, run what is inside on a stream that no other thread is on; elsewhere just run it.

    On the common stream each result that the host reads would wait for all that other threads
    have queued there. What was queued before is waited for, once.

    Args:
        device: where the tensors are.
    """
    if device.type != "cuda":
        yield
        return
    stream = _take(device)
    try:
        stream.wait_stream(torch.cuda.default_stream(device))
        with torch.cuda.stream(stream):
            yield
    finally:
        with _lock:
            _idle[str(device)].append(stream)


def _take(device: torch.device) -> Any:
    with _lock:
        idle = _idle.setdefault(str(device), [])
        if idle:
            return idle.pop()
    new_stream: Any = torch.cuda.Stream
    return new_stream(device)
