"""Number of torch threads on a CPU: fewer while other programs use its cores.

With as many threads as cores, each operation of torch ends with its slowest thread. If another
program keeps a core busy, one thread waits for that core while the others spin, thousands of times
per image; one thread fewer avoids this.

A process forked after torch computed in its parent has no such threads, and is refused.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from math import inf
from typing import Any, ParamSpec, TypeVar

import psutil  # type: ignore[import-untyped]
import torch

from ...errors import RecipeError

P = ParamSpec("P")
T = TypeVar("T")

# Shortest interval in seconds over which load is measured; the counters tick every 10 ms.
_WINDOW = 0.5
# A measurement that ended longer ago says nothing of now: then this much is measured first.
# Within a run one image follows the other at once, however long each takes.
_STALE = 1.0
_FIRST_WINDOW = 0.1
# Load of other programs, in cores, that is ignored: the background of an idle machine.
_TOLERATED = 0.35


@dataclass(frozen=True)
class _Counters:
    """CPU seconds so far: of all cores available to this process, and of this process alone."""

    moment: float
    idle: float
    own: float
    cores: int


class LoadMeter:
    """Measures how many cores other programs leave to this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: _Counters | None = None
        self._free: float | None = None

    def free_cores(self) -> float:
        """Cores idle or used by this process; takes 0.1 s if there is no recent measurement."""
        with self._lock:
            last, age = self._last, self._age()
            if self._free is not None and age < _WINDOW:
                return self._free
            if self._free is None or last is None or age > _STALE:
                last = _read()
                time.sleep(_FIRST_WINDOW)
            self._update(last, _read())
            assert self._free is not None
            return self._free

    def look(self) -> None:
        """Measure the load since the last measurement, if that is long enough ago."""
        with self._lock:
            if self._last is not None and self._age() >= _WINDOW:
                self._update(self._last, _read())

    def _age(self) -> float:
        """Seconds since the last measurement; reading the counters takes longer than to ask."""
        return inf if self._last is None else time.monotonic() - self._last.moment

    def _update(self, last: _Counters, now: _Counters) -> None:
        elapsed = max(now.moment - last.moment, 1e-6)
        free = (now.idle - last.idle + now.own - last.own) / elapsed
        self._last, self._free = now, min(max(free, 0.0), float(now.cores))


class _Scopes:
    """The active ``threads_by_load`` scopes of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.open = 0
        self.usual = 1
        self.entered = threading.local()


METER = LoadMeter()
_scopes = _Scopes()


@contextmanager
def threads_by_load(meter: LoadMeter = METER) -> Iterator[None]:
    """Limit torch's threads to the free cores while the context is active.

    Contexts of several threads share the cores; the last one to end restores the usual number.
    """
    if getattr(_scopes.entered, "here", False):
        yield
        return
    with _scopes.lock:
        if not _scopes.open:
            _scopes.usual = torch.get_num_threads()
        _scopes.open += 1
        usual, sharing = _scopes.usual, _scopes.open
    _scopes.entered.here = True
    try:
        _set(threads_for(meter.free_cores() / sharing, usual) if usual > 1 else 1)
        yield
    finally:
        _set(usual)
        _scopes.entered.here = False
        with _scopes.lock:
            _scopes.open -= 1
        if usual > 1:
            meter.look()


def with_threads_by_load(function: Callable[P, T]) -> Callable[P, T]:
    """Call a function in ``threads_by_load``."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with threads_by_load():
            return function(*args, **kwargs)

    return call


def usual_threads() -> int:
    """Torch's number of threads on an idle machine."""
    with _scopes.lock:
        return _scopes.usual if _scopes.open else torch.get_num_threads()


def threads_for(free: float, usual: int) -> int:
    """Threads for a number of free cores: at least 1, at most ``usual``."""
    return max(1, min(usual, int(free + _TOLERATED)))


_ran_in: int | None = None
"""The process that computed last; a forked child inherits its parent's."""


def require_own_process(device: torch.device) -> None:
    """Raise if torch would hang in this process; else record that it computed here.

    A fork does not copy torch's thread pool, and the child waits for it forever. With a single
    thread, as in workers of a ``DataLoader``, there is no pool to wait for.

    Raises:
        RecipeError: this process was forked after torch computed in its parent.
    """
    global _ran_in
    here = os.getpid()
    forked = _ran_in is not None and _ran_in != here
    if forked and (device.type != "cpu" or usual_threads() > 1):
        raise RecipeError(
            f"This process ({here}) was forked from one in which networks ran ({_ran_in}), and "
            "torch would wait for its threads for ever. Start processes by 'spawn' instead: "
            'multiprocessing.get_context("spawn"); or compute with one thread in them: '
            "torch.set_num_threads(1)."
        )
    _ran_in = here


def _set(threads: int) -> None:
    # On a quiet machine the process is left as it is.
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def _read() -> _Counters:
    cores = _allowed_cores()
    times: list[Any] = psutil.cpu_times(percpu=True)
    mine = [times[core] for core in cores if core < len(times)] or times
    own = os.times()
    return _Counters(
        moment=time.monotonic(),
        idle=sum(core.idle + getattr(core, "iowait", 0.0) for core in mine),
        own=own.user + own.system,
        cores=len(mine),
    )


def _allowed_cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
