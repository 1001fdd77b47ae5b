"""Handlers that stand for the real tasks. An item is a text; its result the same in capitals."""

import os
import signal
import time
from collections import deque

import bson

from ntt_plugin.errors import WorkerError
from ntt_plugin.worker.handler import tell_alive
from ntt_plugin.worker.messages import Item, Result


class Echo:
    """Some items are words that it obeys."""

    def __init__(self, spec: bytes) -> None:
        self.seconds = float(spec or b"0")
        self.items: deque[bytes] = deque()

    def submit(self, item: bytes) -> None:
        self.items.append(item)
        if item.startswith(b"kill-reader"):
            os.kill(os.getpid(), signal.SIGKILL)

    def next(self) -> bytes:
        time.sleep(self.seconds)
        item = self.items.popleft()
        if item.startswith(b"kill "):
            os.kill(os.getpid(), signal.SIGKILL)
        if item.startswith(b"raise "):
            raise ValueError("the handler broke")
        if item.startswith(b"hang "):
            time.sleep(3600)
        if item.startswith(b"parts "):
            # Takes long, and tells after each part that it gets on; then it may hang.
            for _ in range(int(item.split(b" ")[1])):
                time.sleep(0.7)
                tell_alive()
            if item.endswith(b" hang"):
                time.sleep(3600)
        if item.startswith(b"once "):
            # Kills the first worker that gets it.
            marker = item.split(b" ")[1].decode()
            if not os.path.exists(marker):
                open(marker, "x").close()
                os.kill(os.getpid(), signal.SIGKILL)
        if item.startswith(b"stop "):
            # Stops the first worker that gets it, as if it were paused.
            marker = item.split(b" ")[1].decode()
            if not os.path.exists(marker):
                open(marker, "x").close()
                os.kill(os.getpid(), signal.SIGSTOP)
        if item.startswith(b"who"):
            return f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')}".encode()
        if item.startswith(b"where"):
            return os.getcwd().encode()
        if item.startswith(b"modules"):
            import sys

            return " ".join(sorted(sys.modules)).encode()
        if item.startswith(b"threads"):
            return os.environ["OMP_NUM_THREADS"].encode()
        return item.upper()

    def close(self) -> None:
        pass


class Closing(Echo):
    """Writes to a file when it is closed; the spec is the file."""

    def __init__(self, spec: bytes) -> None:
        super().__init__(b"")
        self.path = spec.decode()

    def close(self) -> bytes:
        with open(f"{self.path}.{os.getpid()}", "x") as file:
            file.write("closed")
        return b"last words"


def refuse(spec: bytes) -> Echo:
    raise WorkerError("gpu-7 cannot read /data/a.png; mount it there or give paths=.")


def crash(spec: bytes) -> Echo:
    raise OSError("libmissing.so: cannot open shared object file")


def killed(spec: bytes) -> Echo:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def refuse_once(spec: bytes) -> Echo:
    """The first worker that comes refuses; the spec is a file that marks it."""
    try:
        open(spec.decode(), "x").close()
    except FileExistsError:
        return Echo(b"0.01")
    return refuse(spec)


def refuse_later(spec: bytes) -> Echo:
    """All but the first worker refuse; the spec is a file that marks it."""
    try:
        open(spec.decode(), "x").close()
    except FileExistsError:
        return refuse(spec)
    return Echo(b"")


def slow_start(spec: bytes) -> Echo:
    time.sleep(3600)
    raise AssertionError


def downloading(spec: bytes) -> Echo:
    """Takes five seconds, and says so."""
    for _ in range(25):
        time.sleep(0.2)
        tell_alive("gpu-7 is downloading facebook/sam2-hiera-large.")
    return Echo(b"")


class Labelling:
    """Gives each sample an empty list of labels; obeys files that lie beside its image."""

    def __init__(self, spec: bytes) -> None:
        self.stamp = bson.decode(spec)["stamp"]
        self.items: deque[Item] = deque()

    def submit(self, item: bytes) -> None:
        self.items.append(Item.from_bytes(item))

    def next(self) -> bytes:
        item = self.items.popleft()
        if os.path.exists(f"{item.filepath}.kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if os.path.exists(f"{item.filepath}.hang"):
            time.sleep(3600)
        stamp = self.stamp
        document = {**stamp["field"], "run": item.run or stamp["run"], "writer": stamp["writer"]}
        document |= {"detections": [], "made": ""}
        return Result(item.sample_id, item.filepath, bson.encode(document)).to_bytes()

    def close(self) -> None:
        pass


class Parent(Echo):
    """Has a child of its own, which outlives it and holds all that it had open."""

    def __init__(self, spec: bytes) -> None:
        super().__init__(b"")
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
