"""Runs killed with SIGKILL at random moments, each followed by a second call: what is lost?

    python benchmarks/kill_runs.py

A run segments 200 generated images with the tiny networks, in a process of its own. It is killed
at a moment drawn evenly from a whole run's duration; then every sample must hold nothing, or all
that an uninterrupted run gives it. A second call (without ``overwrite``) goes on, after which
each sample must hold exactly that: classes, boxes, scores and masks. Every fifth run writes its
masks to files, every fifth replaces the labels of another memory bank and is killed over it.

    python benchmarks/kill_runs.py --workers 2 --kills 40

The same with workers: half of the kills are of a worker instead of the driver, and that very
run must come to the same end as an uninterrupted one. Of a killed driver no worker may be left
after five seconds.

Uses a MongoDB of its own, which it ends; writes ``benchmarks/results/kill_runs.json`` (with
workers ``kill_runs_workers.json``) after each kill, and goes on from there if it is started again
with the same settings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

RESULTS = ROOT / "benchmarks" / "results" / "kill_runs.json"
WITH_WORKERS = RESULTS.with_name("kill_runs_workers.json")
ORPHAN_SECONDS = 5.0
DATASET = "ntt-kill-runs"
FIELD = "ntt"
BANKS = ("first_bank", "second_bank")
WAYS = ("plain", "overwrite", "mask files", "overwrite into mask files")

Labels = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Call:
    """One call of ``segment``."""

    bank: str
    grid: int
    mask_dir: str | None = None
    overwrite: bool = False
    workers: int | None = None

    def run(self) -> Any:
        """Make the call, in this process."""
        import fiftyone as fo

        from ntt_plugin.dataset.networks import get_segmenter
        from ntt_plugin.dataset.segmentation.segment import segment
        from ntt_plugin.demo.dataset import TARGET_TAG

        preset, segmenter = recipe(self.grid), None
        if not self.workers:
            segmenter = get_segmenter(preset, "cpu")
        samples = fo.load_dataset(DATASET).match_tags(TARGET_TAG)
        if "--child" in sys.argv:
            # The parent sets the moment of the kill by this line.
            print("ready", flush=True)
        return segment(
            samples,
            self.bank,
            FIELD,
            overwrite=self.overwrite,
            mask_dir=self.mask_dir,
            segmenter=segmenter,
            preset=preset,
            device="cpu",
            workers=self.workers,
            progress=False,
            # The networks are to run each time, so that a run lasts long enough to be killed.
            cache=False,
        )


def main() -> None:
    """Kill runs and count what is lost, doubled or half written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50, help="runs to kill (50)")
    parser.add_argument("--images", type=int, default=200, help="images a run segments (200)")
    parser.add_argument(
        "--grid", type=int, default=6, help="points along each side: more, and a run lasts longer"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, help="local workers of each run (none)")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        Call(**json.loads(options.child)).run()
        print("done", flush=True)
        return

    import tests.fiftyone_database  # noqa: F401  (before fiftyone)

    if options.output is None:
        options.output = WITH_WORKERS if options.workers else RESULTS
    settings = {name: getattr(options, name) for name in ("kills", "images", "grid", "seed")}
    if options.workers:
        settings["workers"] = options.workers
    kills = earlier_kills(options.output, settings)
    with tempfile.TemporaryDirectory(prefix="ntt_kill_runs_") as folder:
        prepare(Path(folder), options.images, options.grid)
        whole, seconds = uninterrupted(options.grid, options.workers)
        print(f"A whole run takes {seconds:.1f} s.", flush=True)
        while (number := len(kills)) - unkilled(kills) < options.kills:
            chance = random.Random(f"{options.seed}/{number}")
            place = (options.grid, options.workers, Path(folder))
            kills.append(kill_once(number, chance, whole, seconds, *place))
            print(number + 1, kills[-1], flush=True)
            write(options.output, settings, seconds, kills)


def recipe(grid: int) -> Any:
    """The tiny networks with another grid of points."""
    from ntt_plugin.engine.recipe import Recipe

    return Recipe.from_preset("tiny", grid=grid)


