"""Command line: ``python -m ntt_plugin.demo.train {segmenter,encoder,both}``."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ...engine.device.device import resolve_device
from ...engine.networks.bundled import FOLDER
from .encoder import EncoderTask
from .loop import Plan, ScenePool, train
from .segmenter import SegmenterTask

_PLANS = {
    "segmenter": Plan(steps=6_000, scenes=4, rate=6e-4),
    "encoder": Plan(steps=5_200, scenes=8, rate=1e-3),
}


def main() -> None:
    """Train one or both networks and write them to the package in the hub's format."""
    parser = argparse.ArgumentParser("python -m ntt_plugin.demo.train", description=main.__doc__)
    add = parser.add_argument
    add("network", choices=["segmenter", "encoder", "both"], nargs="?", default="both")
    add("--steps", type=int, help="optimiser steps in all (default: the plan's)")
    add("--scenes", type=int, default=5000, help="scenes in the training pool")
    add("--work", type=Path, default=Path(".cache/tiny"), help="pool and checkpoints")
    add("--output", type=Path, default=FOLDER, help="where the networks go")
    add("--threads", type=int, help="CPU threads (default: all)")
    add("--device", help="cpu, cuda or mps (default: the best there is)")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    pool = ScenePool(options.work, options.scenes)
    for name in ["segmenter", "encoder"] if options.network == "both" else [options.network]:
        plan = _PLANS[name]
        if options.steps:
            plan = Plan(options.steps, plan.scenes, plan.rate, plan.save_every)
        torch.manual_seed(0)
        task = SegmenterTask() if name == "segmenter" else EncoderTask()
        state = options.work / f"{name}.pt"
        train(task, task.loss, pool, plan, state, task.report, resolve_device(options.device))
        task.network.cpu().half().save_pretrained(options.output / name)
        print(f"wrote {options.output / name}")


if __name__ == "__main__":
    main()
