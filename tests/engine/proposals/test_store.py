import os
import threading
from pathlib import Path

import numpy as np
import pytest

from ntt_plugin.engine.proposals.codec import decode_proposals, encode_proposals
from ntt_plugin.engine.proposals.record_files import HEADER_BYTES
from ntt_plugin.engine.proposals.store import ProposalStore
from tests.engine.masks.packed_masks import same_proposals, some_proposals
from tests.engine.proposals.store_children import key_of

A, B, C, D, E = map(key_of, range(5))
HUNDRED = bytes(100)


def room_for(records: int) -> int:
    """A budget for that many records of 100 bytes."""
    return records * (HEADER_BYTES + 100)


def kept(store: ProposalStore) -> set[str]:
    return {path.stem for path in store.folder.glob("*/*.proposals")}


def record_file(store: ProposalStore, key: str) -> Path:
    return store.folder / key[:2] / f"{key}.proposals"


def test_a_payload_comes_back_under_its_key_alone(tmp_path: Path) -> None:
    store = ProposalStore(tmp_path / "not" / "there" / "yet")

    assert store.get(A) is None
    assert store.put(A, b"one")
    assert store.put(B, b"")
    assert store.get(A) == b"one"
    assert store.get(B) == b""
    assert store.get(C) is None
    counts = store.counts
    assert (counts.hits, counts.misses, counts.stored, counts.damaged) == (2, 2, 2, 0)


def test_another_store_object_finds_it(tmp_path: Path) -> None:
    ProposalStore(tmp_path).put(A, b"one")

    assert ProposalStore(tmp_path).get(A) == b"one"


def test_a_later_payload_replaces_the_first(tmp_path: Path) -> None:
    store = ProposalStore(tmp_path)
    store.put(A, b"one")
    store.put(A, b"two")

    assert store.get(A) == b"two"
    assert store.info().entries == 1


