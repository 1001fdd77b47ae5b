"""Changes of memory banks that are paused, overtaken and woken: is anything lost or wrong?

    python benchmarks/paused_banks.py --rounds 40

A process changes a bank and is stopped (SIGSTOP) before one of its commands to the database, for
longer than its lock lives. Meanwhile this process teaches the bank another class, or renames it.
Then the first one is woken. Lost: a bank, or a change that was reported as done, is gone in the
end. Wrong: a bank cannot be read, or holds what no order of the changes explains. Left: runs and
files in the database that belong to no bank, after one more change.

The package is the one on PYTHONPATH, if one is there, so that another version can be tried. Uses
a MongoDB of its own.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

DATASET = "ntt-paused-banks"
BEAT_SECONDS, STALE_SECONDS = 0.2, 0.8

State = dict[str, frozenset[str]]


def main() -> None:
    """Try all, and print what was lost."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    import tests.fiftyone_database  # noqa: F401  (its own mongod, before fiftyone)

    counts = try_all(parser.parse_args().rounds)
    print(", ".join(f"{name} {counts[name]}" for name in ("rounds", "lost", "wrong", "left")))
    sys.exit(1 if counts["lost"] or counts["wrong"] else 0)


def try_all(rounds: int) -> Counter[str]:
    """Pause changes at ``rounds`` moments, spread evenly over the commands of all changes."""
    with tempfile.TemporaryDirectory() as name:
        shorten_the_locks()
        folder = Path(name)
        dataset = prepare(folder)
        here, there = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn").Process
        worker = spawn(target=work, args=(there, str(folder)), daemon=True)
        worker.start()
        there.close()
        try:
            return _try_all(rounds, dataset, folder, here, int(worker.pid or 0))
        finally:
            # Ends a stopped process too.
            worker.kill()
            worker.join()
            dataset.delete()