def prepare(folder: Path, images: int, grid: int) -> None:
    """Make the dataset and two banks of different references."""
    from ntt_plugin.dataset.banks.banks import build_memory_bank
    from ntt_plugin.dataset.references.sampling import sample_references
    from ntt_plugin.demo.dataset import GROUND_TRUTH, POOL_TAG, make_dataset

    dataset = make_dataset(folder / "images", pool=40, targets=images, name=DATASET)
    pool = dataset.match_tags(POOL_TAG)
    for seed, bank in enumerate(BANKS):
        sample_references(pool, GROUND_TRUTH, shots=2, seed=seed, tag=bank)
        build_memory_bank(pool, GROUND_TRUTH, bank, tag=bank, preset=recipe(grid), device="cpu")


def uninterrupted(grid: int, workers: int | None) -> tuple[dict[str, Labels], float]:
    """The labels of whole runs, by bank, and how long one lasts in a process of its own."""
    whole, seconds = {}, []
    for bank in BANKS:
        forget_field()
        child = start(Call(bank, grid, workers=workers))
        began = time.monotonic()
        if not wait_for(child, "done"):
            raise SystemExit("The uninterrupted run failed.")
        seconds.append(time.monotonic() - began)
        child.wait()
        whole[bank] = read_labels()
    return whole, min(seconds)


def kill_once(
    number: int,
    chance: random.Random,
    whole: dict[str, Labels],
    seconds: float,
    grid: int,
    workers: int | None,
    folder: Path,
) -> dict[str, Any]:
    """Kill one run or a worker of it, look, call again, look again."""
    way = WAYS[number % len(WAYS)]
    bank = BANKS[chance.randrange(2)]
    other = BANKS[1 - BANKS.index(bank)]
    overwrite = way.startswith("overwrite")
    mask_dir = str(folder / f"masks_{number}") if way.endswith("mask files") else None
    forget_field()
    if overwrite:
        Call(other, grid, mask_dir and str(folder / f"former_{number}")).run()
    call = Call(bank, grid, mask_dir, overwrite, workers)
    moment = chance.uniform(0, seconds)
    child = start(call)
    time.sleep(moment)
    only_worker = bool(workers) and number // len(WAYS) % 2 == 1
    victims = workers_of(child)
    orphans = 0
    if only_worker:
        killed = bool(victims) and kill(chance.choice(victims))
        if not wait_for(child, "done"):
            raise SystemExit("A run ended with its worker.")
    else:
        child.send_signal(signal.SIGKILL)
        killed = not wait_for(child, "done") and child.wait() == -signal.SIGKILL
        orphans = len(psutil.wait_procs(victims, timeout=ORPHAN_SECONDS)[1])

    after_kill = read_labels()
    lasting = {}
    if only_worker:
        # The run itself was to make up for it.
        lasting = differences(after_kill, whole[bank])
    untouched = overwrite and after_kill == whole[other]
    half = sum(
        labels not in (whole[bank][path], whole[other][path] if overwrite else None)
        for path, labels in after_kill.items()
        if labels
    )
    # Killed before it had taken anything away, an overwrite has not begun: it is called again.
    report = Call(bank, grid, call.mask_dir, untouched, None).run()
    final = read_labels()
    told = {"victim": "worker" if only_worker else "driver", "orphans": orphans} if workers else {}
    return {
        "way": way,
        **told,
        "moment": round(moment, 2),
        "killed": killed,
        "done_when_killed": sum(bool(labels) for labels in after_kill.values()),
        "not_begun": untouched,
        "skipped_by_second_call": report.skipped,
        **{name: n + lasting.get(name, 0) for name, n in differences(final, whole[bank]).items()},
        "half_written": half + half_written(report.label_field),
        "stray_mask_files": stray_files(folder / f"masks_{number}"),
    }


