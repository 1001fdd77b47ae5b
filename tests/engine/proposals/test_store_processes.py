import multiprocessing
import os
import random
import signal
import time
from contextlib import suppress
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from ntt_plugin.engine.proposals.store import ProposalStore
from tests.engine.proposals.store_children import (
    key_of,
    payload_of,
    write_and_read,
    write_until_killed,
)

pytestmark = pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="needs fork servers"
)


@pytest.fixture(scope="module")
def children() -> ForkServerContext:
    """Children of a server that has imported everything once: they start in milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "tests.engine.proposals.store_children"])
    return context


def test_what_a_killed_writer_said_is_stored_is_there(
    children: ForkServerContext, tmp_path: Path
) -> None:
    chance = random.Random(0)
    said: set[str] = set()
    for kill in range(20):
        ours, theirs = children.Pipe()
        child = children.Process(target=write_until_killed, args=(theirs, tmp_path, kill * 10**6))
        child.start()
        theirs.close()
        said.add(ours.recv())
        time.sleep(chance.uniform(0, 0.02))
        os.kill(child.pid, signal.SIGKILL)
        with suppress(EOFError, OSError):
            while True:
                said.add(ours.recv())
        child.join()
        assert child.exitcode == -signal.SIGKILL

    store = ProposalStore(tmp_path)
    assert len(said) >= 20
    assert all(store.get(key) == payload_of(key) for key in said)


def test_what_a_killed_writer_left_is_whole_or_not_a_record(
    children: ForkServerContext, tmp_path: Path
) -> None:
    for kill in range(10):
        ours, theirs = children.Pipe()
        child = children.Process(target=write_until_killed, args=(theirs, tmp_path, kill * 10**6))
        child.start()
        ours.recv()
        os.kill(child.pid, signal.SIGKILL)
        child.join()

    store = ProposalStore(tmp_path)
    records = list(tmp_path.glob("*/*.proposals"))
    assert all(store.get(path.stem) == payload_of(path.stem) for path in records)
    assert store.info().entries == len(records)


@pytest.mark.parametrize("room_for", [100, 4])
def test_processes_that_share_a_store_never_read_what_was_not_written(
    children: ForkServerContext, tmp_path: Path, room_for: int
) -> None:
    max_bytes = room_for * (len(payload_of(key_of(0))) + 100)
    running = []
    for _ in range(2):
        ours, theirs = children.Pipe()
        child = children.Process(target=write_and_read, args=(theirs, tmp_path, 150, max_bytes))
        child.start()
        running.append((ours, child))
    found = [ours.recv() for ours, _ in running]
    for _, child in running:
        child.join()

    assert [(wrong, damaged) for wrong, damaged, _ in found] == [(0, 0), (0, 0)]
    assert all(hits > 0 for _, _, hits in found)
    assert ProposalStore(tmp_path, max_bytes).info().bytes <= max_bytes
