"""An SDK function beside its progress bar: live in the App, or kept with a delegated run."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Generator
from contextvars import copy_context
from typing import Any, TypeVar

import fiftyone.operators.types as types

from ..request import PLUGIN, is_app

Report = Callable[[Any], None]
"""FiftyOne's progress callback: takes the progress bar."""

# How often the bar moves, and how long a closed tab may go unnoticed, seconds.
_TICK = 0.5

# How long a stopped run may take to end before its window is told of it, seconds.
_GRACE = 3.0

STOP_OPERATOR = "stop_run"

T = TypeVar("T")


class RunStopped(Exception):
    """The person who watched the run pressed Stop, or closed the App.

    Attributes:
        ended: whether the run has ended; else it does with the image that it works on.
    """

    def __init__(self, message: str, ended: bool = True) -> None:
        """A stop, in words."""
        super().__init__(message)
        self.ended = ended


class Watch:
    """Latest progress of a running function, written by its thread and read by another.

    Attributes:
        token: names the run.
    """

    def __init__(self) -> None:
        """Of a function that has just begun."""
        self.token = uuid.uuid4().hex
        self._bar: Any = None
        self._stop = threading.Event()
        self._started = time.monotonic()

    def report(self, bar: Any) -> None:
        """The callback for the function's ``progress``.

        Raises:
            RunStopped: it is to stop.
        """
        if self._stop.is_set():
            raise RunStopped("Stopped; a second run goes on where this one stopped.")
        self._bar = bar

    def stop(self) -> None:
        """Let the function stop at its next report."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether it is to stop, or has ended."""
        return self._stop.is_set()

    def now(self, label: str) -> tuple[str, float | None]:
        """The progress in words that begin with a label, and its share as ``describe``."""
        if self._bar is None:
            return f"{label}: getting ready, {time.monotonic() - self._started:.0f} s", None
        return describe(label, self._bar)


_watched: dict[str, Watch] = {}


def stop_run(token: str) -> bool:
    """Stop a live run of this process; False if there is none of that token any more."""
    watch = _watched.get(token)
    if watch is not None:
        watch.stop()
    return watch is not None


def run_watched(ctx: Any, label: str, work: Callable[[Report], T]) -> Generator[Any, None, T]:
    """Run a function in a thread of its own, yielding the moves of the App's progress bar.

    When the person presses Stop, or nobody listens any longer (``GeneratorExit``: the tab was
    closed), the function's next report raises ``RunStopped`` in it, so that it ends as cleanly as
    it does on any error.

    ``work`` is given the callback to pass on as ``progress``. What it returns is the value of
    ``yield from``, what it raises is raised.

    Raises:
        RunStopped: the person pressed Stop.
    """
    watch = Watch()
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["value"] = work(watch.report)
        except BaseException as error:
            outcome["error"] = error

    # A daemon thread, so that a server can shut down without waiting hours for the run.
    thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True)
    _watched[watch.token] = watch
    thread.start()
    try:
        while not watch.stopped:
            yield _moved(ctx, watch, label)
            if not thread.is_alive():
                break
            thread.join(_TICK)
        if watch.stopped:
            thread.join(_GRACE)
    finally:
        # Not joined: this may be the server's event loop, and an image may take a minute.
        watch.stop()
        del _watched[watch.token]
    if thread.is_alive():
        raise RunStopped("The run stops when the image that it works on is done.", ended=False)
    if "error" in outcome:
        raise outcome["error"]
    value: T = outcome["value"]
    return value


def _moved(ctx: Any, watch: Watch, label: str) -> Any:
    """The message that moves the progress bar; to the App with a button that stops the run."""
    text, share = watch.now(label)
    if not is_app(ctx):
        return ctx.ops.set_progress(label=text, progress=share)
    page = types.Object()
    page.float("progress", view=types.ProgressView(label=text))
    stop = types.Button(
        label="Stop", operator=f"{PLUGIN}/{STOP_OPERATOR}", params={"run": watch.token}
    )
    page.view("stop", stop)
    return ctx.ops.show_output(outputs=types.Property(page).to_json(), results={"progress": share})


def run_delegated(ctx: Any, label: str, work: Callable[[Report], T]) -> T:
    """Run ``work(report)`` and save its progress with the delegated operation."""
    last = time.monotonic()
    ctx.set_progress(progress=0.0, label=f"{label}: getting ready")

    def report(bar: Any) -> None:
        nonlocal last
        if bar.complete or time.monotonic() - last >= _TICK:
            last = time.monotonic()
            text, share = describe(label, bar)
            ctx.set_progress(progress=share, label=text)

    return work(report)


def describe(label: str, bar: Any) -> tuple[str, float | None]:
    """A progress bar in words, and its share from 0 to 1; None where its end is unknown."""
    if not bar.has_total or not bar.total:
        return f"{label}: {bar.iteration} done", None
    text = f"{label}: {bar.iteration} of {bar.total}"
    remaining = bar.time_remaining
    if remaining and not bar.complete and bar.iteration > 1:
        text += f", {_clock(remaining)} left"
    return text, min(1.0, bar.iteration / bar.total)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
