"""Candidates and banks that are made up, for measuring what comes after the networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ntt_plugin.engine import Fingerprint, MemoryBank


def made_up_proposals(
    count: int, side: int, device: torch.device, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Mask logits (count, side, side) with ragged rims, and IoUs (count,).

    Sizes are spread as those of a grid of points over a photo: many small ones, some that cover
    much of the image.
    """
    generator = torch.Generator().manual_seed(seed)
    line = torch.linspace(0, 1, side)
    centres = torch.rand(2, count, 1, 1, generator=generator)
    radii = 0.02 + 0.45 * torch.rand(count, 1, 1, generator=generator) ** 2
    distance = torch.hypot(line[None, None, :] - centres[0], line[None, :, None] - centres[1])
    ragged = torch.randn(count, 1, side // 8, side // 8, generator=generator)
    ragged = F.interpolate(ragged, (side, side), mode="bilinear")[:, 0]
    logits = 20 * (1 - distance / radii) + 2 * ragged
    ious = 0.4 + 0.6 * torch.rand(count, generator=generator)
    return logits.to(device), ious.to(device)


def made_up_bank(
    fingerprint: Fingerprint, features: Tensor, classes: int = 20, shots: int = 10, seed: int = 0
) -> MemoryBank:
    """A bank whose references are proposals' features, blurred, so that labels are spread."""
    generator = torch.Generator().manual_seed(seed)
    bank = MemoryBank(fingerprint)
    pool = features.cpu().float()
    for index in range(classes):
        chosen = pool[torch.randint(len(pool), (shots,), generator=generator)]
        noise = 0.5 * torch.randn(chosen.shape, generator=generator) / chosen.shape[1] ** 0.5
        for row in chosen + noise:
            bank.add(f"class {index}", row)
    return bank
