"""Where to keep proposals: files, SQLite or LMDB; and what a record costs to make and to read.

    python benchmarks/proposal_stores.py

Writes ``benchmarks/results/proposal_stores.json``. LMDB takes part if it is installed. Every
candidate checks a checksum on reading and knows which record was used longest ago.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
import random
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from store_candidates import CANDIDATES

from ntt_plugin.demo.streams import scoring_scene
from ntt_plugin.engine import Proposals, Segmenter
from ntt_plugin.engine.masks.packed import PackedMask
from ntt_plugin.engine.proposals.codec import decode_proposals, encode_proposals
from ntt_plugin.engine.proposals.mask_upsampling import upsample_masks
from ntt_plugin.engine.proposals.near_duplicates import distinct

RESULTS = Path(__file__).parent / "results" / "proposal_stores.json"
# Children of a server that has imported everything start in milliseconds, and without threads.
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["ntt_plugin.engine"])


def main() -> None:
    """Measure everything and write it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--scenes", type=int, default=20, help="demo scenes, for the codec")
    parser.add_argument("--kills", type=int, default=40, help="writers killed, of each candidate")
    parser.add_argument("--repeats", type=int, default=3, help="runs, of which the median counts")
    parser.add_argument("--folder", type=Path, help="where to write; the system's own if not given")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)

    names = [name for name in CANDIDATES if name != "lmdb" or importable("lmdb")]
    codec = measure_codec(options.scenes)
    print("codec", json.dumps(codec, indent=2))
    sizes = {
        "tiny": (codec["tiny"]["bytes"], 1000),
        "like paper": (codec["like paper"]["bytes"], 150),
    }
    stores: dict[str, Any] = {}
    for size_name, (size, count) in sizes.items():
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for _ in range(options.repeats):
            for name in names:
                with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                    runs[name].append(measure_store(name, Path(folder), size, count))
        stores[size_name] = {
            "record_bytes": size,
            "records": count,
            **{name: medians(found) for name, found in runs.items()},
        }
        print(size_name, json.dumps(stores[size_name], indent=2))
    killed = {name: kill_writers(name, options.kills, options.folder) for name in names}
    print("killed", killed)
    result = {
        "codec": codec,
        "stores": stores,
        "killed_writers": killed,
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        },
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n")


def measure_codec(scenes: int) -> dict[str, dict[str, Any]]:
    """What records cost: of the demo's scenes, and of as many proposals as a photo may have."""
    segmenter = Segmenter.from_preset("tiny")
    rows: list[dict[str, float]] = []
    masks: list[PackedMask | None] = []
    for index in range(scenes):
        image = scoring_scene(index).image
        propose, proposals = timed(lambda i=image: segmenter.propose(i), 1)
        p = proposals
        upsample, masks_found = timed(
            lambda p=p: upsample_masks(p.masks.logits, p.boxes, p.image_size)
        )
        drop, kept = timed(lambda p=p: distinct(p.masks.logits > 0, p.boxes, p.ious))
        masks += masks_found
        rows.append(
            {
                **measure_record(Proposals(p.ious, p.features, p.boxes, masks_found, p.image_size)),
                "bytes_of_logits": p.masks.logits.numel() * 4,
                "propose_ms": 1e3 * propose,
                "upsample_all_ms": 1e3 * upsample,
                "find_near_duplicates_ms": 1e3 * drop,
                "share_left_without_near_duplicates": len(kept) / len(p),
            }
        )
    many = Proposals(
        ious=torch.rand(400),
        boxes=torch.rand(400, 4),
        features=torch.nn.functional.normalize(torch.randn(400, 1024), dim=1),
        masks=[masks[index % len(masks)] for index in range(400)],
        image_size=p.image_size,
    )
    means = {key: statistics.fmean(row[key] for row in rows) for key in rows[0]}
    return {
        "tiny": {"scenes": scenes, **rounded(means)},
        "like paper": rounded(measure_record(many)),
    }


def measure_record(stored: Proposals) -> dict[str, float]:
    """Size of one record, and milliseconds to make it and to read it."""
    encode, data = timed(lambda: encode_proposals(stored))
    decode, read = timed(lambda: decode_proposals(data))
    decode_masks, _ = timed(lambda: list(read.masks))
    return {
        "proposals": len(stored.masks),
        "bytes": len(data),
        "bytes_of_features": stored.features.numel() * 4,
        "encode_ms": 1e3 * encode,
        "decode_without_masks_ms": 1e3 * decode,
        "decode_all_masks_ms": 1e3 * decode_masks,
    }


