"""What the training of both networks shares: scenes, schedule, progress, checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..classes import BASE_CLASSES
from ..scenes import SCENE_SIZE
from ..streams import training_scene

Scenes = list[tuple[np.ndarray, np.ndarray, list[int]]]
"""Of each scene its image, the owner of each pixel and its classes, as ``ScenePool`` gives them."""

Loss = Callable[[Scenes, np.random.Generator], Tensor]
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


class ScenePool:
    """Rendered scenes of base classes, kept on disk and read through memory maps.

    Attributes:
        images: uint8 (n, 256, 256, 3).
        owners: uint8 (n, 256, 256): 0 is background, ``i + 1`` the instance ``i``.
        classes: for each scene, the index into ``BASE_CLASSES`` of each instance.
    """

    def __init__(self, folder: Path, count: int) -> None:
        """Open the pool in ``folder``; render it first if it is not there whole."""
        marker = folder / f"pool-{count}.json"
        if not marker.exists():
            _render(folder, count, marker)
        self.images: NDArray[np.uint8] = np.load(folder / f"images-{count}.npy", mmap_mode="r")
        self.owners: NDArray[np.uint8] = np.load(folder / f"owners-{count}.npy", mmap_mode="r")
        self.classes: list[list[int]] = json.loads(marker.read_text())

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self.images)

    def draw(self, rng: np.random.Generator, count: int) -> Scenes:
        """Draw random scenes, each turned by quarters and mirrored at random."""
        drawn = []
        for index in rng.integers(len(self), size=count):
            image, owners = self.images[index], self.owners[index]
            quarter = int(rng.integers(4))
            image, owners = np.rot90(image, quarter), np.rot90(owners, quarter)
            if rng.integers(2):
                image, owners = image[:, ::-1], owners[:, ::-1]
            drawn.append((image, owners, self.classes[index]))
        return drawn


def _render(folder: Path, count: int, marker: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shape = (count, SCENE_SIZE, SCENE_SIZE)
    images = np.lib.format.open_memmap(folder / f"images-{count}.npy", "w+", np.uint8, (*shape, 3))
    owners = np.lib.format.open_memmap(folder / f"owners-{count}.npy", "w+", np.uint8, shape)
    number = {entry: index for index, entry in enumerate(BASE_CLASSES)}
    classes = []
    for index in range(count):
        scene = training_scene(index)
        images[index], owners[index] = scene.image, scene.owners
        classes.append([number[entry] for entry in scene.classes])
        if index % 500 == 499:
            print(f"rendered {index + 1} of {count} scenes", flush=True)
    images.flush()
    owners.flush()
    marker.write_text(json.dumps(classes))
