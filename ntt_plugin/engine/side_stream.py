"""Work on a GPU beside what another thread does there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# A stream for each thread and device: made once, for one image follows the other.
_of_this_thread = threading.local()


@contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """On a GPU, run what is inside on a stream of this thread's own; elsewhere just run it.

    On the common stream each result that the host reads would wait for all that other threads
    have queued there. What was queued before is waited for, once.

    Args:
        device: where the tensors are.
    """
    if device.type != "cuda":
        yield
        return
    stream = _stream(device)
    stream.wait_stream(torch.cuda.default_stream(device))
    with torch.cuda.stream(stream):
        yield


def _stream(device: torch.device) -> Any:
    streams = _of_this_thread.__dict__
    if str(device) not in streams:
        new_stream: Any = torch.cuda.Stream
        streams[str(device)] = new_stream(device)
    return streams[str(device)]