def measure_store(name: str, folder: Path, size: int, count: int) -> dict[str, float]:
    """Milliseconds a record, and how the bytes on disk compare to those of the payloads."""
    store = CANDIDATES[name](folder)
    keys = [key_of(index) for index in range(count)]
    payloads = [np.random.default_rng(index).bytes(size) for index in range(8)]
    write, _ = timed(lambda: [store.put(key, payloads[i % 8]) for i, key in enumerate(keys)], 1)
    on_disk = disk_bytes(folder)
    random.Random(0).shuffle(keys)
    read, found = timed(lambda: [len(store.get(key) or b"") for key in keys], 1)
    assert found == [size] * count
    store.remove(keys[::2])
    half = disk_bytes(folder)
    return {
        "write_ms": 1e3 * write / count,
        "read_ms": 1e3 * read / count,
        "two_processes_write_ms": 1e3 * in_two(write_many, name, folder / "two", size, count),
        "two_processes_read_ms": 1e3 * in_two(read_many, name, folder / "two", size, count),
        "disk_per_payload_byte": on_disk / (count * size),
        "disk_left_after_removing_half": half / on_disk,
    }


def in_two(work: Callable[..., None], name: str, folder: Path, size: int, count: int) -> float:
    """Seconds a record while two processes work at once."""
    pipes = []
    for part in range(2):
        ours, theirs = CHILDREN.Pipe()
        child = CHILDREN.Process(target=work, args=(theirs, name, folder, size, count, part))
        child.start()
        theirs.close()
        pipes.append((ours, child))
    for ours, _ in pipes:
        ours.recv()
    started = time.perf_counter()
    for ours, _ in pipes:
        ours.send("go")
    for ours, _ in pipes:
        ours.recv()
    seconds = (time.perf_counter() - started) / count
    for _, child in pipes:
        child.join()
    return seconds


def write_many(pipe: Connection, name: str, folder: Path, size: int, count: int, part: int) -> None:
    """Write every second record."""
    store, payload = CANDIDATES[name](folder), os.urandom(size)
    pipe.send("ready")
    pipe.recv()
    for index in range(part, count, 2):
        store.put(key_of(index), payload)
    pipe.send("done")


def read_many(pipe: Connection, name: str, folder: Path, size: int, count: int, part: int) -> None:
    """Read every second record."""
    store = CANDIDATES[name](folder)
    pipe.send("ready")
    pipe.recv()
    for index in range(part, count, 2):
        assert len(store.get(key_of(index)) or b"") == size
    pipe.send("done")


def kill_writers(name: str, kills: int, folder: Path | None) -> dict[str, int]:
    """Kill -9 a writer again and again: records that it said were stored must all be there."""
    chance = random.Random(1)
    said: set[str] = set()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        for kill in range(kills):
            ours, theirs = CHILDREN.Pipe()
            child = CHILDREN.Process(target=write_for_ever, args=(theirs, name, Path(place), kill))
            child.start()
            theirs.close()
            said.add(ours.recv())
            time.sleep(chance.uniform(0, 0.05))
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            said.update(drain(ours))
            child.join()
        store = CANDIDATES[name](Path(place))
        lost = 0
        for key in said:
            payload = store.get(key)
            lost += payload is None or bytes(payload) != payload_of(key)
    return {"kills": kills, "records_said_stored": len(said), "lost_or_damaged": lost}


def write_for_ever(pipe: Connection, name: str, folder: Path, run: int) -> None:
    """Write records, and say which are stored, until killed."""
    store = CANDIDATES[name](folder)
    for index in range(10**9):
        key = key_of(run * 10**6 + index)
        if store.put(key, payload_of(key)):
            pipe.send(key)


def drain(pipe: Connection) -> Iterator[str]:
    """What a killed child had sent."""
    with suppress(EOFError, OSError):
        while True:
            yield pipe.recv()


def payload_of(key: str) -> bytes:
    """200 KB that follow from a key."""
    return hashlib.blake2b(key.encode()).digest() * 3200


def key_of(index: int) -> str:
    """A key, spread like real ones."""
    return hashlib.blake2b(str(index).encode(), digest_size=32).hexdigest()


def timed(work: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Median seconds, and what came out."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), found


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return rounded({key: statistics.median(run[key] for run in runs) for key in runs[0]})


def rounded(figures: dict[str, float]) -> dict[str, Any]:
    """Figures as they are written: bytes whole."""
    return {
        key: round(value) if key.startswith("bytes") else round(value, 4)
        for key, value in figures.items()
    }


def disk_bytes(folder: Path) -> int:
    """What the files of a folder take on the disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def importable(module: str) -> bool:
    """Whether a module is installed."""
    try:
        __import__(module)
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    main()
