"""How fast the engine is, stage by stage, beside the plain recipe on the same networks.

    python benchmarks/throughput.py --preset paper --device cpu --images 1 --rounds 1

Ours and the plain recipe (`plain.py`) take turns, stage by stage, in one run. Stages: decode
(file to tensor), encode (patch encoder), embed (segmenter's image encoder), grid (mask decoder
over the points), pool, match, write (masks as bytes). Random weights leave arbitrary masks: pool,
match and write are fed made-up candidates. Writes ``results/throughput_<preset>_<device>.json``.
Needs neither FiftyOne nor a network connection.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import statistics
import sys
import tempfile
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import plain
from benchmarks.candidates import made_up_bank, made_up_proposals
from benchmarks.networks import build_segmenter
from ntt_plugin.demo.streams import scoring_scene
from ntt_plugin.engine import Proposals, Recipe, Segmenter, match
from ntt_plugin.engine.proposals.feature_pooling import pool_features

RESULTS = Path(__file__).parent / "results"
STAGES = ("decode", "encode", "embed", "grid", "pool", "match", "write")
SHARED = ("decode", "encode", "embed", "write")


def main() -> None:
    """Measure a preset on a device, print a table and write it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--device", help="cpu, cuda, mps; the best there is by default")
    parser.add_argument("--weights", action="store_true", help="the preset's, not random ones")
    parser.add_argument("--compile", action="store_true", help="torch.compile our networks")
    parser.add_argument("--precision", help="in place of the preset's")
    parser.add_argument("--grid", type=int, help="points along each side, in place of the preset's")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("H", "W"))
    parser.add_argument("--candidates", type=int, default=400, help="fed to pool, match and write")
    parser.add_argument("--keep", type=float, default=1.0, help="share of points above threshold")
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    overrides = {"grid": options.grid, "precision": options.precision}
    recipe = Recipe.from_preset(
        options.preset, **{key: value for key, value in overrides.items() if value is not None}
    )
    bench = Bench(recipe, options)
    result = bench.run()
    print(table(result))
    name = f"throughput_{options.preset}_{bench.device.type}.json"
    output = options.output or RESULTS / name
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {output}")


