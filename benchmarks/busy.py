"""Seconds an image on a quiet machine and beside another program that keeps a core busy.

    python benchmarks/busy.py
    python benchmarks/busy.py --images 12 --rounds 5

Three processes segment the same scene with the preset ``tiny``, by turns: with all of torch's
threads at any load ("all threads"), with the number that the engine chooses by load ("chosen", what
every run does), and with all threads and ``OMP_WAIT_POLICY=PASSIVE`` ("PASSIVE"), which makes idle
threads sleep. Two seconds lie between the turns, so that no process takes another's turn for load.
First while nothing else runs, then beside a process of this script that counts without an end. Read
the ratios; "others" is how many cores other programs used meanwhile, which must be near 0 and near
1. Needs no FiftyOne; writes ``benchmarks/results/busy.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results" / "busy.json"

WAYS = ("all threads", "chosen", "PASSIVE")
PAUSE = 2.0
"""Seconds between two turns."""
QUIET_OTHERS = 0.2
"""Cores used by others above which a machine is not quiet."""

# Reads a number of images from each line, and answers with seconds an image and the load it saw.
CHILD = """
import json, sys, time
from ntt_plugin.demo.streams import scoring_scene
from ntt_plugin.engine.device import threads
from ntt_plugin.engine.segmenter import Segmenter

way, number = sys.argv[1], int(sys.argv[2])
if way != "chosen":
    threads.threads_for = lambda free, usual: usual
scene = scoring_scene(number)
segmenter = Segmenter.from_preset("tiny", device="cpu")
segmenter.propose(scene.image)
print("ready", flush=True)
for line in sys.stdin:
    seconds = []
    first = threads._read()
    for _ in range(int(line)):
        started = time.perf_counter()
        segmenter.propose(scene.image).with_masks_made()
        seconds.append(time.perf_counter() - started)
    last = threads._read()
    elapsed = last.moment - first.moment
    used = last.cores * elapsed - (last.idle - first.idle) - (last.own - first.own)
    print(json.dumps({"seconds": seconds, "others": used / elapsed}), flush=True)
"""


@dataclass
class Turns:
    """What one way took in one mode."""

    seconds: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)

    def add(self, answer: dict[str, Any]) -> None:
        """Add one turn; its first image, in which the number of threads may change, counts."""
        self.seconds += answer["seconds"]
        self.others.append(answer["others"])


def main() -> None:
    """Measure every way in both modes and write what they took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=8, help="images a turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way in each mode")
    parser.add_argument("--scene", type=int, default=0, help="number of the held-out scene")
    options = parser.parse_args()
    with ExitStack() as stack:
        ways = {way: stack.enter_context(_process(way, options.scene)) for way in WAYS}
        for process in ways.values():
            _line(process)
        result = {
            "machine": platform.processor() or platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "images": options.images * options.rounds,
            "quiet": measure(ways, options),
        }
        stack.enter_context(_busy_core())
        result["busy"] = measure(ways, options)
    report(result)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


def measure(
    ways: dict[str, subprocess.Popen[str]], options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Median and mean seconds an image of each way, and the load beside it; the ways by turns."""
    turns = {way: Turns() for way in ways}
    for _ in range(options.rounds):
        for way, process in ways.items():
            assert process.stdin is not None
            time.sleep(PAUSE)
            process.stdin.write(f"{options.images}\n")
            process.stdin.flush()
            turns[way].add(json.loads(_line(process)))
    return {
        way: {
            "median": round(statistics.median(taken.seconds), 4),
            "mean": round(statistics.mean(taken.seconds), 4),
            "others": round(statistics.mean(taken.others), 2),
        }
        for way, taken in turns.items()
    }


def report(result: dict[str, Any]) -> None:
    """Print the table, the two ratios that count, and whether the load was what it should be."""
    print(f"{'':8}{'way':14}{'median s':>10}{'mean s':>10}{'others':>10}")
    for mode in ("quiet", "busy"):
        for way, taken in result[mode].items():
            print(
                f"{mode:8}{way:14}{taken['median']:10.3f}{taken['mean']:10.3f}"
                f"{taken['others']:10.2f}"
            )
    quiet, busy = result["quiet"], result["busy"]
    on_quiet = quiet["chosen"]["mean"] / quiet["all threads"]["mean"]
    on_busy = busy["chosen"]["mean"] / busy["PASSIVE"]["mean"]
    print(f"quiet: chosen takes {on_quiet:.2f} times what all threads do (goal: at most 1.2)")
    print(f"busy: chosen takes {on_busy:.2f} times what PASSIVE does (goal: at most 1.5)")
    if max(taken["others"] for taken in quiet.values()) > QUIET_OTHERS:
        print("The machine was not quiet: other programs used it. Measure again.")


@contextmanager
def _process(way: str, scene: int) -> Iterator[subprocess.Popen[str]]:
    environment = {key: os.environ[key] for key in os.environ if not key.startswith("OMP_")}
    environment["PYTHONPATH"] = str(ROOT)
    if way == "PASSIVE":
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    command = [sys.executable, "-c", CHILD, way, str(scene)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def _busy_core() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        sys.exit("A process of the benchmark ended early.")
    return line


if __name__ == "__main__":
    main()
