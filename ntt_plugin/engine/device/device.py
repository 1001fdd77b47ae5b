"""The device to run on: which one, in which precision, copies to it, compilation for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...errors import RecipeError
from ..recipe import PRECISIONS
from ..typing import Array
from .batching import is_out_of_memory

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def resolve_device(device: str | torch.device | None) -> torch.device:
    """The device to run on: the one asked for, else CUDA, else MPS, else the CPU.

    Raises:
        RecipeError: the device is not one of this machine's; says which are.
    """
    available = _available_devices()
    if device is None:
        return torch.device(available[0])
    try:
        asked = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise RecipeError(
            f"{device!r} is no device; this machine has {', '.join(available)}."
        ) from error
    missing = asked.type not in available or (
        asked.type == "cuda" and (asked.index or 0) >= torch.cuda.device_count()
    )
    if missing:
        raise RecipeError(
            f"The device {str(asked)!r} is not available; this machine has {', '.join(available)}."
        )
    return asked


def resolve_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype that a precision means on a device.

    ``bfloat16`` stands for "bfloat16 where the device has it": it is float32 on a CPU, where
    it would be slower and less exact, and float16 on MPS and on a GPU without it.

    Raises:
        RecipeError: unknown precision.
    """
    if precision not in PRECISIONS:
        raise RecipeError(
            f"There is no precision {precision!r}; it must be one of {', '.join(PRECISIONS)}."
        )
    if precision != "bfloat16":
        dtype: torch.dtype = getattr(torch, precision)
        return dtype
    if device.type == "cpu":
        return torch.float32
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float16


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to the device, asynchronously on CUDA.

    The tensor may be freed right away: CUDA stages pageable memory, and PyTorch keeps pinned
    memory until the copy has ended. Other devices do not guarantee this and copy synchronously.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


def to_array(tensor: Tensor) -> Array:
    """The values as an array, on the CPU; the tensor's own memory where they are there.

    Without a call of torch then: each lets other threads run Python, and to go on after them takes
    longer than all the work on a small tensor.
    """
    if tensor.device.type != "cpu" or tensor.requires_grad:
        tensor = tensor.detach().cpu()
    return np.asarray(tensor.numpy())


def float_array(tensor: Tensor) -> Array:
    """As ``to_array``, contiguous and float32."""
    if tensor.dtype != torch.float32 or not tensor.is_contiguous():
        tensor = tensor.detach().cpu().float().contiguous()
    return to_array(tensor)


class Compiled(Generic[Arguments, Result]):
    """A function compiled on its first call.

    If compilation fails, the plain function is used from then on and one warning gives the reason.
    """

    def __init__(self, function: Callable[Arguments, Result]) -> None:
        self._plain = function
        self._fast: Callable[Arguments, Result] | None = torch.compile(function)

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Call the function."""
        if self._fast is not None:
            try:
                return self._fast(*args, **kwargs)
            # Compilers raise errors of many types; the function's own is raised again below.
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                reason = next(iter(str(error).splitlines()), type(error).__name__)
            self._fast = None
            warnings.warn(
                f"torch.compile does not work here ({reason}); going on without it.", stacklevel=2
            )
        return self._plain(*args, **kwargs)


def _available_devices() -> list[str]:
    found = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    return [name for name, available in found.items() if available]
