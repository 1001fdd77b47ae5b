"""How the engine's cost grows: with points, candidates, classes, shots and the image's size.

    python benchmarks/scaling.py --device cpu

One thing grows at a time, the others stay at the paper's: 32 x 32 points, 400 candidates that come
to be merged, 20 classes of 30 shots, an image of 480 x 640. Points are decoded by the published
mask decoder with random weights; the rest is matching, on made-up candidates. On a CPU the
processor time of one thread is taken, which other programs change little; elsewhere the time of
day. Writes ``results/scaling_<device>.json`` and a plot. Needs neither FiftyOne nor a network
connection.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

# Before numpy is imported: its second thread goes on looking for work after a product, which would
# count as processor time.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.candidates import made_up_bank, made_up_proposals
from benchmarks.networks import random_sam2
from ntt_plugin.engine import Fingerprint, Proposals, Recipe, match
from ntt_plugin.engine.device.device import resolve_device
from ntt_plugin.engine.networks.mask_proposer import MaskProposer
from ntt_plugin.engine.proposals.mask_upsampling import UpsampledMasks
from ntt_plugin.engine.proposals.proposals import mask_boxes

RESULTS = Path(__file__).parent / "results"
CHANNELS = 1024
SIDE = 256
POINTS = (8, 16, 24, 32, 48)
CANDIDATES = (50, 100, 200, 400, 800)
CLASSES = (1, 5, 20, 80, 300, 1203)
SHOTS = (1, 3, 10, 30, 100)
SIZES = ((480, 640), (960, 1280), (1440, 1920), (3000, 4000))


def main() -> None:
    """Measure each line, print it, write the figures and the plot."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--device", help="cpu, cuda, mps; the best there is by default")
    parser.add_argument("--repeats", type=int, default=3, help="of which the median counts")
    parser.add_argument("--points", type=int, nargs="*", default=POINTS, help="along each side")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    device = resolve_device(options.device)
    if device.type == "cpu":
        # More threads wait for each other in loops, and that counts as processor time.
        torch.set_num_threads(1)
    clock = Clock(device, options.repeats)
    result = {"points": points_line(clock, options.points), **matching_lines(clock)}
    output = options.output or RESULTS / f"scaling_{device.type}.json"
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n")
    plot(result, output.with_suffix(".png"))
    print(f"written to {output}")


class Clock:
    """Median seconds of some work on a device."""

    def __init__(self, device: torch.device, repeats: int) -> None:
        self.device = device
        self._repeats = repeats
        self._now = time.process_time if device.type == "cpu" else time.perf_counter

    def median(self, work: Callable[[], Any]) -> float:
        """Of several runs, after one that is not counted."""
        work()
        return statistics.median(self._once(work) for _ in range(self._repeats))

    def _once(self, work: Callable[[], Any]) -> float:
        self._wait()
        started = self._now()
        work()
        self._wait()
        return self._now() - started

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def points_line(clock: Clock, sides: Sequence[int]) -> list[dict[str, float]]:
    """Seconds of the mask decoder for grids of points, every mask drawn."""
    torch.manual_seed(0)
    proposer = MaskProposer(random_sam2("sam2-hiera-small"), clock.device)
    shapes = [(1, 32, 256, 256), (1, 64, 128, 128), (1, 256, 64, 64)]
    features = [0.5 * torch.randn(*shape, device=clock.device) for shape in shapes]
    line = []
    for side in sides:
        seconds = clock.median(partial(proposer.best_masks, features, side, 256, -1.0))
        line.append(note("points", side * side, seconds))
    return line


def matching_lines(clock: Clock) -> dict[str, list[dict[str, float]]]:
    """Seconds of matching, as one thing grows."""

    def seconds(
        candidates: int = 400,
        classes: int = 20,
        shots: int = 30,
        size: tuple[int, int] = SIZES[0],
    ) -> float:
        fingerprint = Fingerprint("made up", "0" * 64, 518, CHANNELS, 0.2)
        logits, ious = made_up_proposals(candidates, SIDE, clock.device)
        generator = torch.Generator().manual_seed(1)
        features = F.normalize(torch.randn(candidates, CHANNELS, generator=generator), dim=1)
        boxes = mask_boxes(logits > 0)
        proposals = Proposals(
            ious=ious,
            features=features.to(clock.device),
            boxes=boxes,
            masks=UpsampledMasks(logits, boxes, size),
            image_size=size,
            fingerprint=fingerprint,
        )
        bank = made_up_bank(fingerprint, features, classes, shots)
        recipe = replace(Recipe(), nms_iou=1.0)
        return clock.median(lambda: match(proposals, bank, recipe))

    return {
        "candidates": [note("candidates", n, seconds(candidates=n)) for n in CANDIDATES],
        "classes": [note("classes", n, seconds(classes=n)) for n in CLASSES],
        "shots": [note("shots", n, seconds(shots=n)) for n in SHOTS],
        "megapixels": [
            note("megapixels", size[0] * size[1] / 1e6, seconds(size=size)) for size in SIZES
        ],
    }


def note(what: str, value: float, seconds: float) -> dict[str, float]:
    """One measurement, printed."""
    print(f"{what:11} {value:10.6g} {seconds:9.4f} s", flush=True)
    return {what: value, "seconds": seconds}


def plot(result: dict[str, list[dict[str, float]]], path: Path) -> None:
    """One panel a line, both axes logarithmic; a dashed line where cost grows as fast."""
    try:
        import matplotlib
    except ImportError:
        print("matplotlib is not installed: there is no plot")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, panels = pyplot.subplots(1, len(result), figsize=(3 * len(result), 3), sharey=False)
    for panel, (what, line) in zip(panels, result.items(), strict=True):
        values = [point[what] for point in line]
        seconds = [point["seconds"] for point in line]
        panel.loglog(values, [seconds[0] * value / values[0] for value in values], "--", c="0.7")
        panel.loglog(values, seconds, "o-")
        panel.set(xlabel=what, ylim=(min(seconds) / 2, max(seconds) * 2))
        labels = [f"{value:,}" if value % 1 == 0 else f"{value:.1f}" for value in values]
        panel.set_xticks(values, labels=labels, fontsize=7, rotation=45)
        panel.set_xticks([], minor=True)
        panel.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        panel.set_yticks([], minor=True)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("seconds an image")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
