"""What the dispatcher needs of workers, be they local processes or actors on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Worker(Protocol):
    """One worker, from its start to its end; another is started in its place."""

    name: str
    """How messages call it, such as ``worker 2`` or ``gpu-7``."""

    def send(self, items: Sequence[bytes]) -> None:
        """Give it a chunk of items; returns at once."""

    def end(self) -> None:
        """End it at once, whatever it does. No event of it comes any more."""


@dataclass(frozen=True)
class Placed:
    """A worker's process runs and makes its handler."""

    worker: Worker


@dataclass(frozen=True)
class Alive:
    """A worker got on with something that takes long, its start or an item."""

    worker: Worker
    doing: str
    """With what, a sentence for people; empty if they need not know."""


@dataclass(frozen=True)
class Ready:
    """A worker has made its handler."""

    worker: Worker


@dataclass(frozen=True)
class Refused:
    """A worker cannot work where it is; it has ended."""

    worker: Worker
    reason: str


@dataclass(frozen=True)
class Results:
    """The next results of a worker, in the order of its items."""

    worker: Worker
    results: Sequence[bytes]


@dataclass(frozen=True)
class Ended:
    """A worker died."""

    worker: Worker
    reason: str


Event = Placed | Alive | Ready | Refused | Results | Ended


class Pool(Protocol):
    """A place where workers can be started."""

    size: int
    """Number of workers that run beside each other."""

    one_by_one: bool
    """Whether each result is told by itself. Otherwise those of a chunk come together."""

    def start(self, number: int) -> Worker:
        """Start a worker as number 0 to ``size - 1``; returns at once.

        Raises:
            WorkerError: none can be started here at all.
        """

    def wait(self, seconds: float) -> list[Event]:
        """What happened to the workers; waits for something to happen, but not for longer."""

    def waits_for(self, seconds: float) -> str:
        """What workers that are not placed wait for, such as ``a GPU``.

        Args:
            seconds: since when no worker at all could be placed.

        Raises:
            WorkerError: there is nothing to wait for.
        """

    def close(self, finished: bool) -> list[bytes]:
        """End all workers, and leave nothing behind; gives what their handlers said at their end.

        Args:
            finished: all work is done, and handlers are closed first. Otherwise they end at once.
        """
