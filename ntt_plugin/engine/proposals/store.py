"""Key-value store on disk with a size budget and least-recently-used eviction.

One file a record, put in place by a rename: a killed writer leaves a file that is never read.
Unlike SQLite and LMDB (``benchmarks/proposal_stores.py``), files give room back when a record goes,
keep damage to one record, and let several processes write at once.

Records are not flushed to the disk. After a power cut the last ones may be damaged; their checksum
shows it, and they are computed again.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from ...errors import StoreError
from ..files import default_budget, default_folder
from .record_files import (
    HEADER_BYTES,
    MAX_RECORD_BYTES,
    list_records,
    read_record,
    record_path,
    remove_record,
    touch,
    write_record,
)

# Writing takes milliseconds: the writer of an unfinished file older than this is gone.
_ABANDONED_NS = 3600 * 10**9
# As parts of the budget: how far records are cut back once it is passed, and how much is written
# between two looks at what other processes wrote.
_CUT_TO = 0.9
_LOOK_EVERY = 0.05


@dataclass(frozen=True)
class StoreCounts:
    """Counters of one ``ProposalStore`` object.

    Attributes:
        hits: records found.
        misses: records not found, damaged ones among them.
        damaged: records that were there, but could not be read or were not as they were written.
        not_stored: records that could not be written.
        problem: why the last record that was damaged or not stored was so; None if none was.
    """

    hits: int = 0
    misses: int = 0
    damaged: int = 0
    stored: int = 0
    not_stored: int = 0
    problem: str | None = None


@dataclass(frozen=True)
class StoreInfo:
    """What a store holds, written by any process.

    Attributes:
        bytes: size of all records together.
        oldest: last use of the least recently used record, UTC; None if there is none.
        newest: last use of the most recently used record, UTC; None if there is none.
    """

    folder: Path
    entries: int
    bytes: int
    max_bytes: int
    oldest: datetime | None
    newest: datetime | None


class ProposalStore:
    """Records in a folder, shared by any number of threads and processes.

    Reading and writing never raise disk errors: a run continues without a cache, and ``counts``
    reports it. The budget is soft: each process may exceed it by a twentieth before it sees what
    others wrote.

    Attributes:
        folder: where the records are; made when the first one is written.
        max_bytes: the budget that was given; None if the disk decides.
    """

    def __init__(self, folder: str | Path | None = None, max_bytes: int | None = None) -> None:
        """Open a store; nothing is read or written yet.

        The folder is ``default_folder()`` if None, the budget ``default_budget()``.

        Raises:
            StoreError: the folder is the default one, and there can be none.
        """
        self.folder = default_folder() if folder is None else Path(folder)
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._counts = StoreCounts()
        # What the last look found, and what this object wrote since.
        self._budget: int | None = None
        self._held = 0
        self._unseen = 0

    @property
    def counts(self) -> StoreCounts:
        """What was found, missed and written through this object."""
        return self._counts

    def get(self, key: str) -> memoryview | None:
        """The payload stored under a key (64 hexadecimal digits), or None."""
        path = record_path(self.folder, key)
        try:
            payload = read_record(path, key)
        except (FileNotFoundError, NotADirectoryError):
            self._count(misses=1)
            return None
        except OSError as error:
            self._count(f"Cannot read {path}: {_reason(error)}.", misses=1, damaged=1)
            return None
        except MemoryError:
            self._count(f"There is not enough memory to read {path}.", misses=1, damaged=1)
            return None
        if payload is None:
            self._count(f"{path} is damaged.", misses=1, damaged=1)
            return None
        # A folder that cannot be written to is read all the same.
        with suppress(OSError):
            touch(path)
        self._count(hits=1)
        return payload

    def holds(self, key: str) -> bool:
        """Whether there is a record under a key; it is not read, and not counted as used."""
        try:
            return record_path(self.folder, key).is_file()
        except OSError:
            return False

    def put(self, key: str, payload: bytes) -> bool:
        """Store a payload under a key, replacing an earlier one; whether it was stored."""
        path, size = record_path(self.folder, key), HEADER_BYTES + len(payload)
        try:
            budget = self._look() if self._budget is None else self._budget
            if size > min(budget, MAX_RECORD_BYTES):
                self._count(self._too_large(size, budget), not_stored=1)
                return False
            write_record(path, key, payload)
        except OSError as error:
            self._count(f"Cannot write to {self.folder}: {_reason(error)}.", not_stored=1)
            return False
        self._count(stored=1)
        self._account(size)
        return True

    def report_damage(self, key: str, reason: str) -> None:
        """Count a record that was found as a miss after all: its content could not be decoded."""
        path = record_path(self.folder, key)
        self._count(f"{path} is damaged: {reason}.", hits=-1, misses=1, damaged=1)

    def info(self) -> StoreInfo:
        """What the store holds now.

        Raises:
            StoreError: the folder cannot be looked into.
        """
        try:
            records = [record for record in list_records(self.folder) if record.finished]
            held = sum(record.size for record in records)
            budget = self._budget_for(held)
        except OSError as error:
            raise self._refusal("look into", error) from error
        used = [datetime.fromtimestamp(record.used / 1e9, timezone.utc) for record in records]
        return StoreInfo(
            folder=self.folder,
            entries=len(records),
            bytes=held,
            max_bytes=budget,
            oldest=min(used, default=None),
            newest=max(used, default=None),
        )

    def clear(self) -> int:
        """Remove all records, and nothing else that may lie in the folder; gives how many.

        Raises:
            StoreError: some cannot be removed.
        """
        removed = 0
        try:
            for record in list_records(self.folder):
                removed += remove_record(record.path) and record.finished
        except OSError as error:
            raise self._refusal("remove", error) from error
        finally:
            with self._lock:
                self._budget = None
        return removed

    def _account(self, size: int) -> None:
        with self._lock:
            self._held += size
            self._unseen += size
            budget = self._budget or 0
            due = self._held > budget or self._unseen > _LOOK_EVERY * budget
        if due:
            # The record is stored; that room cannot be made shows when the next one is not.
            with suppress(OSError):
                self._look()

    def _look(self) -> int:
        """Scan the folder, evict records beyond the budget, and return the budget."""
        with self._lock:
            files = sorted(list_records(self.folder), key=lambda file: file.used)
            records = [file for file in files if file.finished]
            for record in [file for file in records if file.size > MAX_RECORD_BYTES]:
                # Nobody reads it, and it would push out all others.
                records.remove(record)
                with suppress(OSError):
                    remove_record(record.path)
            held = sum(record.size for record in records)
            budget = self._budget_for(held)
            if held > budget:
                # The newest fits by itself, and was just written by somebody.
                for record in records[:-1]:
                    if held <= _CUT_TO * budget:
                        break
                    with suppress(OSError):
                        remove_record(record.path)
                        held -= record.size
            for file in files:
                if not file.finished and time.time_ns() - file.used > _ABANDONED_NS:
                    with suppress(OSError):
                        remove_record(file.path)
            self._budget, self._held, self._unseen = budget, held, 0
            return budget

    def _too_large(self, size: int, budget: int) -> str:
        """Why a record of a size is not stored."""
        if size > MAX_RECORD_BYTES:
            return f"The proposals of one image take {_megabytes(size)}, more than is kept of one."
        if self.max_bytes is not None:
            return f"A record of {size:,} bytes does not fit the budget of {budget:,} bytes."
        return (
            f"The disk of {self.folder} is nearly full: a tenth of what is free there,"
            f" {_megabytes(budget)}, may be used, and the proposals of one image take"
            f" {_megabytes(size)}. Free some space, or choose another folder with NTT_CACHE_DIR."
        )

    def _budget_for(self, held: int) -> int:
        return default_budget(self.folder, held) if self.max_bytes is None else self.max_bytes

    def _count(self, problem: str | None = None, **added: int) -> None:
        with self._lock:
            counted = {name: getattr(self._counts, name) + more for name, more in added.items()}
            self._counts = replace(self._counts, **counted, problem=problem or self._counts.problem)

    def _refusal(self, verb: str, error: OSError) -> StoreError:
        return StoreError(
            f"Cannot {verb} the kept proposals in {self.folder} ({_reason(error)}); check that you "
            "may write there, or choose another folder with NTT_CACHE_DIR."
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
