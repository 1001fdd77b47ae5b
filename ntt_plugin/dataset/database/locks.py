"""One run at a time on a field: a lock in the database, seen by every thread, process and host.

A lock is a document of its own, taken in one step. Its holder renews it every few seconds (its
heartbeat), by the database's clock, so that hosts need not agree on the time. It is free again
when it is released, at once when its process is found dead on this machine, and else when its
heartbeat is two minutes old and stays as it is while somebody watches: the watcher's own clock
counts, because the database's may be set.

A process that was paused may go on after another has taken its lock. It notices before its next
step (``require``), unless it was paused between that check and the write. So each write under a
lock is conditional in the database, is checked again after it, and carries the lock's ``token``;
``overtaken`` keeps the tokens of holders that may still be alive.
"""

from __future__ import annotations

import functools
import getpass
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
from pymongo.errors import ConnectionFailure, DuplicateKeyError, PyMongoError

from ...errors import DatasetError
from .fiftyone_internals import JOURNALED, database, dataset_id

BEAT_SECONDS = 15.0
STALE_SECONDS = 120.0

_COLLECTION = "ntt_locks"
# A process is known by its number and its start, which the system tells to about a second.
_SAME_START_SECONDS = 2.0
_MISSED_BEATS = 3
# In beats: the silence after which a holder asks whether it still holds the lock, and the silence
# that another must have watched before it takes the lock. The first must be the shorter.
_ASK_BEATS = 1.5
_WATCH_BEATS = 2.0
_LOOK_AGAIN_SECONDS = 0.1
_FORGOTTEN_SECONDS = 7 * 24 * 3600.0

_held_here: set[str] = set()


class LockLostError(DatasetError):
    """Another run has taken over the field; nothing more may be written into it."""


