"""Workers as processes of this machine, each on a device of its own."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import WorkerError
from .frames import (
    ALIVE,
    CLOSED,
    FINISH,
    HANDLER,
    ITEM,
    READY,
    REFUSED,
    RESULT,
    SPEC,
    Frames,
    frame,
)
from .pool import Alive, Ended, Event, Placed, Ready, Refused, Results

# Imports nothing by its own path: neither the user's script nor a module that lies beside it.
_PROGRAM = (
    "import sys; sys.path[:] = [sys.argv[1], *filter(None, sys.path)]; "
    "from ntt_plugin.worker.local_child import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)
_RECEIVED = 1 << 16
# What is kept of a worker's last words, in bytes.
_WORDS_KEPT = 2000
# Seconds between two looks whether the processes are there.
_LOOK_SECONDS = 1.0
# Seconds for handlers to close, and for killed processes to be gone.
_CLOSE_SECONDS, _KILL_SECONDS = 20.0, 2.0


def gpus_here() -> list[str]:
    """Names of this machine's GPUs for ``CUDA_VISIBLE_DEVICES``; none without CUDA."""
    import torch

    count = torch.cuda.device_count()
    listed = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    named = [name for name in listed if name]
    return named[:count] if len(named) >= count else [str(number) for number in range(count)]


