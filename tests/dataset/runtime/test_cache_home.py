"""Kept proposals lie below FiftyOne's folders; those of former versions are still found."""

from pathlib import Path

import fiftyone as fo
import pytest

import ntt_plugin as ntt
from ntt_plugin.dataset.runtime.caching import cache_home, store_of
from ntt_plugin.engine.proposals import store as proposal_store

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def former(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> proposal_store.ProposalStore:
    """The store of the platform's cache folder, on a machine where nobody chose a folder."""
    monkeypatch.delenv("NTT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(fo.config, "model_zoo_dir", str(tmp_path / "models"))
    return proposal_store.ProposalStore()


def test_the_default_is_below_fiftyones_models(former, tmp_path):
    assert former.folder == tmp_path / "caches" / "ntt" / "proposals"
    store = store_of(True)
    assert store is not None
    assert store.folder == tmp_path / "models" / "no-time-to-train" / "proposals"
    assert ntt.get_proposals_info().folder == store.folder == ntt.ProposalStore().folder
    assert cache_home() == tmp_path / "models" / "no-time-to-train"


def test_what_former_versions_kept_is_found_counted_and_cleared(former):
    former.put(ONE, b"former")
    store = ntt.ProposalStore()
    store.put(TWO, b"new")
    assert store.holds(ONE) and bytes(store.get(ONE)) == b"former"
    assert bytes(store.get(TWO)) == b"new" and store.get("3" * 64) is None
    assert (store.counts.hits, store.counts.misses) == (2, 1)
    assert not former.holds(TWO)
    info = store.info()
    assert info.entries == 2 and info.bytes > former.info().bytes
    assert info.oldest == former.info().oldest
    assert ntt.clear_proposals() == 2
    assert not store.holds(ONE) and store.info().entries == 0


def test_a_folder_that_a_person_chose_is_the_only_one(former, monkeypatch, tmp_path):
    former.put(ONE, b"former")
    monkeypatch.setenv("NTT_CACHE_DIR", str(tmp_path / "mine"))
    store = ntt.ProposalStore()
    assert store.folder == tmp_path / "mine" / "proposals"
    assert not store.holds(ONE)
    assert ntt.ProposalStore(tmp_path / "given").get(ONE) is None
