"""What a changed memory bank costs: a first pass over images against a pass over cached proposals.

    python benchmarks/relabel.py

Two figures, apart from one another. The engine's: an image's file to instances, without FiftyOne.
End to end: ``ntt.segment`` from its call to its report, with all that is read from the database
and written to it. In both, the changed bank's results are compared, bit for bit, with those that
a run without cached proposals gives; the script ends with an error if any differs.

Uses a MongoDB of its own, which it ends, and writes ``benchmarks/results/relabel.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ntt_plugin.demo.streams import reference_scene, scoring_scene
from ntt_plugin.engine import Instances, MemoryBank, Proposals, Reference, Segmenter, match
from ntt_plugin.engine.device.threads import LoadMeter, threads_by_load
from ntt_plugin.engine.images.load import read_image
from ntt_plugin.engine.proposals.cache import ProposalCache, image_digest
from ntt_plugin.engine.proposals.codec import encode_proposals
from ntt_plugin.engine.proposals.store import ProposalStore

RESULTS = Path(__file__).parent / "results" / "relabel.json"
T = TypeVar("T")


def main() -> None:
    """Measure both and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--device", default=None)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    import tests.fiftyone_database  # noqa: F401  (before fiftyone)

    segmenter = Segmenter.from_preset(options.preset, device=options.device)
    first, changed = banks(segmenter)
    with (
        tempfile.TemporaryDirectory(prefix="ntt_relabel_") as name,
        threads_by_load(AllCores()),
    ):
        folder = Path(name)
        paths = write_images(folder, options.images)
        engine = measure_engine(segmenter, first, changed, paths, folder / "engine")
        print(json.dumps(engine, indent=1))
        whole = measure_segment(segmenter, first, changed, paths, folder / "whole")
    result = {
        "preset": options.preset,
        "images": len(paths),
        "engine": engine,
        "end_to_end": whole,
        "results_equal_to_a_cold_run": True,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, device {segmenter.device}",
        "threads": torch.get_num_threads(),
        "processes_that_wanted_them": round(os.getloadavg()[0], 1),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


class AllCores(LoadMeter):
    """Has all passes use all cores: another number of threads changes last bits of some images."""

    def free_cores(self) -> float:
        """All of the machine's."""
        return float(os.cpu_count() or 1)


def banks(segmenter: Segmenter) -> tuple[MemoryBank, MemoryBank]:
    """A bank, and the same with references, classes and negatives changed."""
    first = segmenter.build_bank(references(0, 40), progress=False)
    changed = MemoryBank.from_bytes(first.to_bytes())
    labels = changed.classes
    changed.remove(labels[0])
    changed.remove_reference(changed.references(labels[1])[0].id)
    changed.merge(segmenter.build_bank(references(40, 50), progress=False))
    changed.add_negatives(labels[3], changed.features(labels[2])[:1])
    return first, changed


def references(start: int, stop: int) -> list[Reference]:
    """The objects of some reference scenes."""
    scenes = [reference_scene(index) for index in range(start, stop)]
    return [
        Reference(scene.image, scene.mask(number), entry.name)
        for scene in scenes
        for number, entry in enumerate(scene.classes)
    ]


def write_images(folder: Path, count: int) -> list[Path]:
    """The demo's scoring scenes as files."""
    paths = [folder / f"{index:04}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        Image.fromarray(scoring_scene(index).image).save(path, quality=92)
    return paths


def measure_engine(
    segmenter: Segmenter,
    first: MemoryBank,
    changed: MemoryBank,
    paths: list[Path],
    folder: Path,
) -> dict[str, Any]:
    """Milliseconds an image of each step, medians over the images."""
    assert segmenter.upstream is not None
    cache = ProposalCache(ProposalStore(folder, 10**10), segmenter.upstream, segmenter.fingerprint)
    recipe, steps, cold = segmenter.recipe, Steps(), []
    segmenter.propose(paths[0])
    for path in paths:
        with steps.of("first pass"):
            image = steps.timed("read", lambda p=path: read_image(p))
            fresh = steps.timed("propose", lambda i=image: segmenter.propose(i))
            steps.timed("match", lambda f=fresh: drawn(match(f, first, recipe)))
        # In a run these two are done beside computing.
        data = steps.timed("encode", lambda f=fresh: encode_proposals(f))
        steps.timed("encode and write", lambda f=fresh, p=path: cache.save(image_digest(p), f))
        steps.note("record, bytes", len(data))
        steps.note("proposals", len(fresh))
        cold.append(summary(match(fresh, changed, recipe)))
    match(load(cache, paths[0]), changed, recipe)
    for path, expected in zip(paths, cold, strict=True):
        with steps.of("changed bank"):
            digest = steps.timed("digest of the file", lambda p=path: image_digest(p))
            kept = steps.timed("look up and decode", lambda d=digest: cache.load(d))
            found = steps.timed(
                "match with the changed bank", lambda k=kept: drawn(match(k, changed, recipe))
            )
        steps.note("instances", len(found))
        if summary(found) != expected:
            raise SystemExit(f"{path}: cached proposals gave other instances than fresh ones.")
    medians = steps.medians()
    return {
        "median_ms": medians,
        "times_faster": round(medians["first pass"] / medians["changed bank"], 1),
        "times_faster_in_cpu_time": round(
            medians["first pass, cpu"] / medians["changed bank, cpu"], 1
        ),
    }


def measure_segment(
    segmenter: Segmenter,
    first: MemoryBank,
    changed: MemoryBank,
    paths: list[Path],
    folder: Path,
) -> dict[str, Any]:
    """Milliseconds a sample of whole runs of ``segment``."""
    import fiftyone as fo

    from ntt_plugin.dataset.segmentation.segment import segment

    dataset = fo.Dataset("ntt-relabel")
    dataset.add_samples([fo.Sample(filepath=str(path)) for path in paths], progress=False)
    store = ProposalStore(folder, 10**10)
    seconds, cpu, reports = {}, {}, {}
    for field, bank, cache in (
        ("first", first, store),
        ("changed", changed, store),
        ("again", first, store),
        ("without", changed, False),
    ):
        began, used = time.perf_counter(), time.process_time()
        reports[field] = segment(
            dataset, bank, field, segmenter=segmenter, cache=cache, progress=False
        )
        cpu[field] = 1e3 * (time.process_time() - used) / len(paths)
        seconds[field] = 1e3 * (time.perf_counter() - began) / len(paths)
    counts = [reports[field].from_cache for field in seconds]
    if counts != [0, len(paths), len(paths), 0]:
        raise SystemExit(f"Runs took {counts} images from the cache.")
    if labels(dataset, "changed") != labels(dataset, "without"):
        raise SystemExit("Kept proposals gave other labels than a run without them.")
    return {
        "ms_a_sample": {field: round(value, 2) for field, value in seconds.items()},
        "cpu_ms_a_sample": {field: round(value, 2) for field, value in cpu.items()},
        "labels_a_sample": round(reports["changed"].instances / len(paths), 1),
        "times_faster": round(seconds["first"] / seconds["changed"], 1),
        "times_faster_in_cpu_time": round(cpu["first"] / cpu["changed"], 1),
        "filling_costs": round(seconds["first"] / seconds["without"] - 1, 3),
    }


class Steps:
    """Times of steps, by name."""

    def __init__(self) -> None:
        """Nothing timed yet."""
        self._found: dict[str, list[float]] = {}
        self._name, self._began, self._cpu = "", 0.0, 0.0

    def of(self, name: str) -> Steps:
        """Time a block, of wall clock and of this process's CPU."""
        self._name = name
        return self

    def __enter__(self) -> None:
        """Begin."""
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        """End."""
        self.note(self._name, 1e3 * (time.perf_counter() - self._began))
        self.note(f"{self._name}, cpu", 1e3 * (time.process_time() - self._cpu))

    def timed(self, name: str, call: Callable[[], T]) -> T:
        """Time a call."""
        began = time.perf_counter()
        found = call()
        self.note(name, 1e3 * (time.perf_counter() - began))
        return found

    def note(self, name: str, value: float) -> None:
        """One more value."""
        self._found.setdefault(name, []).append(value)

    def medians(self) -> dict[str, float]:
        """The median of each."""
        return {name: round(statistics.median(found), 3) for name, found in self._found.items()}


def load(cache: ProposalCache, path: Path) -> Proposals:
    """What is kept of an image."""
    kept = cache.load(image_digest(path))
    assert kept is not None
    return kept


def drawn(instances: Instances) -> Instances:
    """Instances whose masks were asked for, as whoever wants them does."""
    list(instances.masks)
    return instances


def summary(instances: Instances) -> str:
    """A digest of every bit of an image's instances."""
    digest = hashlib.sha256(repr((instances.labels, instances.references)).encode())
    arrays = (instances.boxes, instances.scores, instances.margins, instances.proposal_ious)
    for array in (*arrays, *instances.masks):
        digest.update(array.tobytes())
    return digest.hexdigest()


def labels(dataset: Any, field: str) -> list[Any]:
    """All that a run wrote but ids."""
    names = ("label", "bounding_box", "confidence", "margin", "proposal_iou", "reference")
    return [
        [
            (*(label[name] for name in names), label.mask.tobytes())
            for label in sample[field].detections
        ]
        for sample in dataset.select_fields(field)
    ]


if __name__ == "__main__":
    main()
