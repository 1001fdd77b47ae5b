"""FiftyOne's progress bar: one is drawn at a time, and none where a callback takes its place.

A bar that draws replaces ``sys.stdout`` of the whole process until it is closed. Two threads that
do so at the same moment, such as two runs of a script, put it back in the wrong order and leave a
closed file there. So a bar draws only while no other one of this package does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fiftyone as fo

from ..samples.views import load_samples

Progress = bool | Callable[[Any], None] | None
"""FiftyOne's ``progress``: True, False, a callback, or None for the configured default."""

# Held by the bar that is drawn.
_drawing = threading.Lock()


@contextmanager
def progress_bar(total: int, progress: Progress, iters_str: str = "samples") -> Iterator[Any]:
    """Context manager for a progress bar.

    Args:
        total: number of steps.
        progress: whether to draw; a callback is called after each step, and nothing is drawn.
        iters_str: what a step is, for the rate that is drawn.
    """
    if callable(progress):
        with _QuietBar(total, progress, iters_str) as bar:
            yield bar
        return
    with (
        _drawn_alone(progress) as drawn,
        fo.ProgressBar(total=total, progress=drawn, iters_str=iters_str) as bar,
    ):
        yield bar


@contextmanager
def _drawn_alone(progress: bool | None) -> Iterator[bool | None]:
    """The ``progress`` to give to FiftyOne: False while another bar is drawn."""
    if progress is False or not _drawing.acquire(blocking=False):
        yield False
        return
    try:
        yield progress
    finally:
        _drawing.release()


class _QuietBar(fo.ProgressBar):  # type: ignore[misc]
    """A bar that calls back and draws nothing.

    FiftyOne estimates the time that is left only while it draws, so the bar does it itself.
    """

    def __init__(self, total: int, report: Callable[[Any], None], iters_str: str) -> None:
        super().__init__(total=total, progress=False, iters_str=iters_str)
        self._report = report

    def set_iteration(self, *args: Any, **kwargs: Any) -> None:
        """Set the number of steps that are done, and call back."""
        super().set_iteration(*args, **kwargs)
        self._report(self)

    @property
    def iter_rate(self) -> float | None:
        """Steps per second so far; None before the first step."""
        elapsed = self.elapsed_time
        return self.iteration / elapsed if elapsed and self.iteration > 0 else None

    @property
    def time_remaining(self) -> float | None:
        """Seconds that are left at the rate so far; None before the first step."""
        rate = self.iter_rate
        return (self.total - self.iteration) / rate if rate else None


def each_sample(samples: Any, progress: Progress) -> Iterator[Any]:
    """The samples of a view one by one, with a progress bar.

    Raises:
        DatasetError: FiftyOne cannot load one of them.
    """
    with progress_bar(len(samples), progress) as bar:
        yield from bar(load_samples(samples))


@contextmanager
def reported_samples(samples: Any, progress: Progress) -> Iterator[tuple[Any, bool | None]]:
    """A collection for a function of FiftyOne that walks through its samples with a bar.

    Such a function draws its bar even if it is given a callback. Give it what this yields: with a
    callback, a view that calls back as its samples are walked through, and False for ``progress``.

    Yields:
        The collection, and the ``progress`` to go with it.
    """
    if not callable(progress):
        with _drawn_alone(progress) as drawn:
            yield samples, drawn
        return
    view = samples.view()
    plain = type(view)

    class _Reporting(plain):  # type: ignore[misc, valid-type]
        """Views that are made of this one keep its class."""

        __slots__ = ()  # the same layout as the view's own class, as an exchange of it needs

        def iter_samples(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
            with progress_bar(len(self), progress) as bar:
                yield from bar(super().iter_samples(*args, **kwargs))

    view.__class__ = _Reporting
    try:
        yield view, False
    finally:
        view.__class__ = plain