def _try_all(rounds: int, dataset: Any, folder: Path, worker: Connection, pid: int) -> Counter[str]:
    moments = []
    for change in PAUSED:
        reset(dataset, folder)
        worker.send((change, None))
        _, commands = worker.recv()
        moments += [(change, command) for command in range(commands)]
    counts: Counter[str] = Counter()
    for number in range(rounds):
        change, command = moments[number * len(moments) // rounds]
        meanwhile = MEANWHILE[number % 4 == 3]
        reset(dataset, folder)
        worker.send((change, command))
        # Waited for without taking the exit status of the process, which multiprocessing needs.
        while ") T " not in Path(f"/proc/{pid}/stat").read_text() and not worker.poll(0.02):
            pass
        time.sleep(STALE_SECONDS * 1.3)
        done = [(meanwhile, make(meanwhile, dataset, folder))]
        os.kill(pid, signal.SIGCONT)
        done.append((change, worker.recv()[0]))
        verdict, why = judge(dataset, done)
        counts.update(["rounds", *([verdict] if verdict else [])])
        left = left_over(dataset)
        counts["left"] += left
        if verdict or left:
            print(f"{change} before command {command}, then {meanwhile}: {verdict} {why} {done}")
    return counts


def shorten_the_locks() -> None:
    """Let locks go stale in about a second."""
    from ntt_plugin.dataset.database import locks

    locks.BEAT_SECONDS, locks.STALE_SECONDS = BEAT_SECONDS, STALE_SECONDS


def prepare(folder: Path) -> Any:
    """A dataset of two images with a labelled square each."""
    import fiftyone as fo
    import numpy as np
    from PIL import Image

    samples = []
    for number, label in enumerate(("taught", "other")):
        path = folder / f"{number}.png"
        Image.fromarray(np.full((32, 32, 3), 90 * number, np.uint8)).save(path)
        mask = np.zeros((32, 32), bool)
        mask[8:24, 8:24] = True
        sample = fo.Sample(filepath=str(path))
        sample["truth"] = fo.Detections(detections=[fo.Detection.from_mask(mask, label=label)])
        samples.append(sample)
    dataset = fo.Dataset(DATASET)
    dataset.add_samples(samples, progress=False)
    return dataset


def make_bank(*labels: str) -> Any:
    """A bank of two random references of each class."""
    import torch

    from ntt_plugin.engine.bank.memory_bank import MemoryBank

    bank = MemoryBank(segmenter().fingerprint, "tiny")
    for label in labels:
        bank.add(label, torch.rand(2, 3))
    return bank


def segmenter() -> Any:
    """An engine whose feature of a reference is always the same."""
    import torch

    from ntt_plugin.engine.bank.memory_bank import Fingerprint
    from ntt_plugin.engine.recipe import Recipe

    return SimpleNamespace(
        recipe=Recipe.from_preset("tiny"),
        fingerprint=Fingerprint("colours", "colours", size=96, channels=3),
        reference_feature=lambda reference: torch.ones(3),
    )


def reset(dataset: Any, folder: Path) -> None:
    """Leave the banks A and B in the dataset, and the file of another one."""
    from ntt_plugin.dataset.banks import banks

    for name in banks.list_memory_banks(dataset):
        banks.delete_memory_bank(dataset, name)
    for name in ("A", "B"):
        banks.save_memory_bank(dataset, name, make_bank("first", "second", f"of{name}"))
    make_bank("imported").save(folder / "file.safetensors")


def _rename(state: State, new: str) -> State | None:
    found = {new if name == "A" else name: held for name, held in state.items()}
    return found if "A" in state else None


def _hold(state: State, edit: Callable[[frozenset[str]], frozenset[str]]) -> State | None:
    return {**state, "A": edit(state["A"])} if "A" in state else None


# What each change makes of the banks' classes; None where it cannot be made.
MODEL: dict[str, Callable[[State], State | None]] = {
    "update": lambda s: _hold(s, lambda held: held | {"taught"}),
    "save": lambda s: {**s, "A": frozenset({"saved"})},
    "rename": lambda s: _rename(s, "C"),
    "delete": lambda s: {n: h for n, h in s.items() if n != "A"} if "A" in s else None,
    "import": lambda s: {**s, "A": frozenset({"imported"})},
    "remove": lambda s: _hold(s, lambda held: held - {"second"}),
    "merge": lambda s: _hold(s, lambda held: held | s["B"]),
    "teach": lambda s: _hold(s, lambda held: held | {"other"}),
    "move": lambda s: _rename(s, "D"),
}
PAUSED, MEANWHILE = tuple(MODEL)[:7], tuple(MODEL)[7:]


def make(change: str, dataset: Any, folder: Path) -> str:
    """Make a change; "done", or the error."""
    from ntt_plugin.dataset.banks import banks, files
    from ntt_plugin.dataset.banks import edit as bank_edits

    def teach(label: str) -> None:
        bank_edits.update_memory_bank(
            dataset, "truth", "A", classes=[label], segmenter=segmenter(), progress=False
        )

    calls: dict[str, Callable[[], object]] = {
        "update": lambda: teach("taught"),
        "save": lambda: banks.save_memory_bank(dataset, "A", make_bank("saved"), overwrite=True),
        "rename": lambda: banks.rename_memory_bank(dataset, "A", "C"),
        "delete": lambda: banks.delete_memory_bank(dataset, "A"),
        "import": lambda: files.import_memory_bank(
            dataset, folder / "file.safetensors", "A", overwrite=True
        ),
        "remove": lambda: bank_edits.remove_references(dataset, "A", classes="second"),
        "merge": lambda: bank_edits.merge_memory_banks(dataset, ["A", "B"], "A", overwrite=True),
        "teach": lambda: teach("other"),
        "move": lambda: banks.rename_memory_bank(dataset, "A", "D"),
    }
    try:
        calls[change]()
    except Exception as error:
        return f"{type(error).__name__}: {error!s:.150}"
    return "done"


def judge(dataset: Any, done: list[tuple[str, str]]) -> tuple[str, str]:
    """What is lost or wrong, and what was found; empty if the changes explain it."""
    from ntt_plugin.dataset.banks import banks

    start = {n: frozenset({"first", "second", f"of{n}"}) for n in ("A", "B")}
    explained = []
    for order in itertools.permutations(name for name, result in done if result == "done"):
        state: State | None = start
        for name in order:
            state = None if state is None else MODEL[name](state)
        explained += [] if state is None else [state]
    try:
        found = {
            name: frozenset(banks.load_memory_bank(dataset, name).classes)
            for name in banks.list_memory_banks(dataset)
        }
    except Exception as error:
        return "wrong", f"{error!s:.200}"
    if found in explained:
        return "", ""
    expected = (explained or [start])[-1]
    missing = any(labels - found.get(name, set()) for name, labels in expected.items())
    return ("lost" if missing else "wrong"), str(found)


def left_over(dataset: Any) -> int:
    """Runs and files in the database beside those of the banks, after one more change."""
    import fiftyone.core.odm as foo

    from ntt_plugin.dataset.banks import banks

    time.sleep(STALE_SECONDS * 1.3)
    banks.save_memory_bank(dataset, "E", make_bank("last"))
    database = foo.get_db_conn()
    listed = len(database.datasets.find_one({"_id": dataset._doc.id})["runs"])
    runs = database.runs.count_documents({"_dataset_id": dataset._doc.id})
    return abs(runs - listed) + abs(database.fs.files.count_documents({}) - listed)


def work(pipe: Connection, folder: str) -> None:
    """Make the changes asked for, each stopped before one of its commands to the database."""
    import fiftyone as fo

    shorten_the_locks()
    dataset = fo.load_dataset(DATASET)
    while True:
        change, stop_at = pipe.recv()
        with commands_counted(stop_at) as seen:
            result = make(change, dataset, Path(folder))
        pipe.send((result, len(seen)))


@contextmanager
def commands_counted(stop_at: int | None) -> Iterator[list[str]]:
    """Count this process's commands to the database, and stop it before one of them."""
    from pymongo.synchronous import pool

    seen: list[str] = []
    kept = pool.Connection.command, pool.Connection.write_command

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def count(*args: Any, **kwargs: Any) -> Any:
            # Not those of the lock's heartbeat, which come at any moment.
            if not threading.current_thread().name.startswith(("ntt run lock", "pymongo")):
                seen.append("")
                if len(seen) - 1 == stop_at:
                    os.kill(os.getpid(), signal.SIGSTOP)
            return call(*args, **kwargs)

        return count

    connection: Any = pool.Connection
    connection.command, connection.write_command = map(counted, kept)
    try:
        yield seen
    finally:
        connection.command, connection.write_command = kept


if __name__ == "__main__":
    main()
