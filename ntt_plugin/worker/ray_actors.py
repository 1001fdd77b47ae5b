"""Workers as actors of a Ray cluster."""

from __future__ import annotations

import contextlib
import re
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import WorkerError
from .pool import Alive, Ended, Event, Placed, Ready, Refused, Results
from .ray_cluster import Ray, connected, may_grow

# Seconds that a cluster may take to show a node on which an actor has room.
_PLACE_SECONDS = 12.0
_CLOSE_SECONDS = 20.0
# An actor that has said nothing for so many seconds is asked whether it gets on.
_ASK_SECONDS = 1.0
_USED_MEMORY = re.compile(r"[\d.]+ ?GB used / [\d.]+ ?GB limit")


class RayPool:
    """Starts actors; see ``Pool``. Ray itself starts none of them again and no call twice."""

    one_by_one = False

    def __init__(self, cluster: Ray, handler: str, spec: bytes) -> None:
        """Connect to the cluster.

        Args:
            cluster: where to run.
            handler: name of what makes a worker's handler, see ``load_handler``.
            spec: what the handler is made of; sent to the cluster once.

        Raises:
            WorkerError: Ray is not installed, or there is no such cluster.
        """
        self.size = cluster.workers
        self._cluster = cluster
        self._handler = handler
        self._connection = contextlib.ExitStack()
        self._ray = self._connection.enter_context(connected(cluster))
        self._spec = self._ray.put(spec)
        self._actor = _actor_class(self._ray, cluster)
        self._workers: set[_RayWorker] = set()

    def start(self, number: int) -> _RayWorker:
        """Ask for an actor; returns at once, wherever it will be placed."""
        root = str(Path(__file__).resolve().parents[2])
        actor = self._actor.remote(root)
        worker = _RayWorker(number, actor, (self._handler, self._spec), self._workers.discard)
        self._workers.add(worker)
        return worker

    def wait(self, seconds: float) -> list[Event]:
        """What happened to the workers."""
        for worker in self._workers:
            worker.ask()
        waiting = {call: worker for worker in self._workers for call in worker.open_calls()}
        if not waiting:
            time.sleep(seconds)
            return []
        done, _ = self._ray.wait(list(waiting), timeout=seconds)
        if done:
            # All others that are done by now.
            done, _ = self._ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
        events: list[Event] = []
        for call in done:
            events += waiting[call].settle(call, self._ray)
        return events

    def waits_for(self, seconds: float) -> str:
        """What the cluster has no room for."""
        what = "a GPU" if self._cluster.gpus_each else "a CPU core"
        if seconds < _PLACE_SECONDS:
            return what
        if (missing := self._missing()) is not None:
            wanted, advice = missing
            if not may_grow(self._ray):
                raise WorkerError(f"No node of the Ray cluster has {wanted}{advice}.")
            return f"a node with {wanted}, which the Ray cluster's autoscaler has to add,"
        kind = "GPU" if self._cluster.gpus_each else "CPU"
        free, total = (
            resources().get(kind, 0)
            for resources in (self._ray.available_resources, self._ray.cluster_resources)
        )
        return f"{what} of the Ray cluster ({free:g} of {total:g} free)"

    def _missing(self) -> tuple[str, str] | None:
        """What an actor reserves and no node has, and what to do; None if some node has it."""
        gpus, cpus = self._cluster.gpus_each, self._cluster.cpus_each
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        with_gpus = [node for node in nodes if node.get("GPU", 0) >= gpus]
        if not with_gpus:
            advice = f" (gpus_each={gpus:g}); give gpus_each=0 to run on CPUs"
            return _count(gpus, "GPU"), advice
        if not any(node.get("CPU", 0) >= cpus for node in with_gpus):
            return f"{_count(cpus, 'CPU core')} for a worker", f" (cpus_each={cpus:g})"
        return None

    def close(self, finished: bool) -> list[bytes]:
        """End all actors; those of a driver that is killed end with it."""
        try:
            said = self._finish() if finished else []
            for worker in list(self._workers):
                worker.end()
        finally:
            self._connection.close()
        return said

    def _finish(self) -> list[bytes]:
        """Have the handlers closed; gives what they say."""
        closing = [worker.actor.close.remote() for worker in self._workers if worker.ready]
        if not closing:
            return []
        done, _ = self._ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_SECONDS)
        said = []
        for call in done:
            with contextlib.suppress(self._ray.exceptions.RayError):
                said.append(self._ray.get(call))
        return [words for words in said if words]


