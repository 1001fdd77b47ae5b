"""Three ways to keep records under keys, for ``proposal_stores.py`` to compare."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from pathlib import Path

from ntt_plugin.engine.proposals.store import ProposalStore

USES_AT_ONCE = 100


class SqliteStore:
    """One table of blobs; WAL, flushed at checkpoints, uses written a hundred at a time."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.database = sqlite3.connect(folder / "store.sqlite", timeout=60, isolation_level=None)
        self.database.execute("PRAGMA page_size=16384")
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("PRAGMA synchronous=NORMAL")
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS record (key TEXT PRIMARY KEY, used INTEGER, payload BLOB)"
        )
        self.uses: list[tuple[int, str]] = []

    def get(self, key: str) -> bytes | None:
        """A payload, or None."""
        row = self.database.execute("SELECT payload FROM record WHERE key=?", (key,)).fetchone()
        self.uses.append((time.time_ns(), key))
        if len(self.uses) >= USES_AT_ONCE:
            self.database.execute("BEGIN IMMEDIATE")
            self.database.executemany("UPDATE record SET used=? WHERE key=?", self.uses)
            self.database.execute("COMMIT")
            self.uses.clear()
        return None if row is None else unseal(row[0])

    def put(self, key: str, payload: bytes) -> bool:
        """Keep a payload; it always can be."""
        row = (key, time.time_ns(), seal(payload))
        self.database.execute("INSERT OR REPLACE INTO record VALUES (?, ?, ?)", row)
        return True

    def remove(self, keys: list[str]) -> None:
        """Remove records."""
        self.database.execute("BEGIN IMMEDIATE")
        self.database.executemany("DELETE FROM record WHERE key=?", [(key,) for key in keys])
        self.database.execute("COMMIT")


class LmdbStore:
    """One environment with two tables; not flushed, uses written a hundred at a time."""

    def __init__(self, folder: Path) -> None:
        import lmdb

        folder.mkdir(parents=True, exist_ok=True)
        self.environment = lmdb.open(str(folder), map_size=8 << 30, max_dbs=2, sync=False)
        self.records = self.environment.open_db(b"records")
        self.used = self.environment.open_db(b"used")
        self.uses: list[tuple[bytes, bytes]] = []

    def get(self, key: str) -> bytes | None:
        """A payload, or None."""
        with self.environment.begin(db=self.records, buffers=True) as transaction:
            found = transaction.get(key.encode())
            payload = None if found is None else unseal(found)
        self.uses.append((key.encode(), time.time_ns().to_bytes(8, "big")))
        if len(self.uses) >= USES_AT_ONCE:
            with self.environment.begin(db=self.used, write=True) as transaction:
                transaction.cursor().putmulti(self.uses)
            self.uses.clear()
        return payload

    def put(self, key: str, payload: bytes) -> bool:
        """Keep a payload; it always can be."""
        with self.environment.begin(write=True) as transaction:
            transaction.put(key.encode(), seal(payload), db=self.records)
            transaction.put(key.encode(), time.time_ns().to_bytes(8, "big"), db=self.used)
        return True

    def remove(self, keys: list[str]) -> None:
        """Remove records."""
        with self.environment.begin(write=True) as transaction:
            for key in keys:
                transaction.delete(key.encode(), db=self.records)
                transaction.delete(key.encode(), db=self.used)


class FileStore(ProposalStore):
    """The one that was chosen."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, max_bytes=1 << 40)

    def remove(self, keys: list[str]) -> None:
        """Remove records."""
        for key in keys:
            (self.folder / key[:2] / f"{key}.proposals").unlink()


Store = SqliteStore | LmdbStore | FileStore
CANDIDATES: dict[str, type[Store]] = {"files": FileStore, "sqlite": SqliteStore, "lmdb": LmdbStore}


def seal(payload: bytes) -> bytes:
    """A payload after its checksum."""
    return hashlib.blake2b(payload, digest_size=16).digest() + payload


def unseal(data: bytes | memoryview) -> bytes | None:
    """A payload, if its checksum holds."""
    payload = bytes(data[16:])
    return payload if hashlib.blake2b(payload, digest_size=16).digest() == data[:16] else None
