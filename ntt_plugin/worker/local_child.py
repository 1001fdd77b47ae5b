"""The program of a local worker: handles what comes through a socket, and ends with its driver."""

from __future__ import annotations

import os
import queue
import socket
import threading
import time

from ..errors import NttError
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
from .handler import Handler, load_handler

# Seconds between two looks whether the driver still lives. Its end of the socket closes with it,
# unless a process that it forked holds that too.
_WATCH = 1.0
_RECEIVED = 1 << 16


def main(descriptor: int, driver: int) -> None:
    """Work until the driver says that there is no more, or is gone.

    Args:
        descriptor: file descriptor of this end of the socket.
        driver: process id of the driver.
    """
    threading.Thread(target=_watch, args=(driver,), daemon=True).start()
    # Processes that the task may start are not to hold it when this one is gone.
    os.set_inheritable(descriptor, False)
    _Child(socket.socket(fileno=descriptor)).run()
    # Threads that still read ahead are not waited for.
    os._exit(0)


def _watch(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(_WATCH)
    os._exit(1)


class _Child:
    """Three threads: one receives, this one computes, one sends."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._setup: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._to_do: queue.SimpleQueue[bool] = queue.SimpleQueue()  # False: no more
        self._to_send: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._handler: Handler | None = None
        self._made = threading.Event()

    def run(self) -> None:
        threading.Thread(target=self._receive, daemon=True).start()
        sender = threading.Thread(target=self._send, daemon=True)
        sender.start()
        self._compute()
        self._to_send.put(None)
        sender.join()

    def _compute(self) -> None:
        """Make the handler and its results, in the main thread."""
        try:
            handler = load_handler(*self._setup.get(), self._tell_alive)
        except NttError as error:
            self._to_send.put(frame(REFUSED, str(error).encode()))
            return
        self._handler = handler
        self._made.set()
        self._to_send.put(frame(READY))
        while self._to_do.get():
            self._to_send.put(frame(RESULT, handler.next()))
        self._to_send.put(frame(CLOSED, handler.close() or b""))

    def _tell_alive(self, doing: str) -> None:
        self._to_send.put(frame(ALIVE, doing.encode()))

    def _receive(self) -> None:
        """Hand on what the driver sends; end this process at once when the driver is gone."""
        frames = Frames()
        name = ""
        while received := self._receive_some():
            for kind, payload in frames.feed(received):
                if kind == HANDLER:
                    name = payload.decode()
                elif kind == SPEC:
                    self._setup.put((name, payload))
                elif kind == ITEM:
                    self._made.wait()
                    assert self._handler is not None
                    self._handler.submit(payload)
                    self._to_do.put(True)
                elif kind == FINISH:
                    self._to_do.put(False)
        os._exit(1)

    def _receive_some(self) -> bytes:
        try:
            return self._connection.recv(_RECEIVED)
        except OSError:
            return b""

    def _send(self) -> None:
        while (message := self._to_send.get()) is not None:
            try:
                self._connection.sendall(message)
            except OSError:
                os._exit(1)
