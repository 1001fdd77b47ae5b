"""Copies from the host to a device."""

from __future__ import annotations

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to the device, asynchronously on CUDA.

    The tensor may be freed right away: CUDA stages pageable memory, and PyTorch keeps pinned
    memory until the copy has ended. Other devices do not guarantee this and copy synchronously.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")
