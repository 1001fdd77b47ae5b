"""The training loop that both networks share: schedule, progress, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .pool import ScenePool

Loss = Callable[[list[tuple[np.ndarray, np.ndarray, list[int]]], np.random.Generator], Tensor]
_CPU = torch.device("cpu")
_WARMUP_STEPS = 200
_COOLDOWN_PART = 0.3


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train.

    Attributes:
        steps: optimiser steps in all; a resumed run may be given more than its first one.
        scenes: scenes a step.
        rate: learning rate of the flat middle of the schedule.
        save_every: steps between checkpoints.
    """

    steps: int
    scenes: int
    rate: float
    save_every: int = 250


def train(
    module: nn.Module,
    loss: Loss,
    pool: ScenePool,
    plan: Plan,
    state_file: Path,
    report: Callable[[], str],
    device: torch.device = _CPU,
) -> None:
    """Train a module to the plan's end, going on from its last checkpoint.

    The rate rises over 200 steps, stays, and falls to zero over the last 30% of the plan.

    Args:
        module: what is trained; its parameters are changed in place.
        loss: the loss of a batch of scenes, drawn with the generator it is given.
        pool: where scenes come from.
        plan: length and pace.
        state_file: the checkpoint, read with ``weights_only=True``.
        report: words on the progress since its last call, printed beside the loss.
        device: where to train.
    """
    module.to(device)
    optimiser = torch.optim.AdamW(module.parameters(), lr=plan.rate, weight_decay=0.02)
    first = 0
    if state_file.exists():
        state = torch.load(state_file, map_location=device, weights_only=True)
        module.load_state_dict(state["module"])
        optimiser.load_state_dict(state["optimiser"])
        first = int(state["step"])
        print(f"going on from step {first}", flush=True)
    module.train()
    started, losses = time.monotonic(), []
    for step in range(first, plan.steps):
        # A seed a step: a resumed run sees what an unbroken one would have seen.
        rng = np.random.default_rng((2, step))
        torch.manual_seed(step)
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * _pace(step, plan.steps)
        value = loss(pool.draw(rng, plan.scenes), rng)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        losses.append(float(value.detach()))
        if step % 50 == 49:
            pace = (time.monotonic() - started) / (step + 1 - first)
            print(
                f"step {step + 1} of {plan.steps}: loss {np.mean(losses[-50:]):.4f}, "
                f"{report()}, {pace:.2f} s a step",
                flush=True,
            )
        if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
            _save(state_file, module, optimiser, step + 1)


def _pace(step: int, steps: int) -> float:
    cooldown = max(1.0, _COOLDOWN_PART * steps)
    return min(1.0, (step + 1) / _WARMUP_STEPS, (steps - step) / cooldown)


def _save(state_file: Path, module: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    partial = state_file.with_suffix(".partial")
    torch.save(
        {"module": module.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, partial
    )
    partial.replace(state_file)


def image_batch(images: list[np.ndarray]) -> Tensor:
    """Images uint8 (h, w, 3) of one size as float32 (n, 3, h, w) in [0, 1]."""
    stacked = np.stack([np.ascontiguousarray(image) for image in images])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255