class Bench:
    """The networks, the images, and the clock."""

    def __init__(self, recipe: Recipe, options: argparse.Namespace) -> None:
        built = build_segmenter(
            recipe, options.device, weights=options.weights, compile=options.compile
        )
        self.segmenter: Segmenter = built[0]
        self.model: Any = built[1]
        self.device = self.segmenter.device
        self.recipe = self.segmenter.recipe
        self.options = options
        self.seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.totals: dict[str, list[float]] = defaultdict(list)
        self.flops: dict[str, int] = defaultdict(int)
        self.peaks: dict[str, dict[str, float]] = {"ours": {}, "plain": {}}
        self.same: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """All images, all rounds, after one image that is not counted."""
        threshold = self.recipe.iou_threshold
        with tempfile.TemporaryDirectory() as folder:
            paths = photos(Path(folder), self.options.images, tuple(self.options.size))
            features = self.warm_up(paths[0])
            if self.options.keep < 1:
                _, ious = plain.best_masks(self.model, features, 8, -1.0)
                threshold = float(ious.quantile(1 - self.options.keep))
            for _ in range(self.options.rounds):
                for index, path in enumerate(paths):
                    self.image(path, index, threshold)
        return self.result(threshold)

    def warm_up(self, path: Path) -> list[torch.Tensor]:
        """One image through the networks, a few points, counted in operations and not in time."""
        segmenter = self.segmenter
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            pixels, _ = segmenter._input(path)
            segmenter._encoder.encode(small_input(segmenter, pixels))
            self.flops["encode"] = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            features = segmenter._proposer.embed(pixels)
            self.flops["embed"] = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            plain.best_masks(self.model, features, 4, 0.0)
            self.flops["plain grid"] = counter.get_total_flops() // 16 * self.recipe.grid**2
        segmenter._proposer.best_masks(features, 4, 16, -1.0)
        return features

    def image(self, path: Path, index: int, threshold: float) -> None:
        """Every stage of one image, ours and plain by turns."""
        segmenter, options, recipe = self.segmenter, self.options, self.recipe
        proposer, encoder = segmenter._proposer, segmenter._encoder
        took: dict[str, dict[str, float]] = {"ours": {}, "plain": {}}

        def both(stage: str, ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[Any, Any]:
            order = [("ours", ours), ("plain", theirs)]
            found = {}
            for side, work in order if index % 2 else reversed(order):
                found[side], took[side][stage] = self.timed(side, stage, work)
            return found["ours"], found["plain"]

        def one(stage: str, work: Callable[[], Any]) -> Any:
            found, took["ours"][stage] = self.timed("ours", stage, work)
            took["plain"][stage] = took["ours"][stage]
            return found

        with torch.inference_mode():
            pixels, size = one("decode", lambda: segmenter._input(path))
            grid = one("encode", lambda: encoder.encode(small_input(segmenter, pixels))[0])
            features = one("embed", lambda: proposer.embed(pixels))
            batch = recipe.point_batch
            ours, theirs = both(
                "grid",
                lambda: proposer.best_masks(features, recipe.grid, batch, threshold),
                lambda: plain.best_masks(self.model, features, recipe.grid, threshold),
            )
            self.compare(ours, theirs)
            logits, ious = made_up_proposals(options.candidates, ours[0].shape[-1], self.device)
            both(
                "pool",
                lambda: pool_features(grid, logits > 0),
                lambda: plain.pool(grid, logits > 0),
            )
            proposals = Proposals.from_logits(logits, ious, grid, size, segmenter.fingerprint)
            bank = made_up_bank(segmenter.fingerprint, proposals.features)
            # All candidates come to be merged, as after the NMS of a real image.
            all_kept = replace(recipe, nms_iou=1.0)
            instances, _ = both(
                "match",
                lambda: match(proposals, bank, all_kept),
                lambda: plain.match(proposals, bank, all_kept),
            )
            one("write", lambda: [as_bytes(mask) for mask in instances.masks])
        for side, stages in took.items():
            self.totals[side].append(sum(stages.values()))
            for stage, seconds in stages.items():
                self.seconds[side][stage].append(seconds)

    def timed(self, side: str, stage: str, work: Callable[[], Any]) -> tuple[Any, float]:
        """What some work gives, and its seconds; notes its peak of memory."""
        self.wait()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        with HostMemory() as memory:
            started = time.perf_counter()
            found = work()
            self.wait()
            seconds = time.perf_counter() - started
        peaks = self.peaks[side]
        peaks["host"] = max(peaks.get("host", 0.0), memory.peak)
        if self.device.type == "cuda":
            device = torch.cuda.max_memory_allocated(self.device) / 2**30
            peaks["device"] = max(peaks.get("device", 0.0), device)
        return found, seconds

    def wait(self) -> None:
        """For the device to finish what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def compare(self, ours: Any, theirs: Any) -> None:
        """Note how far our masks of the grid are from the plain ones."""
        self.same["points"] = self.recipe.grid**2
        self.same["kept"] = len(ours[1])
        self.same["kept equally"] = len(ours[1]) == len(theirs[1])
        if self.same["kept equally"] and len(ours[1]):
            difference = (ours[0] - theirs[0]).abs()
            flipped = (ours[0] > 0) != (theirs[0] > 0)
            self.same["largest difference of logits"] = float(difference.max())
            self.same["spread of logits"] = float(theirs[0].std())
            self.same["pixels that differ"] = int(flipped.sum())
            # Where a logit is all but 0, rounding decides on which side it falls.
            largest = torch.where(flipped, theirs[0].abs(), 0).max()
            self.same["largest logit among them"] = float(largest)

    def result(self, threshold: float) -> dict[str, Any]:
        """All figures."""
        stages = {
            stage: {
                side: statistics.median(self.seconds[side][stage]) for side in ("ours", "plain")
            }
            for stage in STAGES
        }
        totals = {side: statistics.median(seconds) for side, seconds in self.totals.items()}
        work = self.flops["encode"] + self.flops["embed"] + self.flops["plain grid"]
        return {
            "preset": self.options.preset,
            "weights": "published" if self.options.weights else "random",
            "precision": self.recipe.precision,
            "grid": self.recipe.grid,
            "image size": list(self.options.size),
            "candidates": self.options.candidates,
            "iou threshold": threshold,
            "images": self.options.images,
            "rounds": self.options.rounds,
            "compiled": self.options.compile,
            "point batch": self.segmenter.point_batch,
            "seconds an image, median": {"total": totals, **stages},
            "images a second": {side: 1 / seconds for side, seconds in totals.items()},
            "ratio": {
                "total": totals["plain"] / totals["ours"],
                **{
                    stage: sides["plain"] / sides["ours"]
                    for stage, sides in stages.items()
                    if stage not in SHARED
                },
            },
            "masks of the grid": self.same,
            "TFLOP an image, plain": work / 1e12,
            "TFLOP a second, by the plain count": {
                side: work / seconds / 1e12 for side, seconds in totals.items()
            },
            "peak memory, GiB": self.peaks,
            "device": device_name(self.device),
            "threads": torch.get_num_threads(),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
        }


class HostMemory:
    """The most memory that the process has while some work runs, GiB; Linux only, else 0."""

    def __init__(self) -> None:
        self.peak = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> HostMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        statm = Path("/proc/self/statm")
        while statm.exists():
            pages = int(statm.read_text().split()[1])
            self.peak = max(self.peak, pages * 4096 / 2**30)
            if self._stop.wait(0.02):
                return


def photos(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Scenes of the demo, enlarged, as JPEG files; the same ones every time."""
    paths = []
    for index in range(count):
        scene = Image.fromarray(scoring_scene(index).image)
        path = folder / f"{index}.jpg"
        scene.resize(size[::-1], Image.Resampling.BICUBIC).save(path, quality=92)
        paths.append(path)
    return paths


def small_input(segmenter: Segmenter, pixels: torch.Tensor) -> torch.Tensor:
    """The encoder's input (recipe, section 3.2)."""
    side = segmenter._encoder.size
    return F.interpolate(pixels[None], (side, side), mode="bicubic", align_corners=False)


def as_bytes(mask: np.ndarray[Any, Any]) -> bytes:
    """A mask as FiftyOne keeps it in its database."""
    buffer = io.BytesIO()
    np.save(buffer, mask, allow_pickle=False)
    return zlib.compress(buffer.getvalue())


def device_name(device: torch.device) -> str:
    """What the device is called."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def table(result: dict[str, Any]) -> str:
    """The figures in words."""
    lines = [f"{'stage':8} {'ours':>10} {'plain':>10} {'ratio':>7}"]
    for stage, sides in result["seconds an image, median"].items():
        ratio = sides["plain"] / sides["ours"]
        lines.append(f"{stage:8} {sides['ours']:9.3f}s {sides['plain']:9.3f}s {ratio:7.2f}")
    return "\n".join(
        [*lines, json.dumps(result["masks of the grid"]), json.dumps(result["peak memory, GiB"])]
    )


if __name__ == "__main__":
    main()
