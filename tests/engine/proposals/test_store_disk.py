"""Disks that are full, folders that cannot be written to: a run goes on, and the counts tell."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ntt_plugin.engine import files
from ntt_plugin.engine.files import MAX_BYTES, default_budget, default_folder
from ntt_plugin.engine.proposals import record_files
from ntt_plugin.engine.proposals.store import ProposalStore
from ntt_plugin.errors import StoreError
from tests.engine.proposals.store_children import key_of

resource = pytest.importorskip("resource", reason="needs POSIX")

A, B = key_of(0), key_of(1)
NOBODY = 65534


@pytest.fixture
def read_only() -> Iterator[ProposalStore]:
    """A store with one record, in a folder that this user may read and not write."""
    place = Path(tempfile.mkdtemp())
    ProposalStore(place / "store").put(A, b"one")
    folders = [place, place / "store", place / "store" / A[:2]]
    for folder in folders:
        folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        # Nothing is forbidden to root.
        os.seteuid(NOBODY)
    yield ProposalStore(place / "store")
    os.seteuid(user)
    for folder in folders:
        folder.chmod(0o755)
    shutil.rmtree(place)


def test_a_read_only_store_is_read(read_only: ProposalStore) -> None:
    assert read_only.get(A) == b"one"
    assert read_only.info().entries == 1


def test_what_a_read_only_store_cannot_take_is_counted(read_only: ProposalStore) -> None:
    assert not read_only.put(A, b"two")
    assert not read_only.put(B, b"two")
    assert read_only.counts.not_stored == 2
    assert str(read_only.folder) in (read_only.counts.problem or "")
    assert read_only.get(A) == b"one"


def test_a_read_only_store_that_is_above_its_budget_is_left_as_it_is(
    read_only: ProposalStore,
) -> None:
    small = ProposalStore(read_only.folder, max_bytes=1)

    assert not small.put(B, b"")
    assert read_only.get(A) == b"one"


def test_clearing_a_read_only_store_says_what_to_do(read_only: ProposalStore) -> None:
    with pytest.raises(StoreError, match="check that you may"):
        read_only.clear()
    assert read_only.get(A) == b"one"


def test_a_store_that_may_not_be_entered_holds_nothing(read_only: ProposalStore) -> None:
    user = os.geteuid()
    os.seteuid(os.getuid())
    read_only.folder.chmod(0)
    os.seteuid(user)

    assert not read_only.holds(A)
    assert read_only.get(A) is None


def test_a_disk_that_fills_up_while_writing_leaves_nothing(tmp_path: Path) -> None:
    store = ProposalStore(tmp_path)
    store.put(A, b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        stored = [store.put(key, bytes(200_000)) for key in (A, B)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert stored == [False, False]
    assert store.counts.not_stored == 2
    assert os.strerror(errno.EFBIG) in (store.counts.problem or "")
    assert store.get(A) == b"old"
    assert [path.name for path in tmp_path.glob("*/*")] == [f"{A}.proposals"]


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(record_files.os, "replace", full)
    store = ProposalStore(tmp_path)

    assert not store.put(A, b"one")
    assert os.strerror(errno.ENOSPC) in (store.counts.problem or "")
    assert list(tmp_path.glob("*/*")) == []


def test_a_file_in_the_folders_place_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        store = ProposalStore(folder)

        assert store.get(A) is None
        assert not store.put(A, b"one")
        assert store.info().entries == 0
        assert store.clear() == 0
        assert (store.counts.misses, store.counts.damaged, store.counts.not_stored) == (1, 0, 1)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_in_a_records_place_is_a_miss(tmp_path: Path) -> None:
    (tmp_path / A[:2] / f"{A}.proposals").mkdir(parents=True)
    store = ProposalStore(tmp_path)

    assert store.get(A) is None
    assert not store.put(A, b"one")
    assert (store.counts.damaged, store.counts.not_stored) == (1, 1)


def in_place_of_a_record(folder: Path, kind: str) -> Path:
    path = record_files.record_path(folder, A)
    path.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "link to a pipe":
        os.mkfifo(folder / "pipe")
        path.symlink_to(folder / "pipe")
    else:
        path.write_bytes(record_files._MAGIC)
        os.truncate(path, 64 * 2**30)
    return path


@pytest.mark.parametrize("kind", ["pipe", "link to a device", "link to a pipe", "64 GiB"])
def test_what_is_no_record_is_a_miss_and_is_replaced(tmp_path: Path, kind: str) -> None:
    path = in_place_of_a_record(tmp_path, kind)
    store = ProposalStore(tmp_path)

    assert store.get(A) is None
    assert store.counts.damaged == 1
    assert store.put(A, b"one")
    assert store.get(A) == b"one"
    assert path.is_file() and not path.is_symlink()


def test_a_file_of_64_gib_does_not_push_out_the_records(tmp_path: Path) -> None:
    large = in_place_of_a_record(tmp_path, "64 GiB")
    writer = ProposalStore(tmp_path, max_bytes=10**6)
    assert writer.put(B, b"two")

    assert writer.get(B) == b"two"
    assert not large.exists()


def test_a_link_in_place_of_a_record_gives_what_it_points_to_no_new_time(tmp_path: Path) -> None:
    target = tmp_path / "foreign"
    target.write_bytes(bytes(100))
    os.utime(target, ns=(1, 1))
    path = record_files.record_path(tmp_path / "store", A)
    path.parent.mkdir(parents=True)
    path.symlink_to(target)

    assert ProposalStore(tmp_path / "store").get(A) is None
    assert target.stat().st_mtime_ns == 1


def test_a_cache_folder_that_is_a_link_is_used(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    store = ProposalStore(tmp_path / "link")

    assert store.put(A, b"one")
    assert store.get(A) == b"one"


def test_a_nearly_full_disk_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        files.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 0)
    )
    store = ProposalStore(tmp_path)

    assert not store.put(A, b"one")
    problem = store.counts.problem or ""
    assert "is nearly full" in problem and "NTT_CACHE_DIR" in problem and "budget" not in problem


def test_memory_that_runs_out_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ProposalStore(tmp_path)
    store.put(A, b"one")

    def fail(path: Path, key: str) -> None:
        raise MemoryError

    monkeypatch.setattr("ntt_plugin.engine.proposals.store.read_record", fail)
    assert store.get(A) is None
    assert "not enough memory" in (store.counts.problem or "")


def test_the_default_folder_is_what_a_person_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTT_CACHE_DIR", "/somewhere")

    assert default_folder() == Path("/somewhere/proposals")
    assert ProposalStore().folder == Path("/somewhere/proposals")


def test_a_cache_folder_that_can_not_be_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTT_CACHE_DIR", "~nosuchuser/x")

    with pytest.raises(StoreError, match=r"NTT_CACHE_DIR is '~nosuchuser/x'.*set it to a folder"):
        ProposalStore()


@pytest.mark.parametrize(
    ("system", "caches", "expected"),
    [
        ("linux", "", "/home/me/.cache/ntt/proposals"),
        ("linux", "/caches", "/caches/ntt/proposals"),
        ("linux", "relative", "/home/me/.cache/ntt/proposals"),
        ("darwin", "", "/home/me/Library/Caches/ntt/proposals"),
    ],
)
def test_the_default_folder_is_where_the_platform_keeps_caches(
    system: str, caches: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NTT_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", caches)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(files.sys, "platform", system)

    assert default_folder() == Path(expected)


@pytest.mark.parametrize(
    ("free", "held", "expected"),
    [(10**13, 0, MAX_BYTES), (10**9, 0, 10**8), (10**9, 10**9, 2 * 10**8), (0, 0, 0)],
)
def test_the_default_budget_is_a_tenth_of_what_there_is_for_it_and_20_gb_at_most(
    tmp_path: Path, free: int, held: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        files.shutil,
        "disk_usage",
        lambda path: shutil._ntuple_diskusage(2 * free, free, free),
    )

    assert default_budget(tmp_path / "not" / "there", held) == expected
