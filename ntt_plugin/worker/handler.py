"""What a worker process does with its items: the protocol, and how a worker gets its handler."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from ..errors import WorkerError


class Handler(Protocol):
    """Turns items into results, in the order of the items; made once in each worker.

    ``next`` and the function that makes the handler are called in one thread only, the worker's
    computing thread.
    """

    def submit(self, item: bytes) -> None:
        """Take an item, such as begin to read its image; from any thread, returns at once.

        Never raises.
        """

    def next(self) -> bytes:
        """Result of the oldest item that has none yet.

        What goes wrong with one item is part of its result; what is raised ends the worker.
        """

    def close(self) -> bytes | None:
        """Finish: there are no more items. What it gives is told where the run was started."""


def _nobody(doing: str) -> None:
    """Nobody listens."""


_listener: Callable[[str], None] = _nobody


def tell_alive(doing: str = "") -> None:
    """To be called by a handler, and by what makes it: something that takes long has got on.

    The time limit of the worker's start, or of the item it works on, counts from here again.

    Args:
        doing: what it is, a sentence, which is shown once; nothing is shown if it is empty.
    """
    _listener(doing)


def load_handler(name: str, spec: bytes, listener: Callable[[str], None] = _nobody) -> Handler:
    """Make the handler that a name stands for.

    Args:
        name: ``package.module:function``. A module of this package starts with a dot
            (``.task:make_handler``), for the package may be installed under another name.
        spec: what the function is called with.
        listener: is called with what ``tell_alive`` is called with from now on; any thread.

    Raises:
        NttError: the handler cannot work here, and why; out of the function.
        WorkerError: the name is not one of a function.
    """
    module, _, function = name.partition(":")
    try:
        with quick_imports():
            make = getattr(importlib.import_module(module, __package__), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise WorkerError(f"The worker's code {name!r} cannot be imported: {error}.") from error
    global _listener
    _listener = listener
    handler: Handler = make(spec)
    return handler


@contextmanager
def quick_imports() -> Iterator[None]:
    """Within the ``with``, import a worker's code without garbage collections.

    The objects of imported code stay, and collections would search them again and again. Later
    ones do not search them either. For imports alone: garbage made meanwhile is kept for good.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
