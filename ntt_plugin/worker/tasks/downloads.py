"""A worker that downloads networks at its start says so, for that may take long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ...engine.networks.hub import download_state
from ..handler import tell_alive

_LOOK_SECONDS = 2.0


@contextmanager
def downloads_told(
    host: str, names: Sequence[str], state: Callable[[str], object] = download_state
) -> Iterator[None]:
    """Within the ``with``, tell which networks are downloaded here each time some bytes came.

    Another process of this machine may be the one that downloads: this one waits for it.

    Args:
        host: the name of this machine.
        names: of the networks, as a recipe has them.
        state: changes while the network of a name is downloaded.
    """
    ended = threading.Event()

    def look() -> None:
        before = {name: state(name) for name in names}
        while not ended.wait(_LOOK_SECONDS):
            for name in names:
                now = state(name)
                if now != before[name]:
                    before[name] = now
                    tell_alive(f"{host} is downloading {name}.")

    watch = threading.Thread(target=look, name="ntt downloads", daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()
