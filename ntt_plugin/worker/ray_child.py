"""What an actor does on its node: one thread computes, calls bring chunks."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from ..errors import NttError
from .handler import Handler, load_handler


class ActorWork:
    """A handler in a thread of its own.

    A parallel product in a second thread of a process slows those of all threads for good, so that
    all is computed in one, wherever Ray runs the actor's methods.
    """

    def __init__(self) -> None:
        self._to_do: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._turn = threading.Condition()
        self._next_chunk = 0
        self._handler: Handler | None = None
        self._signs: tuple[int, str] = (0, "")
        threading.Thread(target=self._compute, daemon=True).start()

    def start(self, name: str, spec: bytes) -> str | None:
        """Make the handler; gives the reason if it cannot work here."""
        made: Future[Handler] = Future()
        self._to_do.put(lambda: _settle(made, lambda: load_handler(name, spec, self._note)))
        try:
            self._handler = made.result()
        except NttError as error:
            return str(error)
        return None

    def signs(self) -> tuple[int, str]:
        """How often it got on with something, its items among it; and with what last."""
        return self._signs

    def run(self, number: int, items: Sequence[bytes]) -> list[bytes]:
        """Results of a chunk; chunks have numbers from 0 on, and may be given at the same time."""
        handler = self._handler
        assert handler is not None
        # Ray does not say which of two calls comes first.
        with self._turn:
            self._turn.wait_for(lambda: self._next_chunk == number)
            futures: deque[Future[bytes]] = deque()
            for item in items:
                handler.submit(item)
                made: Future[bytes] = Future()
                self._to_do.put(lambda made=made: _settle(made, self._next))  # type: ignore[misc]
                futures.append(made)
            self._next_chunk += 1
            self._turn.notify_all()
        return [made.result() for made in futures]

    def close(self) -> bytes | None:
        """Close the handler; gives what it says."""
        said = None
        if self._handler is not None:
            closed: Future[bytes | None] = Future()
            handler = self._handler
            self._to_do.put(lambda: _settle(closed, handler.close))
            said = closed.result()
        self._to_do.put(None)
        return said

    def _next(self) -> bytes:
        """The next result. Results of a chunk come together, so that each is a sign of life."""
        assert self._handler is not None
        result = self._handler.next()
        self._note("")
        return result

    def _note(self, doing: str) -> None:
        self._signs = self._signs[0] + 1, doing

    def _compute(self) -> None:
        while (work := self._to_do.get()) is not None:
            work()


def _settle(future: Future, work: Callable) -> None:  # type: ignore[type-arg]
    """Put what work gives, or raises, into a future."""
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)
