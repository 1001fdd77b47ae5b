"""A run over 50,000 samples without networks: memory as it goes, and samples a second.

    python benchmarks/long_run.py

The engine is a stand-in that gives each image the same eight proposals at once; all else is what
``segment`` always does: samples fetched, images decoded, proposals matched, labels with masks
written, the report kept. So the rate is that of everything but the networks, and the rest of a
real run's time is theirs. Then a second call passes over all samples, which are done.

Uses a MongoDB of its own, which it ends, and writes ``benchmarks/results/long_run.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ntt_plugin.engine import MemoryBank, Proposals
from ntt_plugin.engine.bank.memory_bank import Fingerprint
from ntt_plugin.engine.recipe import Recipe

RESULTS = Path(__file__).parent / "results" / "long_run.json"
SIZE = (240, 320)
FILES = 50


class Standin:
    """Has the engine's interface: eight discs in every image, found in no time."""

    device = torch.device("cpu")
    point_batch = 64
    upstream = None

    def __init__(self) -> None:
        self.recipe = Recipe.from_preset("tiny")
        self.fingerprint = Fingerprint("stand-in", "stand-in", size=224, channels=16)
        y, x = np.mgrid[:64, :64]
        discs = [(x - 8 - 6 * i) ** 2 + (y - 10 - 5 * i) ** 2 < (5 + i) ** 2 for i in range(8)]
        logits = torch.from_numpy(np.stack(discs)).float() * 2 - 1
        features = torch.rand(16, 16, 16, generator=torch.Generator().manual_seed(0))
        ious = torch.linspace(0.9, 0.5, 8)
        self._proposals = Proposals.from_logits(logits, ious, features, SIZE, self.fingerprint)

    def bank(self) -> MemoryBank:
        """A bank of three classes."""
        bank = MemoryBank(self.fingerprint, self.recipe)
        for label, feature in zip("abc", torch.eye(16), strict=False):
            bank.add(label, feature + 0.1)
        return bank

    def propose(self, image: Any, progress: Any = None) -> Proposals:
        """The same proposals for every image."""
        return self._proposals


def main() -> None:
    """Make the dataset, run, and write what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    import tests.fiftyone_database  # noqa: F401  (before fiftyone)

    with tempfile.TemporaryDirectory(prefix="ntt_long_run_") as folder:
        dataset = make_dataset(Path(folder), options.samples)
        result = measure(dataset, options.samples)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def make_dataset(folder: Path, count: int) -> Any:
    """Samples with a path of their own each; the files behind them are a few, linked."""
    import fiftyone as fo

    random = np.random.default_rng(0)
    for index in range(FILES):
        pixels = random.integers(0, 255, (15, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(SIZE[::-1]).save(folder / f"file_{index}.jpg")
    for index in range(count):
        os.link(folder / f"file_{index % FILES}.jpg", folder / f"{index}.jpg")
    dataset = fo.Dataset("ntt-long-run")
    for start in range(0, count, 5000):
        paths = [folder / f"{index}.jpg" for index in range(start, min(count, start + 5000))]
        dataset.add_samples([fo.Sample(filepath=str(path)) for path in paths], progress=False)
    return dataset


def measure(dataset: Any, count: int) -> dict[str, Any]:
    """Run over the dataset twice."""
    from ntt_plugin.dataset.segmentation.report import load_segment_report
    from ntt_plugin.dataset.segmentation.segment import segment

    standin, process, seen = Standin(), psutil.Process(), []
    bank = standin.bank()

    def look(bar: Any) -> None:
        if bar.iteration % max(1, count // 100) == 0:
            seen.append((bar.iteration, process.memory_info().rss / 2**20, time.monotonic()))

    began, cpu = time.monotonic(), process.cpu_times()
    report = segment(dataset, bank, segmenter=standin, progress=look, cache=False)
    seconds, used = time.monotonic() - began, process.cpu_times()
    kept_in = timed(lambda: load_segment_report(dataset, "ntt"))
    again = timed(lambda: segment(dataset, bank, segmenter=standin, cache=False))
    half, spent = len(seen) // 2, used.user + used.system - cpu.user - cpu.system
    return {
        "samples": count,
        "labels_a_sample": report.instances / max(1, report.segmented),
        "segmented": report.segmented,
        "failed": len(report.failed),
        "seconds": round(seconds, 1),
        "samples_a_second": round(count / seconds, 1),
        "cpu_ms_a_sample": round(1000 * spent / count, 2),
        "rss_mib": {
            "at_1_percent": round(seen[0][1], 1),
            "at_the_middle": round(seen[half][1], 1),
            "at_the_end": round(seen[-1][1], 1),
            "peak": round(max(rss for _, rss, _ in seen), 1),
        },
        "seconds_of_first_and_last_tenth": [
            round(seen[len(seen) // 10][2] - seen[0][2], 1),
            round(seen[-1][2] - seen[-1 - len(seen) // 10][2], 1),
        ],
        "seconds_to_load_the_report": round(kept_in, 2),
        "seconds_of_a_second_call": round(again, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "processes_that_wanted_them": round(os.getloadavg()[0], 1),
    }


def timed(call: Any) -> float:
    """Seconds that a call takes."""
    began = time.monotonic()
    call()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
