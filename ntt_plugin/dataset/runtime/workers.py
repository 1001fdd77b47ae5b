"""A run's work done by workers: processes of this machine, or of a cluster."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import bson
import fiftyone as fo
import torch

from ...engine.bank.memory_bank import MemoryBank
from ...engine.proposals.store import ProposalStore
from ...engine.recipe import Recipe
from ...errors import DatasetError, WorkerError
from ...worker.dispatcher import Dispatcher, LostItem
from ...worker.labels.label_bytes import Stamp
from ...worker.local_processes import LocalPool, cores_here, gpus_here
from ...worker.messages import Item, Result, SampleError
from ...worker.pool import Pool
from ...worker.ray_cluster import Ray
from ...worker.tasks.former_store import StoreWithFormer
from ...worker.tasks.spec import HANDLER, WorkerSpec, require_readable
from ..database.fiftyone_internals import stream
from ..samples.checks import is_whole, quoted
from .work import Told

logger = logging.getLogger(__name__)

_CORES_EACH = 4
# Without a result for this long, whoever watches the run is asked whether it is to go on.
_WAITING_SECONDS = 1.0
# Paths of samples that are looked at before workers start, and files that a worker has to read.
_LOOKED_AT, _TRIED = 50, 3
_CLOUD = ("s3://", "gs://", "azure://", "http://", "https://")


Workers = int | str | Ray | None
"""None for this process, a number of local processes, ``"auto"``, or a cluster."""


def require_usable(workers: Workers, device: Any, segmenter: Any) -> None:
    """Make sure that an argument ``workers`` can be used, and fits the other arguments.

    Raises:
        DatasetError: says what to give in its place.
    """
    if workers is None:
        return
    is_number = is_whole(workers)
    if is_number and workers < 1:  # type: ignore[operator]
        raise DatasetError(f"{workers} workers cannot work; give 1 or more, or leave workers out.")
    is_auto = isinstance(workers, str) and workers == "auto"
    if not (is_number or is_auto or isinstance(workers, Ray)):
        raise DatasetError(
            f"workers={quoted(workers)} is neither a number, 'auto' nor ntt.Ray(...); leave it out "
            "to work in this process."
        )
    if sys.platform == "win32":
        raise DatasetError("Workers do not run on Windows; leave workers out, or use WSL.")
    if segmenter is not None:
        raise DatasetError(
            "A segmenter in memory cannot go to workers; give preset, device and batch_size, or "
            "leave workers out."
        )
    if device is not None and torch.device(device).index is not None:
        raise DatasetError(
            f"device={str(device)!r} is one device, and each worker takes its own; give "
            f"device={torch.device(device).type!r}, or leave workers or device out."
        )


class WorkByWorkers:
    """Work by local processes or a cluster's; results come in any order."""

    def __init__(self, workers: Workers, spec: WorkerSpec) -> None:
        """Start nothing yet; ``require_usable`` has passed the workers."""
        self.told = Told()
        self.waiting: Callable[[], None] = lambda: None
        self._workers = workers
        self._spec = spec
        self._said: dict[str, None] = {}
        self._prepared: Dispatcher | None = None
        self._heard = 0.0

    def prepare(self, most: int) -> None:
        """Start workers, and wait until one is ready; ``results`` then gives them the first items.

        Raises:
            WorkerError: none can start here, or the cluster cannot be reached; says why.
        """
        if most:
            dispatcher = self._dispatcher()
            dispatcher.prepare(most)
            self._prepared = dispatcher

    def results(self, items: Iterator[Item]) -> Generator[Result, None, None]:
        """A result for each item; leaving it early ends the workers.

        Raises:
            WorkerError: no worker can do the work; says why.
        """
        under_way: dict[str, str] = {}

        def messages() -> Iterator[tuple[str, bytes]]:
            for item in items:
                under_way[item.sample_id] = item.filepath
                yield item.sample_id, item.to_bytes()

        # No worker is started for nothing.
        if (first := next(items, None)) is None:
            return
        items = chain([first], items)
        dispatcher, self._prepared = self._prepared or self._dispatcher(), None
        self._heard = time.monotonic()
        for key, data in dispatcher.run(messages()):
            self._heard = time.monotonic()
            filepath = under_way.pop(key, "")
            if isinstance(data, LostItem):
                yield Result(key, filepath, error=SampleError(data.reason))
            else:
                yield Result.from_bytes(data)
        for words in dispatcher.last_words:
            self.told.hear(bson.decode(words))

    def finish(self) -> list[str]:
        """What a person should know of the workers, a sentence each."""
        if self._prepared is not None:  # nothing was left to do
            self._prepared.close()
            self._prepared = None
        return [*self._said, *self.told.notes()]

    def _dispatcher(self) -> Dispatcher:
        self._heard = time.monotonic()
        return Dispatcher(self._pool(), tell=self._tell, tick=self._tick)

    def _tick(self) -> None:
        if time.monotonic() - self._heard >= _WAITING_SECONDS:
            self._heard = time.monotonic()
            self.waiting()

    def _pool(self) -> Pool:
        if isinstance(self._workers, Ray):
            from ...worker.ray_actors import RayPool

            spec = replace(self._spec, paths=dict(self._workers.paths))
            return RayPool(self._workers, HANDLER, spec.to_bytes())
        gpus = gpus_here() if self._spec.device in (None, "cuda") else []
        count = self._workers if is_whole(self._workers) else len(gpus)
        size = int(count or max(1, cores_here() // _CORES_EACH))
        return LocalPool(size, HANDLER, self._spec.to_bytes(), gpus)

    def _tell(self, sentence: str) -> None:
        logger.warning(sentence)
        if len(self._said) < _LOOKED_AT:
            self._said[sentence] = None


def work_by(
    workers: Workers,
    images: Any,
    task: str,
    recipe: Recipe,
    *,
    device: str | torch.device | None,
    batch_size: int | None,
    stamp: Stamp | None = None,
    bank: MemoryBank | None = None,
    bank_name: str = "",
    store: ProposalStore | None = None,
) -> WorkByWorkers:
    """Workers for a task on images.

    Raises:
        DatasetError: the images do not lie in files.
    """
    if batch_size is not None:
        recipe = replace(recipe, point_batch=batch_size)
    former = store.former if isinstance(store, StoreWithFormer) else None
    spec = WorkerSpec(
        task,
        recipe,
        device=None if device is None else str(device),
        zoo_dirs=[str(Path(fo.config.model_zoo_dir).absolute())],
        bank=None if bank is None else bank.to_bytes(),
        bank_name=bank_name,
        stamp=stamp,
        store=None if store is None else str(store.folder.absolute()),
        store_bytes=None if store is None else store.max_bytes,
        former_store=None if former is None else str(former.folder.absolute()),
        look_at=_some_files(images, isinstance(workers, Ray)),
    )
    return WorkByWorkers(workers, spec)


def _some_files(images: Any, elsewhere: bool) -> Sequence[str]:
    """A few of the images' files that a worker has to read: those that can be read here.

    Args:
        images: samples, or a view of them.
        elsewhere: whether workers run on other machines. These may have the files where this one
            has none of them, so that they have to read the first ones then.
    """
    found = stream(images, [{"$limit": _LOOKED_AT}, {"$project": {"filepath": 1}}])
    paths = [path for entry in found if isinstance(path := entry.get("filepath"), str)]
    for path in paths:
        if path.startswith(_CLOUD):
            raise DatasetError(
                f"The image {quoted(path, 200)} is in the cloud, which workers cannot read; "
                "download the images or mount them, and give the samples those paths."
            )
    # A file that cannot be read here either fails alone, as without workers.
    here = list(islice(filter(_is_readable, paths), _TRIED))
    return here or (paths[:_TRIED] if elsewhere else [])


def _is_readable(path: str) -> bool:
    # A pipe would be waited for. Unlike Path.is_file, this says no to all that cannot be looked at.
    if not os.path.isfile(path):
        return False
    try:
        require_readable([path])
    except WorkerError:
        return False
    return True