def cores_here() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class LocalPool:
    """Starts local processes; see ``Pool``."""

    one_by_one = True

    def __init__(self, size: int, handler: str, spec: bytes, gpus: Sequence[str] = ()) -> None:
        """Start nothing yet.

        Args:
            size: number of processes.
            handler: name of what makes a worker's handler, see ``load_handler``.
            spec: what the handler is made of.
            gpus: names for ``CUDA_VISIBLE_DEVICES``; workers take them in turn. The variable is
                left as it is if there are none.
        """
        self.size = size
        self._gpus = gpus
        self._greeting = frame(HANDLER, handler.encode()) + frame(SPEC, spec)
        self._selector = selectors.DefaultSelector()
        self._placed: deque[Event] = deque()
        self._workers: set[_LocalWorker] = set()
        self._dying: list[subprocess.Popen[bytes]] = []
        self._said: list[bytes] = []
        self._look_at = 0.0

    def start(self, number: int) -> _LocalWorker:
        """Start a process; returns at once."""
        self._dying = [process for process in self._dying if process.poll() is None]
        gpu = self._gpus[number % len(self._gpus)] if self._gpus else None
        worker = _LocalWorker(
            number, self._selector, self._environment(gpu), self._forget, self._said.append
        )
        self._workers.add(worker)
        worker.send_bytes(self._greeting)
        self._placed.append(Placed(worker))
        return worker

    def wait(self, seconds: float) -> list[Event]:
        """What happened to the workers."""
        events = list(self._placed)
        self._placed.clear()
        for key, mask in self._selector.select(0 if events else seconds):
            events += key.data(mask)
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_SECONDS
            # A child of a worker that died may hold its socket, which then tells nothing.
            gone = [worker for worker in self._workers if worker.process.poll() is not None]
            events += chain.from_iterable(worker.last_events() for worker in gone)
        return events

    def waits_for(self, seconds: float) -> str:
        """A process of this machine waits for nothing."""
        return "a process"

    def close(self, finished: bool) -> list[bytes]:
        """End all processes and wait until they are gone."""
        if finished:
            self._finish()
        for worker in list(self._workers):
            worker.end()
        deadline = time.monotonic() + _KILL_SECONDS
        for process in self._dying:
            # One that waits for a dead mount is gone when the mount answers.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        self._selector.close()
        return self._said

    def _finish(self) -> None:
        """Have the handlers closed."""
        for worker in list(self._workers):
            worker.send_bytes(frame(FINISH))
        deadline = time.monotonic() + _CLOSE_SECONDS
        while self._workers and (left := deadline - time.monotonic()) > 0:
            for event in self.wait(left):
                if isinstance(event, Ended | Refused):
                    event.worker.end()

    def _forget(self, worker: _LocalWorker) -> None:
        self._workers.discard(worker)
        self._dying.append(worker.process)

    def _environment(self, gpu: str | None) -> dict[str, str]:
        threads = max(1, cores_here() // self.size)
        with contextlib.suppress(ValueError):
            threads = min(threads, int(os.environ.get("OMP_NUM_THREADS", threads)))
        changed = {"OMP_NUM_THREADS": str(threads)}
        if gpu is not None:
            changed["CUDA_VISIBLE_DEVICES"] = gpu
        return {**os.environ, **changed}


class _LocalWorker:
    """One process; its socket and its standard error are watched by the pool's selector."""

    def __init__(
        self,
        number: int,
        selector: selectors.BaseSelector,
        environment: dict[str, str],
        forget: Any,
        say: Callable[[bytes], None],
    ) -> None:
        self.name = f"worker {number}"
        self._selector = selector
        self._forget, self._say = forget, say
        self._frames = Frames()
        self._unsent = bytearray()
        self._last_words = b""
        self._ended = False
        try:
            self._connection, theirs = socket.socketpair()
        except OSError as error:
            raise WorkerError(f"No process can be started: {error}.") from error
        with theirs:
            self.process = self._spawn(theirs.fileno(), environment)
        assert self.process.stderr is not None
        self._errors = self.process.stderr
        os.set_blocking(self._errors.fileno(), False)
        self._connection.setblocking(False)
        selector.register(self._connection, selectors.EVENT_READ, self._on_socket)
        selector.register(self._errors, selectors.EVENT_READ, self._on_errors)

    def _spawn(self, descriptor: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        root = str(Path(__file__).resolve().parents[2])
        arguments = [root, str(descriptor), str(os.getpid())]
        try:
            return subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *arguments],
                cwd=_folder_to_start_in(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment,
                pass_fds=[descriptor],
                # Ctrl+C reaches the driver alone, which then ends its workers.
                start_new_session=True,
            )
        except OSError as error:
            self._connection.close()
            raise WorkerError(f"No process can be started: {error}.") from error

    def send(self, items: Iterable[bytes]) -> None:
        """Give it items; what its socket does not take now is sent by and by."""
        self.send_bytes(b"".join(map(partial(frame, ITEM), items)))

    def send_bytes(self, message: bytes) -> None:
        """Send messages."""
        if not self._ended:
            self._unsent += message
            self._send_some()

    def _send_some(self) -> None:
        try:
            sent = self._connection.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            # Its end is noticed, and told, where its answers are read.
            self._unsent.clear()
            sent = 0
        del self._unsent[:sent]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        if self._selector.get_key(self._connection).events != events:
            self._selector.modify(self._connection, events, self._on_socket)

    def _on_socket(self, mask: int) -> list[Event]:
        if self._ended:
            return []
        if mask & selectors.EVENT_WRITE:
            self._send_some()
        if not mask & selectors.EVENT_READ:
            return []
        try:
            received = self._connection.recv(_RECEIVED)
        except BlockingIOError:
            return []
        except OSError:
            received = b""
        if not received:
            return [self._death()]
        return self._events(received)

    def last_events(self) -> list[Event]:
        """What a process that is gone said last, and its death."""
        events: list[Event] = []
        while not self._ended:
            found = self._on_socket(selectors.EVENT_READ)
            events += found or [self._death()]
        return events

    def _events(self, received: bytes) -> list[Event]:
        events: list[Event] = []
        results: list[bytes] = []
        for kind, payload in self._frames.feed(received):
            if kind == RESULT:
                results.append(payload)
            elif kind == ALIVE:
                events.append(Alive(self, payload.decode()))
            elif kind == READY:
                events.append(Ready(self))
            elif kind == CLOSED and payload:
                self._say(payload)
            elif kind == REFUSED:
                events.append(Refused(self, payload.decode()))
                self.end()
        return [*events, Results(self, results)] if results else events

    def _death(self) -> Event:
        """How it died; its socket is closed, so that it is about to be gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_KILL_SECONDS)
        self._on_errors(selectors.EVENT_READ)
        code = self.process.poll()
        self.end()
        return Ended(self, _cause(code, self._last_words.decode(errors="replace")))

    def _on_errors(self, mask: int) -> list[Event]:
        if self._errors.closed:
            return []
        with contextlib.suppress(BlockingIOError):
            while written := os.read(self._errors.fileno(), _RECEIVED):
                self._last_words = (self._last_words + written)[-_WORDS_KEPT:]
            # All that could write to it is gone.
            if not self._ended:
                self._selector.unregister(self._errors)
            self._errors.close()
        return []

    def end(self) -> None:
        """Kill it, whatever it does, and forget what it may still say."""
        if self._ended:
            return
        self._ended = True
        self._selector.unregister(self._connection)
        self._connection.close()
        if not self._errors.closed:
            self._selector.unregister(self._errors)
            self._errors.close()
        self.process.kill()
        self._forget(self)


def _folder_to_start_in() -> str | None:
    """None, which is this process' own folder, unless that was deleted: MKL refuses to load there.

    In a deleted folder relative paths mean nothing, so that any other will do.
    """
    try:
        os.getcwd()
    except OSError:
        return os.sep
    return None


def _cause(code: int | None, words: str) -> str:
    """Why a process died, from its exit status and the last line of its standard error."""
    if code == -signal.SIGKILL:
        return "it was killed (SIGKILL), as the system does when memory runs out"
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    said = f": {lines[-1]:.300}" if lines else ""
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"it was ended by {signal.Signals(-code).name}{said}"
    return f"it exited with status {code}{said}"
