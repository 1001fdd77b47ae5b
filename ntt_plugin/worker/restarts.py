"""When workers that died are started again, and when that is given up."""

from __future__ import annotations

import time
from collections.abc import Iterable

from ..errors import WorkerError

# Seconds before a worker that brought no result is started again: twice as long each time.
_FIRST_DELAY, _LONGEST_DELAY = 0.25, 60.0
# What refused to work refuses again, as long as nothing is mended.
_REFUSED_DELAY = 60.0
# Seconds after the first failure during which another worker may yet start.
_GRACE = 10.0
# With many workers, as many that die at their start are enough to give up.
_ENOUGH = 8
# Deaths for each worker, without any result between them.
_FRUITLESS = 3


class Restarts:
    """Counts the deaths of workers and the results between them.

    Attributes:
        reason: of what the last one died.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._failures: dict[int, int] = {}  # of each number, since its last result
        self._not_before: dict[int, float] = {}
        self._ever_ready = False
        self._first_failure: float | None = None
        self._fruitless = 0
        self._causes = 0
        self.reason = ""
        self._refused = False

    def due(self, numbers: Iterable[int]) -> list[int]:
        """Those of the numbers whose workers may be started now."""
        now = time.monotonic()
        return [number for number in sorted(numbers) if self._not_before.get(number, now) <= now]

    def note_ready(self) -> None:
        """A worker is ready."""
        self._ever_ready = True

    def note_result(self, number: int) -> None:
        """The worker of a number gave a result."""
        self._fruitless = self._causes = 0
        self._failures.pop(number, None)

    def note_death(self, number: int, reason: str, refused: bool) -> None:
        """The worker of a number died, or refused to work."""
        now = time.monotonic()
        failures = self._failures.get(number, 0)
        self._failures[number] = failures + 1
        delay = _REFUSED_DELAY if refused else min(_LONGEST_DELAY, _FIRST_DELAY * 2.0**failures)
        self._not_before[number] = now + delay
        self._fruitless += 1
        self._first_failure = self._first_failure or now
        self.reason, self._refused = reason, refused

    def note_cause(self) -> None:
        """One item was the cause of the last two deaths, and is not tried again."""
        self._fruitless = max(0, self._fruitless - 2)
        self._causes += 1
        # The workers are not to blame, and wait for nothing.
        self._failures.clear()
        self._not_before.clear()

    def require_hope(self, starting: int) -> None:
        """Raise if no worker ever starts, or if they die again and again.

        Args:
            starting: number of workers whose start has begun and not ended.

        Raises:
            WorkerError: says of what the last one died.
        """
        if not self._ever_ready:
            if self._first_failure is not None and self._none_starts(starting):
                raise WorkerError(f"No worker can start: {self.reason}.")
        elif self._fruitless > _FRUITLESS * self._workers:
            raise WorkerError(
                f"Workers ended {self._fruitless} times without a result between, the last one: "
                f"{self.reason}."
            )
        elif self._causes > max(_FRUITLESS * self._workers, 10):
            raise WorkerError(
                f"{self._causes} images in a row each ended two workers, the last one: "
                f"{self.reason}."
            )

    def _none_starts(self, starting: int) -> bool:
        assert self._first_failure is not None
        grace_is_over = time.monotonic() - self._first_failure >= _GRACE and not starting
        if self._refused:
            return grace_is_over or self._fruitless >= self._workers
        enough = max(self._workers, min(2 * self._workers, _ENOUGH))
        return self._fruitless >= (self._workers if grace_is_over else enough)
