"""How fast the panel Memory banks answers on a dataset of 10,000 samples, and how much it sends.

    python benchmarks/panel.py

The dataset has a bank of 20 classes of 30 references with features of full size, and a field that
``segment`` wrote with it in 200 samples, by a stand-in for the networks; all others have copies of
these labels. Every event of the panel goes through
FiftyOne's executor, as the App sends it: what is measured is what the server does between the
request and the answer, without the first import of torch. "cold" is the first time, which reads
the bank and draws the pictures; "warm" are those after it.

Uses a MongoDB of its own, which it ends, and writes ``benchmarks/results/panel.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.long_run import SIZE, Standin, make_dataset
from ntt_plugin.engine import MemoryBank, Proposals
from ntt_plugin.engine.bank.memory_bank import Fingerprint
from ntt_plugin.engine.references import Provenance

RESULTS = Path(__file__).parent / "results" / "panel.json"
ROOT = Path(__file__).resolve().parent.parent
CLASSES, SHOTS, NEGATIVES, CHANNELS = 20, 30, 2, 1024
BANK, FIELD = "bank", "ntt"
SEGMENTED = 200


class WideStandin(Standin):
    """The stand-in of ``long_run.py`` with features as wide as DINOv2-L's."""

    def __init__(self) -> None:
        super().__init__()
        self.fingerprint = Fingerprint("stand-in", "stand-in", size=224, channels=CHANNELS)
        features = torch.rand(CHANNELS, 16, 16, generator=torch.Generator().manual_seed(0))
        ious = torch.linspace(0.9, 0.5, 8)
        y, x = np.mgrid[:64, :64]
        discs = [(x - 8 - 6 * i) ** 2 + (y - 10 - 5 * i) ** 2 < (5 + i) ** 2 for i in range(8)]
        logits = torch.from_numpy(np.stack(discs)).float() * 2 - 1
        self._proposals = Proposals.from_logits(logits, ious, features, SIZE, self.fingerprint)


