"""All that a worker needs to know of a run, as one message; and a worker's start from it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import bson

from ...engine.bank.memory_bank import MemoryBank
from ...engine.recipe import Recipe
from ...errors import StoreError, WorkerError
from ..handler import quick_imports
from ..labels.label_bytes import Stamp
from .cached_proposals import CachedProposals
from .downloads import downloads_told
from .former_store import StoreWithFormer
from .image_tasks import Task, filling_boxes, placing_suggestions, proposing, segmenting
from .networks import SegmenterLike
from .task_handler import TaskHandler

HANDLER = ".tasks.spec:make_handler"
"""The name of ``make_handler``, as workers are told it."""

# The package's own __init__ is above this floor; it is imported whenever this module is.
VERSION: str = sys.modules[str(__package__).rpartition(".worker.")[0]].__version__

SEGMENT, PROPOSE, BOXES, SUGGEST = "segment", "propose", "boxes", "suggest"


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker is started with.

    Attributes:
        task: ``segment``, ``propose``, ``boxes`` or ``suggest``.
        recipe: the constants to run with, ``point_batch`` among them.
        version: of this package, where the run was started.
        device: where to run; the best there is if None.
        zoo_dirs: folders to look for networks' files in before anything is downloaded.
        bank: the memory bank's file; None for tasks without one.
        bank_name: the bank's name.
        stamp: what is written with labels; None if the task makes none.
        store: folder of kept proposals; None for none.
        store_bytes: its budget; chosen by the disk if None.
        former_store: another folder where proposals may lie, of former versions; None for none.
        paths: how paths begin where the run was started, and how they begin here.
        look_at: files that must be readable, as the dataset names them.
    """

    task: str
    recipe: Recipe
    version: str = VERSION
    device: str | None = None
    zoo_dirs: Sequence[str] = ()
    bank: bytes | None = None
    bank_name: str = ""
    stamp: Stamp | None = None
    store: str | None = None
    store_bytes: int | None = None
    former_store: str | None = None
    paths: Mapping[str, str] = field(default_factory=dict)
    look_at: Sequence[str] = ()

    def to_bytes(self) -> bytes:
        """The message."""
        lists = {"look_at": list(self.look_at), "zoo_dirs": list(self.zoo_dirs)}
        return bson.encode({**asdict(self), **lists})

    @classmethod
    def from_bytes(cls, data: bytes) -> WorkerSpec:
        """The spec that ``to_bytes`` gave.

        Raises:
            WorkerError: it comes from another version.
        """
        values = bson.decode(data)
        if values.get("version") != VERSION:
            raise WorkerError(
                f"{_host()} has version {VERSION} of No Time To Train and the run was started by "
                f"version {values.get('version')}; install the same version on both."
            )
        stamp = values["stamp"]
        values["stamp"] = None if stamp is None else Stamp(**stamp)
        values["recipe"] = Recipe(**values["recipe"])
        return cls(**values)


def make_handler(data: bytes) -> TaskHandler:
    """A worker's handler, from the bytes of its spec.

    Raises:
        NttError: this worker cannot do the work; says why, and what to do.
    """
    spec = WorkerSpec.from_bytes(data)
    path_of = mapping_of(spec.paths)
    # Before the networks' code, which takes seconds to import: what is missing is told at once.
    # Whoever only makes a spec needs none of it either.
    require_readable([path_of(path) for path in spec.look_at])
    with quick_imports():
        from ...engine.segmenter import Segmenter
    with downloads_told(_host(), spec.recipe.networks[:2]):
        segmenter = Segmenter.from_preset(
            spec.recipe, device=spec.device, zoo_dirs=[Path(folder) for folder in spec.zoo_dirs]
        )
    bank = None if spec.bank is None else MemoryBank.from_bytes(spec.bank)
    if bank is not None:
        bank.require_encoder(segmenter.fingerprint)
    store = None
    if spec.store is not None:
        former = None if spec.former_store is None else path_of(spec.former_store)
        store = StoreWithFormer(path_of(spec.store), spec.store_bytes, former)
    cached = CachedProposals(segmenter, store)
    if spec.task == PROPOSE and segmenter.upstream is None:
        raise StoreError("The segmenter's weights are not known, so its proposals cannot be kept.")
    task = _task(spec, segmenter, bank, cached)
    needs_proposals = spec.task != BOXES
    return TaskHandler(
        task, segmenter, cached if needs_proposals else None, spec.stamp, path_of=path_of
    )


def mapping_of(paths: Mapping[str, str]) -> Callable[[str], str]:
    """A function that gives a path as this machine has it.

    Of several beginnings that fit, the longest counts; whole folders' names only.
    """
    beginnings = sorted(paths, key=len, reverse=True)

    def path_of(path: str) -> str:
        for beginning in beginnings:
            folder = beginning.rstrip("/\\")
            rest = path[len(folder) :]
            if path.startswith(folder) and (not rest or rest[0] in "/\\"):
                return paths[beginning].rstrip("/\\") + rest
        return path

    return path_of


def require_readable(paths: Sequence[str]) -> None:
    """Make sure that files can be read here.

    Raises:
        WorkerError: one cannot; names this machine and the file.
    """
    for path in paths:
        try:
            with open(path, "rb") as file:
                file.read(1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise WorkerError(
                f"{_host()} cannot read {path} ({reason}); mount it there or give paths=."
            ) from error


def _task(
    spec: WorkerSpec, segmenter: SegmenterLike, bank: MemoryBank | None, cached: CachedProposals
) -> Task:
    if spec.task == PROPOSE:
        return proposing(cached)
    if spec.task == BOXES:
        return filling_boxes(segmenter)
    assert bank is not None
    make = {SEGMENT: segmenting, SUGGEST: placing_suggestions}[spec.task]
    return make(spec.bank_name, bank, spec.recipe, cached)


def _host() -> str:
    return platform.node() or f"process {os.getpid()}"