class RunLock:
    """A field's lock, held from ``with`` to its end.

    Attributes:
        token: identifies this holder; it goes into what is written under the lock.
        former: the document of the holder whose lock was taken because it was dead or silent;
            None if the lock was free.
    """

    def __init__(
        self,
        dataset: Any,
        key: str,
        patience: float = 0.0,
        intent: str | None = None,
        where: str | None = None,
        refusal: Callable[[str], str] | None = None,
    ) -> None:
        """Create a lock; ``with`` acquires it.

        Args:
            dataset: the dataset.
            key: the field that is locked; or, with a slash that no field has in its name, what
                else of the dataset.
            patience: how long to wait for another holder's end, seconds.
            intent: what is going to be done; it stays in the lock's document until
                ``drop_intent``, also for whoever takes the lock of a killed holder.
            where: what is locked, in words; the field if None.
            refusal: what to say where another holds the lock, given that holder in brackets, or
                an empty text if it has just ended; as for a run into a field if None.
        """
        self._patience = patience
        self._key = f"{dataset_id(dataset)}/{key}"
        self._where = where or f"the field {key!r} of {dataset.name!r}"
        self._refuse = refusal
        self.token = uuid.uuid4().hex
        self._intent = intent
        self._lost = threading.Event()
        self._ended = threading.Event()
        # When the database was last asked successfully: by the wall clock, and by one that cannot
        # be set.
        self._last_beat = 0.0
        self._last_uptime = 0.0
        self.former: dict[str, Any] | None = None

    def __enter__(self) -> RunLock:
        """Take the lock.

        Raises:
            DatasetError: another run holds it; says who, since when and what to do.
        """
        _held_here.add(self.token)
        try:
            self._wait()
        except BaseException:
            _held_here.discard(self.token)
            raise
        try:
            threading.Thread(target=self._keep_alive, name="ntt run lock", daemon=True).start()
        except RuntimeError as error:
            # No thread can be started; what keeps no heartbeat must not hold the lock.
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """Release the lock; where the database is gone it counts as released all the same."""
        self._ended.set()
        _held_here.discard(self.token)
        # A database that is gone would be waited for: 30 seconds by default.
        if not isinstance(error, ConnectionFailure) and not isinstance(
            error and error.__cause__, ConnectionFailure
        ):
            try:
                _locks().delete_one({"_id": self._key, "token": self.token})
            except PyMongoError:
                pass

    def require(self) -> None:
        """Make sure that the lock is still held, before and after a write under it.

        Asks the database only after a silence in which another could have taken the lock.

        Raises:
            LockLostError: it was taken from this run, which had shown no sign of life.
        """
        if self._silent_seconds() > _ASK_BEATS * BEAT_SECONDS:
            # The process was paused, as by a closed laptop: others may have taken it meanwhile.
            self._beat()
        if self._lost.is_set():
            raise LockLostError(
                f"Another run has taken over {self._where}, because this one showed no sign of "
                "life for two minutes (was the computer asleep?); this one stops, the other goes "
                "on."
            )

    def overtaken(self) -> list[str]:
        """Tokens of former holders that lost this lock in the last week and may be alive still."""
        found = _locks().find({"key": self._key, "may_live": True}, {"token": 1})
        return [mark["token"] for mark in found]

    def drop_intent(self) -> None:
        """Forget the intent: what it was for is done, or recorded elsewhere."""
        _locks().update_one({"_id": self._key, "token": self.token}, {"$unset": {"intent": ""}})

    def _wait(self) -> None:
        age_ms = {"$subtract": ["$$NOW", "$heartbeat"]}
        _locks().delete_many({"$expr": {"$gt": [age_ms, _FORGOTTEN_SECONDS * 1000]}})
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._take()
            except DatasetError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_LOOK_AGAIN_SECONDS)

    def _take(self) -> None:
        for _ in range(3):
            holder = self._holder()
            if holder is None:
                if self._put({"token": None}, upsert=True):
                    return
            elif (gone := _is_gone(holder)) or self._stays_silent(holder):
                # Marked first: a holder whose lock is missing must find the mark.
                _mark_overtaken(holder, may_live=not gone, by=self.token)
                if self._put({name: holder[name] for name in ("token", "heartbeat")}):
                    self.former = holder
                    return
                self._unmark(holder)
            elif not _is_silent(holder):
                break
        raise DatasetError(self._refusal(self._holder()))

    def _unmark(self, holder: dict[str, Any]) -> None:
        """Take back the mark of a holder that woke in the last moment, and holds the lock."""
        now = self._holder()
        if now is not None and now["token"] == holder["token"]:
            # Not the mark of another, who took the lock since.
            _locks().delete_one({"_id": _mark_of(holder["token"]), "by": self.token})

    def _put(self, expected: dict[str, Any], upsert: bool = False) -> bool:
        """Write this holder into the lock's document in one step; False if another was faster."""
        mine = {**_myself(self.token), "since": "$$NOW", "heartbeat": "$$NOW"}
        # Who takes over from one that was killed has its intent, until it is dropped.
        mine["intent"] = (
            {"$literal": self._intent} if self._intent else {"$ifNull": ["$intent", None]}
        )
        asked = time.time(), _uptime()
        try:
            put = _locks().update_one(
                {"_id": self._key, **expected}, [{"$set": mine}], upsert=upsert
            )
        except DuplicateKeyError:
            return False
        self._last_beat, self._last_uptime = asked
        return bool(put.matched_count or put.upserted_id is not None)

    def _stays_silent(self, holder: dict[str, Any]) -> bool:
        """Watch a holder with an old heartbeat; whether its heartbeat stays unchanged."""
        if not _is_silent(holder):
            return False
        deadline = time.monotonic() + _WATCH_BEATS * BEAT_SECONDS
        while time.monotonic() < deadline:
            time.sleep(min(_LOOK_AGAIN_SECONDS, BEAT_SECONDS / 2))
            now = self._holder()
            if now is None or any(now[name] != holder[name] for name in ("token", "heartbeat")):
                return False
        return True

    def _holder(self) -> dict[str, Any] | None:
        found = _locks().aggregate(
            [
                {"$match": {"_id": self._key}},
                {"$addFields": {"age_ms": {"$subtract": ["$$NOW", "$heartbeat"]}}},
            ]
        )
        return next(iter(found), None)

    def _refusal(self, holder: dict[str, Any] | None) -> str:
        by = "" if holder is None else "process {pid} of {user} on {host}".format_map(holder)
        if self._refuse is not None:
            return self._refuse(by and f" ({by})")
        if holder is None:
            return f"Another run has just ended on {self._where}; start this one again."
        since = f"{holder['since']:%Y-%m-%d %H:%M:%S} UTC"
        return (
            f"Another run is writing {self._where} since {since}: {by}. Wait for its end, stop it, "
            "or choose another field. If it is dead, or lost the database before its end, start "
            "again in two minutes "
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

    def _silent_seconds(self) -> float:
        """Time since the last heartbeat; a wall clock set back counts like one set forward."""
        return max(abs(time.time() - self._last_beat), _uptime() - self._last_uptime)

    def _beat(self) -> None:
        asked = time.time(), _uptime()
        mine = {"_id": self._key, "token": self.token}
        if _locks().update_one(mine, [{"$set": {"heartbeat": "$$NOW"}}]).matched_count:
            self._last_beat, self._last_uptime = asked
        elif self._ended.is_set():
            return
        elif _locks().find_one({"_id": _mark_of(self.token)}) is not None:
            self._lost.set()
        # Nobody took it: the document went, as after a jump of the database's clock by a week.
        elif not self._put({"token": self.token}, upsert=True):
            self._lost.set()


def is_held(dataset: Any, key: str) -> bool:
    """Whether a run that is alive holds a lock at this moment."""
    holder = RunLock(dataset, key)._holder()
    return holder is not None and not (_is_gone(holder) or _is_silent(holder))


def _locks() -> Any:
    # Journaled: a database that is killed must not forget who holds what.
    return database()[_COLLECTION].with_options(write_concern=JOURNALED)


def _mark_of(token: str) -> str:
    return f"overtaken/{token}"


def _mark_overtaken(holder: dict[str, Any], may_live: bool, by: str) -> None:
    mark = {"key": holder["_id"], "token": holder["token"], "may_live": may_live, "by": by}
    values = {name: {"$literal": value} for name, value in mark.items()}
    _locks().update_one(
        {"_id": _mark_of(holder["token"])},
        [{"$set": {**values, "heartbeat": "$$NOW"}}],
        upsert=True,
    )


def _myself(token: str) -> dict[str, Any]:
    mine = {
        "token": token,
        "machine": _machine(),
        "host": platform.node(),
        "user": _user(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "ticks": _start_ticks(os.getpid()),
    }
    # In an update by pipeline a text that begins with a dollar sign would name a field.
    return {name: {"$literal": value} for name, value in mine.items()}


def _is_gone(holder: dict[str, Any]) -> bool:
    """Whether a holder's process, or thread of this process, is known to have ended."""
    if holder["machine"] != _machine():
        return False
    if holder["pid"] == os.getpid():
        return holder["token"] not in _held_here
    return not _is_running(holder)


def _is_silent(holder: dict[str, Any]) -> bool:
    return bool(holder["age_ms"] > STALE_SECONDS * 1000)


def _is_running(holder: dict[str, Any]) -> bool:
    try:
        process = psutil.Process(holder["pid"])
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        ticks = _start_ticks(holder["pid"])
        if ticks is not None and holder.get("ticks") is not None:
            return bool(ticks == holder["ticks"])
        same = abs(process.create_time() - holder["started"]) <= _SAME_START_SECONDS
        # A clock that is set moves the start too: one that shows signs of life is that process.
        return bool(same or holder["age_ms"] <= _MISSED_BEATS * BEAT_SECONDS * 1000)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _start_ticks(pid: int) -> int | None:
    """When a process began, on a clock that nobody sets; None where the system does not tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return int(stat.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


@functools.cache
def _machine() -> str:
    """Identifies this machine: the host name is not enough, since containers may share it."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    try:
        identity = Path("/etc/machine-id").read_text().strip()
    except OSError:
        identity = f"{uuid.getnode():x}"
    return f"{platform.node()}/{identity}/{namespace}"


def _uptime() -> float:
    """Monotonic clock; on Linux it includes the time the computer is suspended."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "an unknown user"
