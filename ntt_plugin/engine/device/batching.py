"""Prompts in batches that fit: what is left to do when a device has no memory left."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ...errors import OutOfMemoryError

Result = TypeVar("Result")

# What the allocators of the CPU, of MPS and of CUDA's libraries say in a plain RuntimeError.
_SIGNS = (
    "defaultcpuallocator",
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "alloc_failed",
)

# Bytes in hand on a processor, measured to be best for the full-size networks: 16 points in the
# transformer, 1 while masks are drawn.
_ATTENDED = 200 * 2**20
_DRAWN = 64 * 2**20


SMALLER_IMAGE = "Close other programs, or make a smaller copy of the image or cut it into tiles."
"""A remedy where an image's own size is what takes the memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of torch or numpy says that memory is used up, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


@contextmanager
def reraise_oom(work: str, remedy: str) -> Iterator[None]:
    """Turn memory that a device has not got into an error of ours; a decorator, too.

    Args:
        work: what is being done, as in "There is not enough memory to ...".
        remedy: what the person can do, a sentence.

    Raises:
        OutOfMemoryError: the device's memory, or the machine's, is used up.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(f"There is not enough memory to {work}. {remedy}") from error


@dataclass(frozen=True)
class BatchSizes:
    """How many prompts a device does at once, by the memory that each takes.

    Attributes:
        attended: that go through the transformer together.
        drawn: whose masks are drawn together.
    """

    attended: int
    drawn: int

    @classmethod
    def for_device(cls, device: torch.device, attending: int, drawing: int) -> BatchSizes:
        """What suits a device: small portions stay in a processor's caches, large ones fill a GPU.

        Args:
            device: where the work is done.
            attending: bytes that a prompt takes in the transformer.
            drawing: bytes that a prompt takes while its masks are drawn.
        """
        if device.type != "cuda":
            attended, drawn = min(_ATTENDED // attending, 64), min(_DRAWN // drawing, 64)
            return cls(max(attended, 1), max(drawn, 1))
        free, _ = torch.cuda.mem_get_info(device)
        # A quarter each, and a quarter for the encoders and for other programs.
        quarter = free // 4
        attended = max(1, min(quarter // attending, 256))
        drawn = max(1, min(quarter // drawing, 128))
        return cls(attended, drawn)


class PromptBatches:
    """Runs prompts a batch at a time, in smaller batches once memory has run out.

    Attributes:
        limit: the largest batch that is known to fit; None before memory ever ran out.
    """

    def __init__(self, device: torch.device) -> None:
        """Start without a limit; ``device`` is where the work is done."""
        self.limit: int | None = None
        self._device = device

    def size(self, asked: int) -> int:
        """How many prompts are run at once where ``asked`` are asked for."""
        return asked if self.limit is None else min(asked, self.limit)

    def run(self, work: Callable[[Tensor], Result], prompts: Tensor, batch: int) -> list[Result]:
        """Apply ``work`` to the prompts, a batch of rows at a time, in their order.

        When memory runs out, the batch is halved, for good, and only the prompts that failed are
        run again.

        Args:
            work: what is done to a batch of prompts.
            prompts: one a row.
            batch: rows at once, at least 1.

        Returns:
            What ``work`` gave for each batch.

        Raises:
            OutOfMemoryError: memory is not enough for one prompt.
        """
        results: list[Result] = []
        start = 0
        while start < len(prompts):
            chunk = prompts[start : start + self.size(batch)]
            # A single prompt is the last resort: there its failure is the person's to know.
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
        """What ``work`` gives, or None if memory is not enough."""
        # The exception ends here: its traceback would keep the tensors that filled the memory.
        try:
            return work(chunk)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _one(self, work: Callable[[Tensor], Result], chunk: Tensor) -> Result:
        with reraise_oom(
            f"decode a single prompt on the device {str(self._device)!r}",
            "Close other programs that use it, choose a preset with a smaller segmenter (fast),"
            " or run on another device.",
        ):
            return work(chunk)


def _free_caches(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
