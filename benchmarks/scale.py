"""What workers cost and bring: stubs that sleep, and the tiny networks, locally and on Ray.

    python benchmarks/scale.py                                 # all parts, as committed
    python benchmarks/scale.py stub --places local --workers 2 --samples 500
    python benchmarks/scale.py written tiny --seconds 20 --runs 1
    python benchmarks/scale.py --table                         # the results for docs/scale.md

``stub``: workers that sleep 20 ms an item. Efficiency is the rate of the middle of the run beside
that of workers that wait for nothing; start-up, and the driver's processor time a sample.
``written``: 16 workers that sleep 25 ms and give 100 labels a sample, through ``ntt.segment`` into
a database on the same machine. ``limit``: the same with workers that do not sleep, at 8 and 100
labels: what one driver and its database can take.
``tiny``: the tiny networks in 2 workers of ``ntt.segment``, beside 2 plain loops over
``Segmenter.segment`` that run at the same time with the same share of the processors, one thread
each; images done by the workers for each one done by the loops.

Ray runs as a cluster of its own on this machine (``address="local"``), with the CPUs that the
stubs ask for, for they only sleep. Uses a MongoDB of its own, which it ends; writes its parts into
``benchmarks/results/scale.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.plain_loops import read_counts, start_loops  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "scale.json"
PARTS = ("stub", "written", "limit", "tiny")
PLACES = ("local", "ray")
STUB_SECONDS = 0.02
WRITTEN_WORKERS, WRITTEN_BANK = 16, "stub_25_100"
LIMIT_WORKERS, LIMIT_LABELS = 4, (8, 100)
WARM_SECONDS = 5.0


def main() -> None:
    """Measure the parts that are asked for, and write them beside the others."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all if none is named")
    parser.add_argument("--places", nargs="*", choices=PLACES, default=PLACES)
    parser.add_argument("--workers", nargs="*", type=int, default=(1, 2, 4), help="of the stubs")
    parser.add_argument("--samples", type=int, default=5000, help="of the stubs")
    parser.add_argument("--seconds", type=float, default=60, help="of a run of tiny networks")
    parser.add_argument("--runs", type=int, default=3, help="of tiny networks")
    parser.add_argument("--images", type=int, default=4000, help="for the tiny networks")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the results, measure nothing")
    options = parser.parse_args()
    if options.table:
        print("\n".join(table_rows(json.loads(options.output.read_text()))))
        return
    # Before the networks' code: workers and loops have one thread each.
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["PYTHONPATH"] = str(ROOT)

    import tests.fiftyone_database  # noqa: F401  (before fiftyone)

    os.environ["FIFTYONE_SHOW_PROGRESS_BARS"] = "false"
    parts: dict[str, Callable[[str, argparse.Namespace], Any]] = {
        "stub": measure_stubs,
        "written": measure_written,
        "limit": measure_limit,
        "tiny": measure_tiny,
    }
    for place in options.places:
        cores = max(4, *options.workers, WRITTEN_WORKERS)
        with running_cluster(cores if place == "ray" else 0):
            for part in options.parts or PARTS:
                figures = parts[part](place, options)
                write(options.output, part, place, figures)
                print(part, place, json.dumps(figures, indent=1), flush=True)


@contextmanager
def running_cluster(cores: int) -> Iterator[None]:
    """A Ray cluster of this machine that claims a number of cores; none for 0."""
    if not cores:
        yield
        return
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=cores, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def workers_of(place: str, count: int) -> Any:
    """What ``workers=`` is for a number of them."""
    import ntt_plugin as ntt

    return count if place == "local" else ntt.Ray("local", workers=count, gpus_each=0)


def measure_stubs(place: str, options: argparse.Namespace) -> dict[str, Any]:
    """Efficiency of sleeping workers, by their number."""
    return {str(count): stub_run(place, count, options.samples) for count in options.workers}


def stub_run(place: str, workers: int, samples: int) -> dict[str, Any]:
    """One run of sleeping workers through the dispatcher."""
    from ntt_plugin.worker.dispatcher import dispatch
    from ntt_plugin.worker.local_processes import LocalPool
    from ntt_plugin.worker.ray_actors import RayPool

    name, spec = "benchmarks.stub_workers:Echo", str(STUB_SECONDS).encode()
    began, cpu = time.monotonic(), time.process_time()
    pool_of = LocalPool if place == "local" else RayPool
    pool = pool_of(workers_of(place, workers), name, spec)
    # As long as the item of a sample whose path has 100 characters.
    items = ((number, b"x" * 200) for number in range(samples))
    moments = [time.monotonic() for _ in dispatch(items, pool)]
    used = time.process_time() - cpu
    first, last = samples // 10, samples - samples // 10 - 1
    rate = (last - first) / (moments[last] - moments[first])
    return {
        "samples": samples,
        "efficiency": round(rate * STUB_SECONDS / workers, 3),
        "seconds_to_the_first_result": round(moments[0] - began, 2),
        "seconds": round(moments[-1] - began, 1),
        "driver_ms_a_sample": round(used / samples * 1000, 3),
    }


