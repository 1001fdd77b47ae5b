"""How many threads torch computes with on a processor: fewer while other programs use its cores.

With as many threads as cores, each of torch's operations ends when its slowest thread does. If
another program keeps a core busy, one thread waits for its turn there while the others look for
work without a pause, thousands of times an image. One thread fewer avoids that. What libgomp offers
against it (``OMP_WAIT_POLICY``) is read when torch is imported, holds for the whole process, and
slows a quiet machine down.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import psutil  # type: ignore[import-untyped]
import torch

P = ParamSpec("P")
T = TypeVar("T")

# Seconds over which the load is measured, at least; below it the counters' steps of 10 ms show.
_WINDOW = 0.5
# A measurement that ended longer ago says nothing of now: then this much is measured first.
# Within a run one image follows the other at once, however long each takes.
_STALE = 1.0
_FIRST_WINDOW = 0.1
# Cores that others may use without taking one away from torch: what a quiet machine does besides.
_TOLERATED = 0.35


@dataclass(frozen=True)
class _Counters:
    """Seconds of processor time up to a moment: of all cores this process may use, and of it."""

    moment: float
    idle: float
    own: float
    cores: int


class LoadMeter:
    """How many cores other programs leave to this process, measured over the last moments."""

    def __init__(self) -> None:
        """Measure nothing yet."""
        self._lock = threading.Lock()
        self._last: _Counters | None = None
        self._free: float | None = None

    def free_cores(self) -> float:
        """Cores that are idle or used by this process; waits 0.1 s if none was asked for lately."""
        with self._lock:
            now = _read()
            last = self._last
            if self._free is None or last is None or now.moment - last.moment > _STALE:
                last = now
                time.sleep(_FIRST_WINDOW)
                now = _read()
            elif now.moment - last.moment < _WINDOW:
                return self._free
            self._update(last, now)
            assert self._free is not None
            return self._free

    def look(self) -> None:
        """Measure the time since the last measurement, if that is long enough."""
        with self._lock:
            now = _read()
            if self._last is not None and now.moment - self._last.moment >= _WINDOW:
                self._update(self._last, now)

    def _update(self, last: _Counters, now: _Counters) -> None:
        elapsed = max(now.moment - last.moment, 1e-6)
        free = (now.idle - last.idle + now.own - last.own) / elapsed
        self._last, self._free = now, min(max(free, 0.0), float(now.cores))


class _Scopes:
    """The scopes in which this process computes at the moment."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.open = 0
        self.usual = 1
        self.entered = threading.local()


METER = LoadMeter()
_scopes = _Scopes()


@contextmanager
def threads_by_load(meter: LoadMeter = METER) -> Iterator[None]:
    """Compute with as many of torch's threads as there are cores for; never more than are set.

    Scopes of several threads share the cores. After the last one torch has its usual number again.
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
    """Torch's number of threads where nothing else uses the cores."""
    with _scopes.lock:
        return _scopes.usual if _scopes.open else torch.get_num_threads()


def threads_for(free: float, usual: int) -> int:
    """Threads for a number of free cores: at least one, the usual number at most."""
    return max(1, min(usual, int(free + _TOLERATED)))


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