def main() -> None:
    """Make the dataset, send every event, and write what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    import tests.fiftyone_database  # noqa: F401  (before fiftyone)

    with tempfile.TemporaryDirectory(prefix="ntt_panel_") as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        dataset = prepare(Path(folder), options.samples)
        result = {
            "samples": options.samples,
            "bank": {"classes": CLASSES, "references": CLASSES * SHOTS, "channels": CHANNELS},
            "labels": dataset.count(f"{FIELD}.detections"),
            "events": measure(dataset, Path(folder), options.times),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "processes_that_wanted_them": round(os.getloadavg()[0], 1),
        }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def prepare(folder: Path, count: int) -> Any:
    """The dataset with its references, its bank and its segmented field."""
    import fiftyone as fo

    import ntt_plugin as ntt

    images = folder / "images"
    images.mkdir()
    dataset, standin = make_dataset(images, count), WideStandin()
    bank = MemoryBank(standin.fingerprint, standin.recipe)
    random = np.random.default_rng(0)
    centres = random.normal(size=(CLASSES, CHANNELS)) + 1
    samples = iter(dataset.take(CLASSES * (SHOTS + NEGATIVES), seed=51))
    for label, centre in enumerate(centres):
        for shot in range(SHOTS + NEGATIVES):
            sample = next(samples)
            mask = np.ones((60, 80), dtype=bool)
            detection = fo.Detection(
                label=f"class {label}", bounding_box=[0.25, 0.25, 0.25, 0.25], mask=mask
            )
            sample["ground_truth"] = fo.Detections(detections=[detection])
            sample.save()
            box = (80.0, 60.0, 160.0, 120.0)
            source = Provenance(dataset.name, sample.id, detection.id, box)
            feature = torch.from_numpy(centre + random.normal(size=CHANNELS) * 0.5).float()
            add = bank.add if shot < SHOTS else bank.add_negatives
            add(f"class {label}", feature, source)
    ntt.save_memory_bank(dataset, BANK, bank)
    first = dataset.limit(SEGMENTED)
    ntt.segment(first, BANK, FIELD, segmenter=standin, progress=False, cache=False)
    spread(dataset)
    return dataset


def spread(dataset: Any) -> None:
    """Give the labels of the segmented samples to all others, and their ids to the report."""
    from bson import ObjectId
    from pymongo import UpdateOne

    from ntt_plugin.dataset.database.run_record import keep_results
    from ntt_plugin.dataset.segmentation.report import load_segment_report, to_dict

    samples = dataset._sample_collection
    made = [sample[FIELD] for sample in samples.find({FIELD: {"$ne": None}}, {FIELD: 1})]
    updates = []
    for number, sample in enumerate(samples.find({FIELD: None}, {"_id": 1})):
        labels = made[number % len(made)]
        copies = [{**label, "_id": ObjectId()} for label in labels["detections"]]
        given = {**labels, "detections": copies}
        updates.append(UpdateOne({"_id": sample["_id"]}, {"$set": {FIELD: given}}))
    if updates:
        samples.bulk_write(updates)
    report = load_segment_report(dataset, FIELD)
    report.segmented_ids = dataset.values("id")
    report.segmented = len(report.segmented_ids)
    report.instances = dataset.count(f"{FIELD}.detections")
    keep_results(dataset, FIELD, report=to_dict(report))


def measure(dataset: Any, folder: Path, times: int) -> dict[str, Any]:
    """Seconds and bytes of each event."""
    import fiftyone as fo

    from tests.app.panel_driver import PanelOnScreen

    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "ntt").symlink_to(ROOT)
    fo.config.plugins_dir = str(plugins)
    # FiftyOne reads a plugin's files once; that is no part of the panel.
    panel = PanelOnScreen(None)
    panel.request["dataset_name"] = dataset.name
    bank, run = {"tab": "banks", "bank": BANK}, {"tab": "runs", "run": FIELD}
    sample = dataset.exists(FIELD).first()
    selection = {
        "label_id": sample[FIELD].detections[0].id,
        "sample_id": sample.id,
        "field": FIELD,
        "type": "default",
    }

    def send(method: str, **params: Any) -> Callable[[], None]:
        return lambda: panel.event(method, **params)

    def select() -> None:
        panel.request["selected_labels"] = [selection]
        panel.event("on_change_selected_labels")
        del panel.request["selected_labels"]

    events = {
        "open the panel": send("on_load"),
        "another dataset": send("on_change_dataset"),
        "open a bank": send("go", to=bank),
        "next page": send("go", to={**bank, "page": 1}),
        "flagged": send("go", to={**bank, "shown": "flagged"}),
        "negatives": send("go", to={**bank, "shown": "negatives"}),
        "one class": send("choose_class", value="class 7"),
        "a cell of the heat map": send("show_classes", x="class 1", y="class 2"),
        "show the references": send("show_references", bank=BANK),
        "select a prediction": select,
        "runs": send("go", to={"tab": "runs"}),
        "open a run": send("go", to=run),
        "scores by class": send("go", to={**run, "shown": "scores"}),
        "show a run": send("show_run", field=FIELD, patches=False),
    }
    found = {name: timed(event, panel, times) for name, event in events.items()}
    bare = dataset.clone()
    for name in bare.list_runs():
        bare.delete_run(name)
    bare.delete_sample_fields(["ground_truth", FIELD])
    panel.request["dataset_name"] = bare.name
    panel.event("on_change_dataset")
    found["no bank, no label"] = timed(send("refresh"), panel, times)
    return found


def timed(event: Callable[[], None], panel: Any, times: int) -> dict[str, Any]:
    """The first time, those after it, and the size of what travels."""
    seconds = []
    for _ in range(times + 1):
        began = time.perf_counter()
        event()
        seconds.append(time.perf_counter() - began)
    return {
        "cold_ms": round(1000 * seconds[0]),
        "warm_ms": round(1000 * statistics.median(seconds[1:])),
        "warm_slowest_ms": round(1000 * max(seconds[1:])),
        "state_bytes": len(json.dumps(panel.state)),
        "answer_bytes": len(json.dumps(panel.messages)),
    }


if __name__ == "__main__":
    main()