def measure_written(place: str, options: argparse.Namespace) -> dict[str, Any]:
    """Samples a second that many sleeping workers get into the database."""
    return written_run(place, WRITTEN_WORKERS, WRITTEN_BANK, options.samples)


def measure_limit(place: str, options: argparse.Namespace) -> dict[str, Any]:
    """Samples a second of workers that do not sleep, by the number of labels."""
    return {
        str(labels): written_run(place, LIMIT_WORKERS, f"stub_0_{labels}", options.samples)
        for labels in LIMIT_LABELS
    }


def written_run(place: str, count: int, name: str, samples: int) -> dict[str, Any]:
    """One run of stubs through ``segment``; the bank's name tells them what to do."""
    import ntt_plugin as ntt
    from benchmarks.long_run import Standin
    from ntt_plugin.dataset.runtime import workers

    dataset = paths_without_files(samples)
    ntt.save_memory_bank(dataset, name, Standin().bank())
    usual, workers.HANDLER = workers.HANDLER, "benchmarks.stub_workers:Labelling"
    moments: list[float] = []
    began, cpu = time.monotonic(), time.process_time()
    try:
        report = ntt.segment(
            dataset,
            name,
            workers=workers_of(place, count),
            progress=lambda bar: note_done(moments, bar),
            cache=False,
        )
    finally:
        workers.HANDLER = usual
    used = time.process_time() - cpu
    done = len(moments)
    first, last = done // 5, done - done // 20 - 1
    result = {
        "samples": report.segmented,
        "failed": len(report.failed),
        "bytes_a_sample": stored_bytes(dataset) // max(1, report.segmented),
        "samples_a_second": round((last - first) / (moments[last] - moments[first])),
        "seconds_to_the_first_result": round(moments[0] - began, 2),
        "seconds": round(time.monotonic() - began, 1),
        "driver_ms_a_sample": round(used / done * 1000, 3),
    }
    dataset.delete()
    return result


def note_done(moments: list[float], bar: Any) -> None:
    """Note the moment for each sample that is done; a bar also calls while nothing is."""
    moments += [time.monotonic()] * (bar.iteration - len(moments))


def paths_without_files(count: int) -> Any:
    """A dataset whose images nobody reads."""
    import fiftyone as fo

    dataset = fo.Dataset()
    for start in range(0, count, 5000):
        numbers = range(start, min(count, start + 5000))
        dataset.add_samples(
            [fo.Sample(filepath=f"/nowhere/{number}.jpg") for number in numbers], progress=False
        )
    return dataset


def stored_bytes(dataset: Any) -> int:
    """Bytes of a dataset's samples as BSON."""
    return int(dataset.stats(include_media=False)["samples_bytes"])


def measure_tiny(place: str, options: argparse.Namespace) -> dict[str, Any]:
    """Images of two workers for each one of two plain loops beside them."""
    from ntt_plugin.dataset.banks.banks import build_memory_bank
    from ntt_plugin.dataset.references.sampling import sample_references
    from ntt_plugin.demo.dataset import GROUND_TRUTH, POOL_TAG, TARGET_TAG, make_dataset

    with tempfile.TemporaryDirectory(prefix="ntt_scale_") as folder:
        made = min(200, options.images)
        dataset = make_dataset(Path(folder) / "images", pool=40, targets=made, name="ntt-scale")
        pool = dataset.match_tags(POOL_TAG)
        sample_references(pool, GROUND_TRUTH, shots=2, seed=0, tag="reference")
        build_memory_bank(pool, GROUND_TRUTH, "tiny", tag="reference", preset="tiny", device="cpu")
        files = dataset.match_tags(TARGET_TAG).values("filepath")
        runs = [
            tiny_run(place, Path(folder), files, options.images, options.seconds)
            for _ in range(options.runs)
        ]
        dataset.delete()
    ratios = [run["images_for_one_of_the_loops"] for run in runs]
    return {"median": round(statistics.median(ratios), 3), "runs": runs}