class _RayWorker:
    """One actor, and its calls that are not settled, the oldest first."""

    def __init__(self, number: int, actor: Any, setup: tuple[str, Any], forget: Any) -> None:
        self.name = f"worker {number}"
        self.actor = actor
        self.ready = False
        self._placed = False
        self._number_of_chunks = 0
        self._forget = forget
        self._question: Any = None
        self._heard, self._signs = 0.0, 0
        # The second call begins when the first one has ended.
        self.calls: deque[Any] = deque([actor.node.remote(), actor.start.remote(*setup)])

    def send(self, items: Sequence[bytes]) -> None:
        """Give it a chunk."""
        self.calls.append(self.actor.run.remote(self._number_of_chunks, list(items)))
        self._number_of_chunks += 1

    def ask(self) -> None:
        """Ask one that starts or works, and says nothing, whether it gets on."""
        busy = self._placed and self.calls and self._question is None
        if busy and time.monotonic() - self._heard >= _ASK_SECONDS:
            self._question = self.actor.signs.remote()

    def open_calls(self) -> list[Any]:
        """The calls of which one may be done: the oldest one, and the question."""
        oldest = [self.calls[0]] if self.calls else []
        return [*oldest, *([] if self._question is None else [self._question])]

    def settle(self, call: Any, ray: Any) -> list[Event]:
        """What an open call, which is done, says."""
        if call not in self.open_calls():
            return []  # it has just ended
        self._heard = time.monotonic()
        if call == self._question:
            return self._answer(ray)
        self.calls.popleft()
        try:
            answer = ray.get(call)
        # Those of lost nodes and of no memory are no RayActorError.
        except ray.exceptions.RayError as error:
            self.end()
            return [Ended(self, _cause(error))]
        if not self._placed:
            self._placed, self.name = True, f"{self.name} on {answer}"
            return [Placed(self)]
        if self.ready:
            return [Results(self, answer)]
        if answer is not None:
            self.end()
            return [Refused(self, answer)]
        self.ready = True
        return [Ready(self)]

    def _answer(self, ray: Any) -> list[Event]:
        call, self._question = self._question, None
        try:
            signs, doing = ray.get(call)
        except ray.exceptions.RayError:
            return []  # its oldest call says why
        if signs == self._signs:
            return []
        self._signs = signs
        return [Alive(self, doing)]

    def end(self) -> None:
        """Kill it, and forget its calls."""
        import ray

        self.calls.clear()
        self._question = None
        self._forget(self)
        with contextlib.suppress(ray.exceptions.RayError, ValueError, RuntimeError):
            ray.kill(self.actor, no_restart=True)


def _actor_class(ray: Any, cluster: Ray) -> Any:
    """The actor's class. It is sent to the nodes as it stands here: this package may have another
    name on them, and is imported there.
    """  # noqa: D205

    class NttWorker:
        def __init__(self, root: str) -> None:
            import importlib
            import importlib.util
            import os
            import sys

            # Where the plugin lies in the same place and is not installed.
            if importlib.util.find_spec("ntt_plugin") is None and os.path.isdir(root):
                sys.path.append(root)
            module = importlib.import_module("ntt_plugin.worker.ray_child")
            self._work = module.ActorWork()

        def node(self) -> str:
            import socket

            return socket.gethostname()

        def start(self, handler: str, spec: bytes) -> Any:
            return self._work.start(handler, spec)

        def signs(self) -> Any:
            return self._work.signs()

        def run(self, number: int, items: list[bytes]) -> Any:
            return self._work.run(number, items)

        def close(self) -> Any:
            return self._work.close()

    NttWorker.__module__ = "__main__"  # so that it is sent by value, not by its import path
    return ray.remote(NttWorker).options(
        num_cpus=cluster.cpus_each,
        num_gpus=cluster.gpus_each,
        max_restarts=0,
        max_task_retries=0,
        max_concurrency=3,  # two chunks, and the call that closes
    )


def _count(number: float, what: str) -> str:
    return f"{number:g} {what}{'' if number <= 1 else 's'}"


def _cause(error: Exception) -> str:
    """What Ray says of a death, in a line."""
    cause = getattr(error, "cause", None) or error
    if type(cause).__name__ == "OutOfMemoryError":
        used = _USED_MEMORY.search(str(cause))
        return f"its node ran low on memory{f' ({used[0]})' if used else ''}, so Ray ended it"
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    # What comes first says only that there was an error.
    detail = next((line for line in lines if "exit detail:" in line), "")
    said = detail.partition("exit detail:")[2].strip() or (lines[0] if lines else "it ended")
    return f"{type(cause).__name__}: {said:.300}"
