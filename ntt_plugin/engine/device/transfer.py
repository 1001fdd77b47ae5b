"""Tensors made on the host, sent to a device."""

from __future__ import annotations

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device, for which a GPU's other work is not waited for.

    CUDA takes a copy of ordinary memory at once, and keeps pinned memory until it was read; so
    the tensor may be let go of. Elsewhere that is not promised, and the copy is waited for.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")