def workers_of(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    """The local workers of a run that still lives."""
    with suppress(psutil.Error):
        children = psutil.Process(driver.pid).children()
        return [child for child in children if "local_child" in " ".join(child.cmdline())]
    return []


def kill(process: psutil.Process) -> bool:
    """Kill a process; whether it still lived."""
    with suppress(psutil.NoSuchProcess):
        process.kill()
        return True
    return False


def start(call: Call) -> subprocess.Popen[str]:
    """Start a call in a process of its own; gives it when the call itself begins."""
    child = subprocess.Popen(
        [sys.executable, __file__, "--child", json.dumps(call.__dict__)],
        stdout=subprocess.PIPE,
        text=True,
    )
    if wait_for(child, "ready"):
        return child
    raise SystemExit("A run ended before it began.")


def wait_for(child: subprocess.Popen[str], word: str) -> bool:
    """Whether a process says a word before its end."""
    assert child.stdout is not None
    return any(line.strip() == word for line in child.stdout)


def forget_field() -> None:
    """Bring the dataset back to where no run has been."""
    import fiftyone as fo

    dataset = fo.load_dataset(DATASET)
    dataset.reload()
    if dataset.has_field(FIELD):
        dataset.delete_sample_field(FIELD)
    for key in dataset.list_runs(method="ntt_segmentation"):
        dataset.delete_run(key)


def read_labels() -> Labels:
    """Every sample's labels as digests of all that was computed, by its path; () for none."""
    import fiftyone as fo

    from ntt_plugin.demo.dataset import TARGET_TAG

    dataset = fo.load_dataset(DATASET)
    dataset.reload()
    if not dataset.has_field(FIELD):
        return dict.fromkeys(dataset.match_tags(TARGET_TAG).values("filepath"), ())
    return {
        sample.filepath: tuple(map(digest, sample[FIELD].detections if sample[FIELD] else ()))
        for sample in dataset.match_tags(TARGET_TAG)
    }


def digest(label: Any) -> str:
    """Digest of a label's class, box, scores and mask."""
    made = (
        label.label,
        tuple(label.bounding_box),
        label.confidence,
        label.margin,
        label.proposal_iou,
        label.reference,
        label.bank,
    )
    try:
        mask = label.get_mask()
    except Exception as error:
        return f"no mask: {error}"
    found = hashlib.sha256(repr((made, mask.shape)).encode())
    found.update((mask != 0).tobytes())
    return found.hexdigest()


def differences(found: Labels, whole: Labels) -> dict[str, int]:
    """Labels that are missing from a sample, and labels that it has too many."""
    lost = doubled = 0
    for path, expected in whole.items():
        have, want = Counter(found.get(path, ())), Counter(expected)
        lost += (want - have).total()
        doubled += (have - want).total()
    return {"lost": lost, "doubled": doubled}


def half_written(field: str) -> int:
    """Labels without a mask or an attribute, and samples whose run is not told."""
    import fiftyone as fo

    from ntt_plugin.demo.dataset import TARGET_TAG

    count = 0
    for sample in fo.load_dataset(DATASET).match_tags(TARGET_TAG):
        labels = sample[field]
        if labels is None or not labels.run:
            count += 1
            continue
        for label in labels.detections:
            fields = ("margin", "proposal_iou", "reference", "bank", "bank_version", "preset")
            count += not label.has_mask or any(label[name] is None for name in fields)
    return count


def stray_files(folder: Path) -> int:
    """Files below a folder of masks that no label names."""
    import fiftyone as fo

    named = set(fo.load_dataset(DATASET).distinct(f"{FIELD}.detections.mask_path"))
    return sum(path.is_file() and str(path) not in named for path in folder.rglob("*"))


def earlier_kills(output: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The kills that a run of this script with the same settings has counted so far."""
    if not output.is_file():
        return []
    kept = json.loads(output.read_text())
    kills = list(kept["kills"])
    done = len(kills) - unkilled(kills) >= settings["kills"]
    return kills if kept["settings"] == settings and not done else []


def unkilled(kills: list[dict[str, Any]]) -> int:
    """Runs that ended before the moment of their kill; another is killed in the place of each."""
    return sum(not kill["killed"] for kill in kills)


def write(
    output: Path, settings: dict[str, Any], seconds: float, kills: list[dict[str, Any]]
) -> None:
    """Write what was counted so far."""
    counts = ["lost", "doubled", "half_written", "stray_mask_files"]
    if "workers" in settings:
        counts.append("orphans")
    result = {
        "settings": settings,
        "seconds_of_a_whole_run": round(seconds, 1),
        "runs_killed": len(kills) - unkilled(kills),
        "runs_that_ended_before_the_kill": unkilled(kills),
        **{name: sum(kill[name] for kill in kills) for name in counts},
        "ways": dict(Counter(kill["way"] for kill in kills)),
        "victims": dict(Counter(kill.get("victim", "driver") for kill in kills if kill["killed"])),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "kills": kills,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
