"""Host memory over 1,000 demo images: a first pass that fills the cache, and one with other labels.

    python benchmarks/memory.py

``ntt.segment`` runs with the tiny networks, as it does for whoever calls it. The resident memory
of the process is read after every tenth image. Growth is that from the second hundred images, when
everything has been loaded and allocated once, to the last hundred.

Uses a MongoDB of its own, which it ends, and writes ``benchmarks/results/memory.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from relabel import banks, write_images

from ntt_plugin.engine import Segmenter
from ntt_plugin.engine.proposals.store import ProposalStore

RESULTS = Path(__file__).parent / "results" / "memory.json"


def main() -> None:
    """Run twice over the images and write what memory did."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    import tests.fiftyone_database  # noqa: F401  (before fiftyone)

    segmenter = Segmenter.from_preset("tiny")
    with tempfile.TemporaryDirectory(prefix="ntt_memory_") as name:
        passes = measure(segmenter, Path(name), options.images)
    result = {
        "preset": "tiny",
        "images": options.images,
        **passes,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, device {segmenter.device}",
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(segmenter: Segmenter, folder: Path, count: int) -> dict[str, Any]:
    """A first pass, then one with a changed bank, over the same images."""
    import fiftyone as fo

    from ntt_plugin.dataset.segmentation.segment import segment

    first, changed = banks(segmenter)
    paths = write_images(folder, count)
    dataset = fo.Dataset("ntt-memory")
    dataset.add_samples([fo.Sample(filepath=str(path)) for path in paths], progress=False)
    store, process = ProposalStore(folder / "kept", 10**10), psutil.Process()
    found = {}
    for name, bank in (("first_pass", first), ("changed_bank", changed)):
        seen: list[float] = []

        def look(bar: Any, seen: list[float] = seen) -> None:
            if bar.iteration % 10 == 0:
                seen.append(process.memory_info().rss / 2**20)

        report = segment(dataset, bank, name, segmenter=segmenter, cache=store, progress=look)
        found[name] = {"from_cache": report.from_cache, "seconds": round(report.seconds, 1)}
        found[name] |= growth(seen)
    return found


def growth(seen: list[float]) -> dict[str, float]:
    """Resident memory, MiB, read evenly through a run; from its second tenth to its last."""
    tenth = max(1, len(seen) // 10)
    early, late = statistics.median(seen[tenth : 2 * tenth]), statistics.median(seen[-tenth:])
    return {
        "rss_mib_of_second_tenth": round(early, 1),
        "rss_mib_of_last_tenth": round(late, 1),
        "rss_mib_at_most": round(max(seen), 1),
        "growth": round(late / early - 1, 4),
    }


if __name__ == "__main__":
    main()
