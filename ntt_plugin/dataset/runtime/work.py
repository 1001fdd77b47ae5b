"""Where a run's work is done: in this process, or by workers; items in, results out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Protocol

from ...worker.messages import Item, Result
from ...worker.tasks.task_handler import TaskHandler

# Images that are read ahead of the one that is worked on.
_AHEAD = 4


class Work(Protocol):
    """Does the work of a run.

    Attributes:
        told: what workers told of themselves.
        waiting: is called now and then while results are waited for; what it raises ends the work.
    """

    told: Told
    waiting: Callable[[], None]

    def prepare(self, most: int) -> None:
        """Make sure that work on so many items at most can begin; raises what prevents it."""

    def results(self, items: Iterator[Item]) -> Generator[Result, None, None]:
        """A result for each item, as they come; items are asked for when there is room."""

    def finish(self) -> list[str]:
        """End the work; gives what a person should know of it, a sentence each."""


class Told:
    """What the workers of a run told of themselves, the last of each counting.

    Attributes:
        device: where the networks run; empty until a worker told it.
        facts: what a run records about its networks; empty until a worker told it.
    """

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.device = ""
        self.facts: Mapping[str, Any] = {}
        self._last: dict[str, Mapping[str, Any]] = {}

    def hear(self, worker: Mapping[str, Any] | None) -> None:
        """Take what a worker tells; None tells nothing new."""
        if worker is not None:
            self.device, self.facts = self.device or worker["device"], worker["facts"]
            self._last[worker["name"]] = worker

    def notes(self) -> list[str]:
        """What went wrong with kept proposals, a sentence each."""
        notes = []
        if count := self._sum("not_kept"):
            notes.append(
                f"the proposals of {count} images were not kept, so that another "
                f"run computes them again: {self._first('why_not_kept')}"
            )
        if count := self._sum("damaged"):
            notes.append(
                f"{count} kept proposals could not be used and were computed again: "
                f"{self._first('why_damaged')}"
            )
        return notes

    def not_stored(self) -> str | None:
        """Why a store did not take some proposals; None if all were kept, or there is none."""
        return next((one["not_stored"] for one in self._last.values() if "not_stored" in one), None)

    def _sum(self, name: str) -> int:
        return sum(worker.get(name, 0) for worker in self._last.values())

    def _first(self, name: str) -> str:
        return next(str(worker[name]) for worker in self._last.values() if name in worker)


class WorkHere:
    """Work in this process, in the thread that asks for results, in the order of the items."""

    def __init__(self, handler: TaskHandler) -> None:
        """Let a handler do the work."""
        self._handler = handler
        self.waiting: Callable[[], None] = lambda: None  # each result comes soon
        self.told = Told()
        self.told.hear(handler.facts())

    def prepare(self, most: int) -> None:
        """All is loaded: whoever made the handler did it."""

    def results(self, items: Iterator[Item]) -> Generator[Result, None, None]:
        """A result for each item; the images of the next items are read meanwhile."""
        waiting = 0
        for item in items:
            self._handler.submit_item(item)
            waiting += 1
            if waiting > _AHEAD:
                waiting -= 1
                yield self._handler.next_result()
        for _ in range(waiting):
            yield self._handler.next_result()

    def finish(self) -> list[str]:
        """End the threads, once what is to be kept is; gives what to note."""
        self._handler.close()
        self.told.hear(self._handler.facts())
        return self.told.notes()
