"""Batches of prompts that fit in memory, and recovery from running out of it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from ...errors import OutOfMemoryError

Result = TypeVar("Result")

# Out-of-memory messages of the allocators of CPU, MPS and CUDA libraries in a RuntimeError.
_SIGNS = (
    "defaultcpuallocator",
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "alloc_failed",
)

# Bytes per batch on a CPU, measured as fastest for the full-size networks: 16 points in the
# transformer, 1 in the upscaling.
_ATTENDED = 200 * 2**20
_DRAWN = 64 * 2**20


SMALLER_IMAGE = "Close other programs, or make a smaller copy of the image or cut it into tiles."
"""Remedy for operations whose memory grows with the image."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of torch or numpy means that memory ran out, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


@contextmanager
def reraise_oom(work: str, remedy: str) -> Iterator[None]:
    """Re-raise out-of-memory errors as ``OutOfMemoryError``; context manager or decorator.

    ``work`` is the operation, to complete "There is not enough memory to ..."; ``remedy`` is what
    the user can do, a sentence.

    Raises:
        OutOfMemoryError: memory of the device or of the machine ran out.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(f"There is not enough memory to {work}. {remedy}") from error


def reraise_device_oom(
    work: str, device: torch.device, network: str = "segmenter"
) -> AbstractContextManager[None]:
    """``reraise_oom`` for a network's work on a device.

    ``network``, "segmenter" or "encoder", is the one of which a smaller one needs less memory.
    """
    return reraise_oom(
        f"{work} on the device {str(device)!r}",
        f"Close other programs that use it, choose a preset with a smaller {network} (fast),"
        " or run on another device.",
    )


def batch_sizes(device: torch.device, attending: int, drawing: int) -> tuple[int, int]:
    """Prompts per batch on a device, in the transformer and in the upscaling of masks.

    Small batches fit in a CPU's caches, large ones fill a GPU. ``attending`` and ``drawing`` are
    bytes per prompt in the transformer and in the upscaling.
    """
    if device.type != "cuda":
        attended, drawn = min(_ATTENDED // attending, 64), min(_DRAWN // drawing, 64)
    else:
        # A quarter of the free memory each; the rest is for the encoders and other programs.
        quarter = torch.cuda.mem_get_info(device)[0] // 4
        attended, drawn = min(quarter // attending, 256), min(quarter // drawing, 128)
    return max(attended, 1), max(drawn, 1)


class PromptBatches:
    """Runs prompts in batches, and halves the batch when memory runs out.

    Attributes:
        limit: largest batch allowed since memory ran out; None if it never did.
    """

    def __init__(self, device: torch.device) -> None:
        """Start without a limit on ``device``."""
        self.limit: int | None = None
        self._device = device

    def size(self, asked: int) -> int:
        """Batch size to use: ``asked``, or the limit if that is smaller."""
        return asked if self.limit is None else min(asked, self.limit)

    def run(self, work: Callable[[Tensor], Result], prompts: Tensor, batch: int) -> list[Result]:
        """Apply ``work`` to the prompts batch by batch, in order.

        When memory runs out, the batch is halved permanently and only the failed prompts are run
        again.

        Prompts are rows (n, ...), at most ``batch`` in a batch. Returns the batches' results.

        Raises:
            OutOfMemoryError: not enough memory for a single prompt.
        """
        results: list[Result] = []
        start = 0
        while start < len(prompts):
            chunk = prompts[start : start + self.size(batch)]
            # A single prompt cannot be split further: let its error reach the user.
            if len(chunk) == 1:
                results.append(self._one(work, chunk))
            elif (result := self._try(work, chunk)) is not None:
                results.append(result)
            else:
                self.limit = len(chunk) // 2
                _free_caches(self._device)
                continue
            start += len(chunk)
        return results

    def _try(self, work: Callable[[Tensor], Result], chunk: Tensor) -> Result | None:
        """Result of ``work``, or None if memory ran out."""
        # Do not keep the exception: its traceback references the tensors that fill the memory.
        try:
            return work(chunk)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _one(self, work: Callable[[Tensor], Result], chunk: Tensor) -> Result:
        with reraise_device_oom("decode a single prompt", self._device):
            return work(chunk)


def _free_caches(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
