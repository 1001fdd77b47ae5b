"""Whether workers write what one process writes: every byte but ids, in every kind of run.

    python benchmarks/equal_labels.py                     # 200 scenes; 1, 2 and 4 workers
    python benchmarks/equal_labels.py --scenes 20 --workers 2 --places local

Demo scenes with the tiny networks, segmented by one process and by workers, of this machine and of
a Ray cluster on it: without kept proposals, with a store that is filled, with one that is full,
replacing the labels of another bank, and with masks in files. The stored documents are compared
as BSON, without the ids of labels and the run's own token; mask files byte by byte.

Uses a MongoDB of its own, which it ends; writes ``benchmarks/results/equal_labels.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.scale import PLACES, running_cluster, workers_of  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "equal_labels.json"
KINDS = ("plain", "filling a store", "from a full store", "overwriting", "masks in files")
STORE_BYTES = 10**9


def main() -> None:
    """Compare, print and write the counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--workers", nargs="*", type=int, default=(1, 2, 4))
    parser.add_argument("--places", nargs="*", choices=PLACES, default=PLACES)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    # Before the networks' code: workers and the process beside them have one thread each.
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

    import tests.fiftyone_database  # noqa: F401  (before fiftyone)

    os.environ["FIFTYONE_SHOW_PROGRESS_BARS"] = "false"
    with tempfile.TemporaryDirectory(prefix="ntt_equal_") as folder:
        result = compared(options, Path(folder))
    options.output.write_text(json.dumps(result, indent=1) + "\n")


def compared(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Runs of one process, then those of workers beside them."""
    import ntt_plugin as ntt
    from ntt_plugin.demo.dataset import make_dataset

    dataset = make_dataset(folder / "images", pool=10, targets=options.scenes, name="ntt-equal")
    pool, scenes = dataset.match_tags("pool"), dataset.match_tags("target")
    banks = {}
    for name, shots in (("bank", 2), ("other", 1)):
        ntt.sample_references(pool, "ground_truth", shots=shots, tag=name)
        options_of_bank = {"tag": name, "preset": "tiny", "device": "cpu"}
        banks[name] = ntt.build_memory_bank(pool, "ground_truth", name, **options_of_bank)
    alone = runs(scenes, banks, "alone", folder, {})
    result: dict[str, Any] = {
        "scenes": len(scenes),
        "labels": scenes.count("plain_alone.detections"),
    }
    result["workers"] = {}
    for place in options.places:
        with running_cluster(max(options.workers) if place == "ray" else 0):
            for count in options.workers:
                began = time.monotonic()
                name = f"{place}_{count}"
                found = runs(scenes, banks, name, folder, {"workers": workers_of(place, count)})
                differ = {kind: differing(found[kind], alone[kind]) for kind in KINDS}
                result["workers"][name] = {"scenes_that_differ": differ}
                print(name, differ, f"{time.monotonic() - began:.0f} s", flush=True)
    dataset.delete()
    return result


def runs(
    scenes: Any, banks: Mapping[str, Any], name: str, folder: Path, options: Mapping[str, Any]
) -> dict[str, dict[str, bytes]]:
    """The documents of each kind of run, by image file."""
    import ntt_plugin as ntt
    from ntt_plugin.engine.proposals.store import ProposalStore

    def segment(field: str, bank: str, **more: Any) -> dict[str, bytes]:
        ntt.segment(scenes, banks[bank], field, device="cpu", **options, **more)
        return stored(scenes, field)

    store = ProposalStore(folder / f"store_{name}", STORE_BYTES)
    masks = folder / f"masks_{name}"
    return {
        "plain": segment(f"plain_{name}", "bank", cache=False),
        "filling a store": segment(f"filled_{name}", "bank", cache=store),
        "from a full store": segment(f"kept_{name}", "other", cache=store),
        "overwriting": segment(f"filled_{name}", "other", cache=store, overwrite=True),
        "masks in files": segment(f"files_{name}", "bank", cache=store, mask_dir=masks),
    }


def stored(scenes: Any, field: str) -> dict[str, bytes]:
    """What a field holds of each image, as BSON: without ids, mask files in place of paths."""
    import bson

    from ntt_plugin.worker.labels.made_labels import read_made

    found = {}
    for document in scenes._dataset._sample_collection.find({}, {"filepath": 1, field: 1}):
        held = document.get(field)
        if held is None:
            continue
        digests = read_made(held.pop("made"))
        del held["writer"]
        held["made"] = [digests[str(label.pop("_id"))] for label in held["detections"]]
        for label in held["detections"]:
            if path := label.pop("mask_path", None):
                label["mask"] = Path(path).read_bytes()
                # It depends on the file's path.
                held["made"] = []
        found[document["filepath"]] = bson.encode(held)
    return found


def differing(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> int:
    """Number of images whose documents are not the same bytes, or that one of the two lacks."""
    return sum(one.get(path) != other.get(path) for path in {*one, *other})


if __name__ == "__main__":
    main()
