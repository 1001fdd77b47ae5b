"""How fast labels get into the database, and what a sample costs the driver.

    python benchmarks/bulk_writer.py

Results as workers give them, 8 and 63 labels a sample, go through the run's own writer, without
an image being read: samples a second, and CPU milliseconds a sample of this process, by turns, the
median of three runs. Then what a report of a million samples takes to save, and the driver's
memory over 100,000 samples, beyond their ids.

Uses a MongoDB of its own, which it ends, and writes ``benchmarks/results/bulk_writer.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

RESULTS = Path(__file__).parent / "results" / "bulk_writer.json"
LABELS = (8, 63)
_RUNS = 3


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=5_000)
    parser.add_argument("--memory-samples", type=int, default=100_000)
    parser.add_argument("--report-samples", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    import tests.fiftyone_database  # noqa: F401  (before fiftyone)

    result: dict[str, Any] = {"samples": options.samples}
    found: dict[int, list[dict[str, float]]] = {count: [] for count in LABELS}
    for _ in range(_RUNS):
        for count in LABELS:
            found[count].append(write_many(options.samples, count))
            print(count, found[count][-1], flush=True)
    for count, runs in found.items():
        middle = {name: statistics.median(one[name] for one in runs) for name in runs[0]}
        each = [one["samples_a_second"] for one in runs]
        result[f"{count} labels"] = {**middle, "samples_a_second_of_each_run": each}
    result["memory"] = memory_over(options.memory_samples)
    print(result["memory"], flush=True)
    result["report"] = save_report(options.report_samples)
    result["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    result["processes_that_wanted_them"] = round(os.getloadavg()[0], 1)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


class MadeBefore:
    """Work that was done before: the same labels for every sample, in no time."""

    def __init__(self, stamp: Any, count: int) -> None:
        """Make the labels of one sample, with masks of about 40 x 60 pixels."""
        from ntt_plugin.dataset.runtime.work import Told
        from ntt_plugin.worker.labels.label_bytes import NewLabel, field_bytes

        self.told = Told()
        self.waiting: Callable[[], None] = lambda: None
        self._count = count
        y, x = np.mgrid[:40, :60]
        mask = (x - 30) ** 2 / 900 + (y - 20) ** 2 / 400 < 1
        attributes = {"margin": 0.5, "proposal_iou": 0.9, "reference": "0" * 24, "bank": "bank"}
        labels = [
            NewLabel("class", [0.1, 0.1, 0.2, 0.2], mask, 0.5, attributes=dict(attributes))
            for _ in range(count)
        ]
        self.document, _ = field_bytes(labels, stamp)

    def prepare(self, most: int) -> None:
        """Nothing is to be loaded."""

    def results(self, items: Iterator[Any]) -> Generator[Any, None, None]:
        """The labels, for each item."""
        from ntt_plugin.worker.messages import Result

        for item in items:
            yield Result(item.sample_id, item.filepath, self.document, count=self._count)

    def finish(self) -> list[str]:
        """Nothing is to be said."""
        return []


def make_dataset(name: str, count: int) -> Any:
    """Samples without files."""
    import fiftyone as fo

    dataset = fo.Dataset(name)
    template = fo.Sample(filepath="/nowhere/image.png")
    dataset.add_sample(template)
    document = dataset._sample_collection.find_one({})
    dataset._sample_collection.delete_many({})
    for start in range(0, count, 10_000):
        numbers = range(start, min(start + 10_000, count))
        made = [{**document, "filepath": f"/nowhere/{number}.png"} for number in numbers]
        for entry in made:
            del entry["_id"]
        dataset._sample_collection.insert_many(made)
    return dataset


def run(dataset: Any, field: str, count: int, progress: Any = False) -> Any:
    """A run into a field; gives its report."""
    from ntt_plugin.dataset.labels.convert import LABEL_ATTRIBUTES
    from ntt_plugin.dataset.segmentation.field_run import field_run
    from ntt_plugin.dataset.segmentation.report import SegmentReport

    report = SegmentReport(field, "bank", "tiny")
    with field_run(dataset, "run", report) as labelling:
        work = MadeBefore(labelling.stamp, count)
        labelling.label_each(work, LABEL_ATTRIBUTES, {"run": "run"}, progress=progress)
    return report


def write_many(samples: int, count: int) -> dict[str, float]:
    """Samples a second through the writer, and CPU of this process.

    A run has a beginning and an end (its field, record and report) that take the same time
    whatever its length: the rate of the writer is that of the middle.
    """
    moments: list[float] = []
    dataset = make_dataset(f"ntt-bulk-{count}", samples)
    run(dataset, "warm", 1)
    began, used = time.perf_counter(), time.process_time()
    report = run(dataset, "labels", count, lambda bar: moments.append(time.perf_counter()))
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    held = dataset._sample_collection.count_documents(
        {f"labels.detections.{count - 1}._id": {"$exists": True}}
    )
    if (report.segmented, held) != (samples, samples):
        raise SystemExit(f"{held} of {samples} samples hold their labels.")
    dataset.delete()
    first, last = samples // 10, samples - samples // 20 - 1
    return {
        "samples_a_second": round((last - first) / (moments[last] - moments[first])),
        "samples_a_second_of_the_whole_run": round(samples / seconds),
        "driver_cpu_ms_a_sample": round(1e3 * cpu / samples, 3),
    }


def memory_over(samples: int) -> dict[str, float]:
    """Growth of this process over a run, in MiB, and what its ids take."""
    dataset = make_dataset("ntt-bulk-memory", samples)
    run(dataset.limit(2_000), "warm", 1)
    process = psutil.Process()
    before, peak = process.memory_info().rss, 0
    first = 0.0

    from ntt_plugin.dataset.labels.convert import LABEL_ATTRIBUTES
    from ntt_plugin.dataset.segmentation.field_run import field_run
    from ntt_plugin.dataset.segmentation.report import SegmentReport

    report = SegmentReport("labels", "bank", "tiny")
    began = time.perf_counter()
    with field_run(dataset, "run", report) as labelling:
        work = MadeBefore(labelling.stamp, 8)

        def watch(bar: Any) -> None:
            nonlocal first, peak
            first = first or time.perf_counter() - began
            if bar.iteration % 1000 == 0:
                peak = max(peak, process.memory_info().rss)

        labelling.label_each(work, LABEL_ATTRIBUTES, {"run": "run"}, progress=watch)
    dataset.delete()
    mib = 2.0**20
    return {
        "samples": samples,
        "grown_mib": round((peak - before) / mib, 1),
        "ids_mib": round(2 * 12 * samples / mib, 1),
        "seconds_before_the_first_image": round(first, 2),
    }


def save_report(samples: int) -> dict[str, float]:
    """Seconds to save and to load the report of a run over many samples."""
    from bson import ObjectId

    from ntt_plugin.dataset.database.locks import RunLock
    from ntt_plugin.dataset.database.run_record import keep_record, keep_results
    from ntt_plugin.dataset.samples.sample_ids import SampleIds
    from ntt_plugin.dataset.segmentation.report import (
        SegmentReport,
        load_segment_report,
        to_dict,
    )

    dataset = make_dataset("ntt-bulk-report", 1)
    ids = SampleIds(ObjectId() for _ in range(samples))
    report = SegmentReport("labels", "bank", "tiny", segmented=samples, segmented_ids=ids)
    with RunLock(dataset, "labels") as lock:
        keep_record(dataset, "labels", {}, lock)
        began = time.perf_counter()
        keep_results(dataset, "labels", lock, report=to_dict(report))
        saved = time.perf_counter() - began
    began = time.perf_counter()
    if len(load_segment_report(dataset, "labels").segmented_ids) != samples:
        raise SystemExit("The report lost ids.")
    loaded = time.perf_counter() - began
    dataset.delete()
    return {"samples": samples, "save_s": round(saved, 2), "load_s": round(loaded, 2)}


if __name__ == "__main__":
    main()
