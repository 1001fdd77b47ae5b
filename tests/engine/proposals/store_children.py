"""What the children of `test_proposal_store_processes` do; a module, so that they can import it."""

import hashlib
from multiprocessing.connection import Connection
from pathlib import Path

from ntt_plugin.engine.proposals.store import ProposalStore


def key_of(index: int) -> str:
    return hashlib.sha256(str(index).encode()).hexdigest()


def payload_of(key: str) -> bytes:
    """100 KB that follow from a key."""
    return hashlib.sha256(key.encode()).digest() * 3200


def write_until_killed(pipe: Connection, folder: Path, first: int) -> None:
    store = ProposalStore(folder, max_bytes=10**12)
    for index in range(first, first + 10**6):
        key = key_of(index)
        if store.put(key, payload_of(key)):
            pipe.send(key)


def write_and_read(pipe: Connection, folder: Path, rounds: int, max_bytes: int) -> None:
    """Write and read the same few records as others do; send how often one was not as written."""
    store = ProposalStore(folder, max_bytes=max_bytes)
    wrong = 0
    for index in range(rounds):
        key = key_of(index % 7)
        wrong += not store.put(key, payload_of(key))
        # The one before is there however little room there is; the other one may have been evicted.
        for other in (key_of((index - 1) % 7), key_of((index + 3) % 7)):
            found = store.get(other)
            wrong += found is not None and bytes(found) != payload_of(other)
    pipe.send((wrong, store.counts.damaged, store.counts.hits))