def tiny_run(
    place: str, folder: Path, files: list[str], images: int, seconds: float
) -> dict[str, Any]:
    """Count what workers and loops do in the same seconds."""
    import fiftyone as fo

    import ntt_plugin as ntt

    source = fo.load_dataset("ntt-scale")
    dataset = fo.Dataset()
    paths = cycle(files)
    # Nobody holds them: FiftyOne takes 14 ms to reload one that somebody does.
    dataset.add_samples(
        [fo.Sample(filepath=linked(folder, next(paths), n)) for n in range(images)],
        progress=False,
    )
    bank = ntt.load_memory_bank(source, "tiny")
    bank_file, list_file = folder / "bank.safetensors", folder / "files.json"
    bank_file.write_bytes(bank.to_bytes())
    list_file.write_text(json.dumps(files))
    # Linux shares processors among sessions first. Each local worker has a session of its own, and
    # Ray's have this process's, with a lower priority: so have the loops beside them.
    if place == "ray":
        loops = [start_loops(bank_file, list_file, nice=15, count=2, own_session=False)]
    else:
        loops = [
            start_loops(bank_file, list_file, nice=0, count=1, own_session=True) for _ in range(2)
        ]
    counts = [read_counts(loop) for loop in loops]
    moments: list[float] = []

    def look(bar: Any) -> None:
        note_done(moments, bar)
        if moments and time.monotonic() - moments[0] > seconds + 2 * WARM_SECONDS:
            raise KeyboardInterrupt

    try:
        ntt.segment(dataset, bank, workers=workers_of(place, 2), progress=look, cache=False)
    except KeyboardInterrupt:
        pass
    finally:
        ended = [loop for loop in loops if loop.poll() is not None]
        for loop in loops:
            with suppress(ProcessLookupError):
                os.killpg(loop.pid, signal.SIGKILL)
            loop.wait()
        dataset.delete()
    if ended:
        raise SystemExit("A plain loop ended while the workers went on: the figures say nothing.")
    begin = moments[0] + WARM_SECONDS
    end = min(begin + seconds, moments[-1])

    def within(times: list[float]) -> int:
        return sum(begin <= moment < end for moment in times)

    theirs = sum(within(times) for times in counts)
    return {
        "seconds": round(end - begin, 1),
        "images_of_the_workers": within(moments),
        "images_of_the_loops": theirs,
        "images_for_one_of_the_loops": round(within(moments) / max(1, theirs), 3),
    }


def linked(folder: Path, file: str, number: int) -> str:
    """A path of its own for an image."""
    path = folder / f"{number}{Path(file).suffix}"
    if not path.exists():
        os.link(file, path)
    return str(path)


def write(output: Path, part: str, place: str, figures: dict[str, Any]) -> None:
    """Put a part's figures beside those that are there."""
    result: dict[str, Any] = json.loads(output.read_text()) if output.is_file() else {}
    result.setdefault(part, {})[place] = figures
    result["machine"] = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")


def table_rows(result: dict[str, Any]) -> Iterator[str]:
    """The figures as rows of a table in Markdown."""

    def row(what: str, figure: Callable[[dict[str, Any]], Any], *keys: str) -> str:
        cells = []
        for place in PLACES:
            try:
                found = result[keys[0]][place]
                for key in keys[1:]:
                    found = found[key]
                cells.append(f"{figure(found)}")
            except KeyError:
                cells.append("not measured")
        return f"| {what} | {' | '.join(cells)} |"

    for count in ("1", "2", "4"):
        noun = "worker that sleeps" if count == "1" else "workers that sleep"
        what = f"{count} {noun} {STUB_SECONDS * 1000:.0f} ms an item"
        yield row(f"{what}: efficiency", lambda f: f["efficiency"], "stub", count)
        yield row(
            f"{what}: seconds to the first result",
            lambda f: f["seconds_to_the_first_result"],
            "stub",
            count,
        )
        yield row(
            f"{what}: the driver's processor time a sample, ms",
            lambda f: f["driver_ms_a_sample"],
            "stub",
            count,
        )
    what = f"{WRITTEN_WORKERS} workers that sleep 25 ms, 100 labels written: samples a second"
    yield row(what, lambda f: f["samples_a_second"], "written")
    for labels in map(str, LIMIT_LABELS):
        what = f"written, workers that do not sleep, {labels} labels"
        yield row(
            f"{what}: samples a second; bytes a sample",
            lambda f: f"{f['samples_a_second']:,}; {f['bytes_a_sample']:,}",
            "limit",
            labels,
        )
    what = "tiny networks, 2 workers: images for each one of 2 plain loops beside them"
    yield row(what, lambda f: f["median"], "tiny")


if __name__ == "__main__":
    main()
