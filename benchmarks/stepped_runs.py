"""Runs whose steps can be counted, and that pause or end before one of them; for benchmarks."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

FIELD = "ntt"
BEAT_SECONDS, STALE_SECONDS = 0.2, 1.0
SAMPLES, AT_ONCE = 4, 2
WAYS = ("plain", "overwrite", "mask files", "overwrite into mask files")


class Steps:
    """The database commands and mask files of a run, counted from when it holds its lock."""

    def __init__(self) -> None:
        self.act: Callable[[], None] | None = None
        self.at = 0
        self.count = 0
        self.held_at: int | None = None
        self.writes: list[int] = []
        self._lock = threading.Lock()

    def step(self, writes: bool = True) -> None:
        """Count a step; at the chosen one, act before it is made."""
        with self._lock:
            self.count += 1
            if writes and self.held_at is not None:
                self.writes.append(self.count)
            due = self.act is not None and self.count == self.at
        if due and self.act is not None:
            self.act()

    def started(self, event: Any) -> None:
        """Before pymongo sends a command."""
        # The heartbeat comes at any moment, and FiftyOne asks for the server's version.
        if threading.current_thread().name == "ntt run lock":
            return
        self.step(event.command_name in ("update", "insert", "delete"))
        updates = event.command.get("updates") or [{}]
        taken = event.command.get("update") == "ntt_locks" and "schema" not in str(updates[0])
        if taken and self.held_at is None and "overtaken" not in str(updates[0].get("q")):
            self.held_at = self.count

    def succeeded(self, event: Any) -> None:
        """Nothing is done after a command."""

    def failed(self, event: Any) -> None:
        """Nothing is done after a command."""


STEPS = Steps()


def set_up(code: Path) -> None:
    """Import the attacked code, with a database of its own."""
    sys.path.insert(0, str(code))
    # Of forks: MongoDB's client opens its connections anew.
    warnings.filterwarnings("ignore")
    from pymongo import monitoring

    import tests.fiftyone_database  # noqa: F401  (before fiftyone)

    listener = type("Listener", (monitoring.CommandListener,), {})()
    for name in ("started", "succeeded", "failed"):
        setattr(listener, name, getattr(STEPS, name))
    monitoring.register(listener)

    import torch

    from ntt_plugin.dataset.database import locks
    from ntt_plugin.dataset.labels import mask_files

    # A process that is forked after torch has started threads hangs.
    torch.set_num_threads(1)
    locks.BEAT_SECONDS, locks.STALE_SECONDS = BEAT_SECONDS, STALE_SECONDS
    write = mask_files._write

    def stepping(*args: Any) -> None:
        STEPS.step()
        write(*args)

    mask_files._write = stepping
    # Checkouts before this one wrote each sample by itself.
    with suppress(ImportError):
        from ntt_plugin.dataset.segmentation import writing_behind

        # Small bulks, so that a run can be stopped between two of them.
        writing_behind.MOST_AT_ONCE = AT_ONCE


def make_dataset(name: str, folder: Path, samples: int = SAMPLES) -> Any:
    """Images of blocks and two banks of different classes, ``first`` and ``second``."""
    import fiftyone as fo

    from ntt_plugin.dataset.banks import banks
    from tests.dataset import scenes

    if fo.dataset_exists(name):
        fo.delete_dataset(name)
    folder.mkdir(parents=True, exist_ok=True)
    dataset = scenes.make_dataset(name, folder, samples)
    dataset.persistent = True
    segmenter = scenes.ColourSegmenter()
    bank = banks.build_memory_bank(dataset, "ground_truth", "first", segmenter=segmenter)
    bank.remove("red")
    banks.save_memory_bank(dataset, "second", bank)
    return dataset


def segment(name: str, bank: str, field: str = FIELD, **options: Any) -> Any:
    """One run, in this process."""
    import fiftyone as fo

    from ntt_plugin.dataset.segmentation.segment import segment as run
    from tests.dataset.scenes import ColourSegmenter

    dataset = fo.load_dataset(name)
    return run(dataset, bank, field, segmenter=ColourSegmenter(), progress=False, **options)


class Child:
    """A call in a process of its own."""

    def __init__(self, call: Callable[[], Any]) -> None:
        """Start it."""
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(writing)
            self._answer = reading
            return
        answer: dict[str, Any] = {}
        try:
            report = call()
            answer = {"said": str(report), "skipped": getattr(report, "skipped", 0)}
        except BaseException as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answer.update(steps=STEPS.count, held_at=STEPS.held_at, writes=STEPS.writes)
        os.write(writing, json.dumps(answer).encode())
        # Nothing that the parent registered for its own end is to be done here.
        os._exit(0)

    def stopped(self) -> bool:
        """Wait until it stops (True) or ends."""
        return os.WIFSTOPPED(os.waitpid(self.pid, os.WUNTRACED)[1])

    def answer(self) -> dict[str, Any]:
        """Its answer, after its end; empty if it was killed."""
        said = b"".join(iter(lambda: os.read(self._answer, 65536), b""))
        os.close(self._answer)
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:
            pass
        return dict(json.loads(said)) if said else {}


def acting(at: int, act: Callable[[], None], call: Callable[[], Any]) -> Callable[[], Any]:
    """A call that acts before its n-th step."""

    def do() -> Any:
        STEPS.__init__()  # type: ignore[misc]
        STEPS.at, STEPS.act = at, act
        return call()

    return do


def send(pid: int, number: int) -> Callable[[], None]:
    """Send a signal to a process; 0 is this one."""
    return lambda: os.kill(pid or os.getpid(), number)


def labels_of(name: str, field: str = FIELD) -> dict[str, str | None]:
    """What was computed of every sample, as a digest by path; None where there is nothing."""
    import fiftyone as fo

    dataset = fo.load_dataset(name)
    dataset.reload()
    found: dict[str, str | None] = {}
    for sample in dataset:
        held = sample[field] if dataset.has_field(field) else None
        found[sample.filepath] = None if held is None else _digest(held)
    return found


def _digest(held: Any) -> str:
    found = hashlib.sha256()
    for label in held.detections:
        try:
            mask = label.get_mask()
        except Exception as error:
            return f"no mask: {error}"
        made = (label.label, tuple(label.bounding_box), label.confidence, label.bank, mask.shape)
        found.update(repr(made).encode() + (mask != 0).tobytes())
    return found.hexdigest()


def forget(name: str) -> None:
    """Bring a dataset back to where no run has been."""
    import fiftyone as fo
    import fiftyone.core.odm as foo

    dataset = fo.load_dataset(name)
    dataset.reload()
    if dataset.has_field(FIELD):
        dataset.delete_sample_field(FIELD)
    for key in dataset.list_runs(method="ntt_segmentation"):
        dataset.delete_run(key)
    foo.get_db_conn()["ntt_locks"].delete_many({})


def options_of(way: str, folder: Path, overwrite: bool = True) -> dict[str, Any]:
    """The options of a run."""
    return {
        "overwrite": overwrite and way.startswith("overwrite"),
        "mask_dir": str(folder) if way.endswith("mask files") else None,
    }


def differing(found: dict[str, Any], expected: dict[str, Any]) -> int:
    """Samples with labels that are not those expected."""
    return sum(found[path] not in (None, labels) for path, labels in expected.items())


def missing(found: dict[str, Any]) -> int:
    """Samples without labels."""
    return sum(labels is None for labels in found.values())
