"""One run at a time on a field: a lock in the database, seen by every thread, process and host.

A lock is a document of its own, taken in one step. Its holder renews it every few seconds; by the
database's clock, so that hosts need not agree on the time. It is free again when it is released,
at once when its process is found dead on this machine, and else two minutes after the last sign
of life.
"""

from __future__ import annotations

import functools
import getpass
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil  # type: ignore[import-untyped]
from fiftyone.core.odm import get_db_conn
from pymongo.errors import ConnectionFailure, DuplicateKeyError, PyMongoError

from ..errors import DatasetError

BEAT_SECONDS = 15.0
STALE_SECONDS = 120.0

_COLLECTION = "ntt_locks"
# A process is known by its number and its start, which the system tells to about a second.
_SAME_START_SECONDS = 2.0
_MISSED_BEATS = 3
_LOOK_AGAIN_SECONDS = 0.1
_FORGOTTEN_SECONDS = 7 * 24 * 3600.0

_held_here: set[str] = set()


class LockLostError(DatasetError):
    """Another run has taken over the field; nothing more may be written into it."""


class RunLock:
    """A field's lock, held from ``with`` to its end."""

    def __init__(self, dataset: Any, field: str, patience: float = 0.0) -> None:
        """Name the lock of a dataset's field; it is taken by ``with``.

        Args:
            dataset: the dataset.
            field: the field.
            patience: how long to wait for another run's end, seconds.
        """
        self._patience = patience
        self._key = f"{dataset._doc.id}/{field}"
        self._where = f"the field {field!r} of {dataset.name!r}"
        self._token = uuid.uuid4().hex
        self._lost = threading.Event()
        self._ended = threading.Event()
        self._last_beat = 0.0

    def __enter__(self) -> RunLock:
        """Take the lock.

        Raises:
            DatasetError: another run holds it; says who, since when and what to do.
        """
        _held_here.add(self._token)
        try:
            self._wait()
        except BaseException:
            _held_here.discard(self._token)
            raise
        self._last_beat = time.time()
        threading.Thread(target=self._keep_alive, name="ntt run lock", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release the lock; where the database is gone it counts as released all the same."""
        self._ended.set()
        _held_here.discard(self._token)
        # A database that is gone would be waited for: 30 seconds by default.
        if not isinstance(error, ConnectionFailure) and not isinstance(
            error and error.__cause__, ConnectionFailure
        ):
            try:
                _locks().delete_one({"_id": self._key, "token": self._token})
            except PyMongoError:
                pass

    def require(self) -> None:
        """Make sure that the lock is still held, before anything is written under it.

        Raises:
            LockLostError: it was taken from this run, which had shown no sign of life.
        """
        if time.time() - self._last_beat > STALE_SECONDS / 2:
            # The process slept, as a closed laptop does: others may have taken it meanwhile.
            self._beat()
        if self._lost.is_set():
            raise LockLostError(
                f"Another run has taken over {self._where}, because this one showed no sign of "
                "life for two minutes (was the computer asleep?); this one stops, the other goes "
                "on."
            )

    def _wait(self) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._take()
            except DatasetError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_LOOK_AGAIN_SECONDS)

    def _take(self) -> None:
        _locks().delete_many(_older_than(_FORGOTTEN_SECONDS))
        for _ in range(3):
            holder = self._holder()
            if holder is not None and not _is_dead(holder):
                break
            expected = None if holder is None else holder["token"]
            try:
                taken = _locks().update_one(
                    {"_id": self._key, "token": expected},
                    [{"$set": {**_myself(self._token), "since": "$$NOW", "heartbeat": "$$NOW"}}],
                    upsert=holder is None,
                )
            except DuplicateKeyError:
                continue  # another one was faster; it is looked at next
            if taken.matched_count or taken.upserted_id is not None:
                return
        raise DatasetError(self._refusal(self._holder()))

    def _holder(self) -> dict[str, Any] | None:
        found = _locks().aggregate(
            [
                {"$match": {"_id": self._key}},
                {"$addFields": {"age_ms": {"$subtract": ["$$NOW", "$heartbeat"]}}},
            ]
        )
        return next(iter(found), None)

    def _refusal(self, holder: dict[str, Any] | None) -> str:
        if holder is None:
            return f"Another run has just ended on {self._where}; start this one again."
        since = f"{holder['since']:%Y-%m-%d %H:%M:%S} UTC"
        return (
            f"Another run is writing {self._where} since {since}: process {holder['pid']} of "
            f"{holder['user']} on {holder['host']}. Wait for its end, stop it, or choose another "
            "field. If it is dead, or lost the database before its end, start again in two minutes "
            f"(its last sign of life was {max(0, round(holder['age_ms'] / 1000))} s ago)."
        )

    def _keep_alive(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            try:
                self._beat()
            except PyMongoError:
                continue  # the run itself meets a database that is gone, and says so
            if self._lost.is_set():
                return

    def _beat(self) -> None:
        asked = time.time()
        mine = {"_id": self._key, "token": self._token}
        if _locks().update_one(mine, [{"$set": {"heartbeat": "$$NOW"}}]).matched_count:
            self._last_beat = asked
        elif not self._ended.is_set():
            self._lost.set()


def is_held(dataset: Any, field: str) -> bool:
    """Whether a run that is alive holds a field's lock at this moment."""
    holder = RunLock(dataset, field)._holder()
    return holder is not None and not _is_dead(holder)


def _locks() -> Any:
    return get_db_conn()[_COLLECTION]


def _older_than(seconds: float) -> dict[str, Any]:
    return {"$expr": {"$gt": [{"$subtract": ["$$NOW", "$heartbeat"]}, seconds * 1000]}}


def _myself(token: str) -> dict[str, Any]:
    mine = {
        "token": token,
        "machine": _machine(),
        "host": socket.gethostname(),
        "user": _user(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
    }
    # In an update by pipeline a text that begins with a dollar sign would name a field.
    return {name: {"$literal": value} for name, value in mine.items()}


def _is_dead(holder: dict[str, Any]) -> bool:
    if holder["age_ms"] > STALE_SECONDS * 1000:
        return True
    if holder["machine"] != _machine():
        return False
    if holder["pid"] == os.getpid():
        return holder["token"] not in _held_here
    return not _is_running(holder)


def _is_running(holder: dict[str, Any]) -> bool:
    try:
        process = psutil.Process(holder["pid"])
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        same = abs(process.create_time() - holder["started"]) <= _SAME_START_SECONDS
        # A clock that is set moves the start too: one that shows signs of life is that process.
        return bool(same or holder["age_ms"] <= _MISSED_BEATS * BEAT_SECONDS * 1000)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


@functools.cache
def _machine() -> str:
    """What tells this machine's processes from others': containers may share a host's name."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    try:
        identity = Path("/etc/machine-id").read_text().strip()
    except OSError:
        identity = f"{uuid.getnode():x}"
    return f"{socket.gethostname()}/{identity}/{namespace}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "an unknown user"