@pytest.mark.parametrize("key", ["", "a" * 63, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n"])
def test_what_is_no_key_is_refused(tmp_path: Path, key: str) -> None:
    store = ProposalStore(tmp_path)

    with pytest.raises(ValueError, match="64 hexadecimal"):
        store.get(key)
    with pytest.raises(ValueError, match="64 hexadecimal"):
        store.put(key, b"")


def test_a_damaged_record_is_a_miss_whatever_was_damaged(tmp_path: Path) -> None:
    store = ProposalStore(tmp_path)
    stored = some_proposals(count=3)
    store.put(A, encode_proposals(stored))
    path = record_file(store, A)
    sound = path.read_bytes()
    rng = np.random.default_rng(0)
    damage = 0
    for index in range(2000):
        damaged = bytearray(sound)
        if index % 4 == 0:
            del damaged[rng.integers(len(sound)) :]
        elif index % 4 == 1:
            damaged += rng.bytes(int(rng.integers(1, 50)))
        else:
            for place in rng.integers(0, len(sound), rng.integers(1, 5)):
                damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        if bytes(damaged) == sound:
            continue
        damage += 1
        assert store.get(A) is None
    path.write_bytes(sound)

    assert damage > 1990
    assert store.counts.damaged == store.counts.misses == damage
    assert "is damaged" in (store.counts.problem or "")
    found = store.get(A)
    assert found is not None
    assert same_proposals(decode_proposals(found), stored)


def test_a_record_that_lies_under_another_key_is_a_miss(tmp_path: Path) -> None:
    store = ProposalStore(tmp_path)
    store.put(A, b"of A")
    store.put(B, b"of B")
    record_file(store, B).write_bytes(record_file(store, A).read_bytes())

    assert store.get(B) is None
    assert store.counts.damaged == 1


def test_a_damaged_record_is_mended_by_storing_it_anew(tmp_path: Path) -> None:
    store = ProposalStore(tmp_path)
    store.put(A, b"one")
    record_file(store, A).write_bytes(b"")

    assert store.get(A) is None
    assert store.put(A, b"one")
    assert store.get(A) == b"one"


def test_a_record_that_cannot_be_decoded_is_counted_as_damaged(tmp_path: Path) -> None:
    store = ProposalStore(tmp_path)
    store.put(A, b"no proposals")
    store.get(A)
    store.report_damage(A, "it is too short")

    counts = store.counts
    assert (counts.hits, counts.misses, counts.damaged) == (0, 1, 1)
    assert "too short" in (counts.problem or "")


def test_what_was_written_first_goes_first(tmp_path: Path) -> None:
    store = ProposalStore(tmp_path, max_bytes=room_for(3))
    for key in (A, B, C, D):
        store.put(key, HUNDRED)

    # Down to nine tenths of the budget: two of three records.
    assert kept(store) == {C, D}


def test_what_was_read_lately_stays(tmp_path: Path) -> None:
    store = ProposalStore(tmp_path, max_bytes=room_for(3))
    for key in (A, B, C):
        store.put(key, HUNDRED)
    store.get(A)
    store.put(D, HUNDRED)

    assert kept(store) == {A, D}


def test_records_of_others_count_and_go_as_well(tmp_path: Path) -> None:
    for key in (A, B, C):
        ProposalStore(tmp_path, max_bytes=room_for(100)).put(key, HUNDRED)
    ProposalStore(tmp_path, max_bytes=room_for(2)).put(D, HUNDRED)

    assert kept(ProposalStore(tmp_path)) == {C, D}


def test_the_budget_holds_after_many_records_of_any_size(tmp_path: Path) -> None:
    store = ProposalStore(tmp_path, max_bytes=100_000)
    rng = np.random.default_rng(0)
    for index in range(300):
        assert store.put(key_of(index), bytes(int(rng.integers(1, 9000))))
        assert store.info().bytes <= 100_000
    assert store.info().bytes > 80_000


def test_a_record_above_the_budget_is_not_stored_and_costs_no_other(tmp_path: Path) -> None:
    store = ProposalStore(tmp_path, max_bytes=room_for(2))
    store.put(A, HUNDRED)

    assert not store.put(B, bytes(1000))
    assert kept(store) == {A}
    assert store.counts.not_stored == 1
    assert "budget" in (store.counts.problem or "")


def test_unfinished_files_go_after_an_hour_and_not_before(tmp_path: Path) -> None:
    store = ProposalStore(tmp_path)
    store.put(A, HUNDRED)
    old, new = (store.folder / A[:2] / f"{A}.{digit * 32}.tmp" for digit in "01")
    for path, age in ((old, 4000), (new, 3000)):
        path.write_bytes(HUNDRED)
        used = record_file(store, A).stat().st_mtime - age
        os.utime(path, (used, used))

    ProposalStore(tmp_path).put(B, HUNDRED)

    assert not old.exists()
    assert new.exists()


def test_info_tells_entries_bytes_and_ages(tmp_path: Path) -> None:
    store = ProposalStore(tmp_path, max_bytes=12_345)
    empty = store.info()
    assert (empty.entries, empty.bytes, empty.oldest, empty.newest) == (0, 0, None, None)

    for second, key in ((3000, A), (1000, B), (2000, C)):
        store.put(key, HUNDRED)
        os.utime(record_file(store, key), (second, second))
    info = store.info()

    assert (info.folder, info.entries, info.max_bytes) == (tmp_path, 3, 12_345)
    assert info.bytes == sum(path.stat().st_size for path in tmp_path.glob("*/*"))
    assert info.oldest is not None
    assert info.newest is not None
    assert (info.oldest.timestamp(), info.newest.timestamp()) == (1000, 3000)


def test_clear_removes_all_records_and_nothing_else(tmp_path: Path) -> None:
    store = ProposalStore(tmp_path)
    for key in (A, B, C):
        store.put(key, HUNDRED)
    (tmp_path / A[:2] / f"{A}.{'0' * 32}.tmp").write_bytes(HUNDRED)
    mine = [
        tmp_path / "thesis.proposals",
        tmp_path / A[:2] / "thesis.proposals",
        tmp_path / "photos" / f"{A}.proposals",
    ]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")

    assert store.clear() == 3
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(mine)
    assert store.get(A) is None
    assert store.put(A, HUNDRED)


def test_clearing_a_store_that_never_was_removes_nothing(tmp_path: Path) -> None:
    assert ProposalStore(tmp_path / "missing").clear() == 0


def test_threads_share_a_store(tmp_path: Path) -> None:
    store = ProposalStore(tmp_path, max_bytes=room_for(20))
    wrong: list[str] = []

    def work(part: int) -> None:
        for index in range(100):
            key = key_of((index + part) % 30)
            store.put(key, key.encode() + bytes(36))
            found = store.get(key_of(index % 30))
            if found is not None and bytes(found[:64]) != key_of(index % 30).encode():
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    counts = store.counts
    assert wrong == []
    assert (counts.stored, counts.hits + counts.misses) == (400, 400)
    assert counts.hits > 0
    assert counts.damaged == counts.not_stored == 0
