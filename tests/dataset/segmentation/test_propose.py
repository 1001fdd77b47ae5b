from pathlib import Path

import fiftyone as fo
import pytest
from PIL import Image

import ntt_plugin as ntt
from ntt_plugin.engine.proposals.store import ProposalStore
from ntt_plugin.errors import DatasetError, StoreError
from tests.dataset import scenes
from tests.dataset.segmentation.test_cached_proposals import Kept


@pytest.fixture
def store(tmp_path):
    return ProposalStore(tmp_path / "kept", max_bytes=10**8)


def propose(samples, segmenter, cache, **options):
    return ntt.propose(samples, segmenter=segmenter, cache=cache, progress=False, **options)


def test_what_was_proposed_ahead_is_only_matched(dataset, store):
    report = propose(dataset, Kept(), store)
    assert (report.computed, report.from_cache, report.failed) == (6, 0, [])
    bank = ntt.build_memory_bank(dataset, "ground_truth", "bank", segmenter=Kept(), progress=False)
    segmenter = Kept()
    found = ntt.segment(dataset, bank, segmenter=segmenter, cache=store, progress=False)
    assert (segmenter.proposed, found.from_cache) == (0, 6)
    assert found.instances > 0


def test_what_is_kept_is_passed_over_and_counted(dataset, store):
    propose(dataset.limit(2), Kept(), store)
    segmenter = Kept()
    report = propose(dataset, segmenter, store)
    assert (segmenter.proposed, report.computed, report.from_cache) == (4, 4, 2)
    assert "4 images computed" in str(report) and "2 kept before" in str(report)


def test_the_dataset_is_not_changed(dataset, store):
    before = (dataset.last_modified_at, dataset.list_runs(), list(dataset.get_field_schema()))
    propose(dataset, Kept(), store)
    dataset.reload()
    assert before == (
        dataset.last_modified_at,
        dataset.list_runs(),
        list(dataset.get_field_schema()),
    )


def test_bad_images_are_named_and_stop_nothing(dataset, store):
    bad, gone = dataset.limit(2)
    Path(bad.filepath).write_bytes(b"no image")
    Path(gone.filepath).unlink()
    report = propose(dataset, Kept(), store)
    assert report.computed == 4
    assert [note.sample for note in report.failed] == [bad.id, gone.id]
    assert all(note.filepath in note.reason for note in report.failed)


def test_a_sample_deleted_meanwhile_is_counted(dataset, store):
    # More samples than are read ahead before the first is worked on.
    dataset.add_samples([fo.Sample(sample.filepath) for sample in dataset for _ in range(3)])

    class Deleting(Kept):
        def propose(self, image, progress=None):
            if self.proposed == 0:
                dataset.delete_samples([dataset.last().id])
            return super().propose(image)

    report = propose(dataset, Deleting(), store)
    assert report.deleted == 1
    assert report.computed + report.from_cache == 23


def test_a_callback_stops_it_and_a_second_call_goes_on(dataset, store):
    def stop(bar):
        if bar.iteration == 2:
            raise KeyboardInterrupt

    first, second = Kept(), Kept()
    with pytest.raises(KeyboardInterrupt):
        ntt.propose(dataset, segmenter=first, cache=store, progress=stop)
    assert propose(dataset, second, store).from_cache == first.proposed >= 2
    assert first.proposed + second.proposed == 6


def test_a_store_that_cannot_be_written_ends_it_with_the_reason(dataset, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"Cannot write to .*NTT_CACHE_DIR"):
        propose(dataset, Kept(), ProposalStore(tmp_path / "file", 10**8))


def test_without_a_store_or_known_weights_there_is_nothing_to_do(dataset, store):
    with pytest.raises(StoreError, match="nowhere"):
        propose(dataset, Kept(), False)
    with pytest.raises(StoreError, match="digest"):
        propose(dataset, scenes.ColourSegmenter(), store)


def test_an_empty_view_is_refused(dataset, store):
    with pytest.raises(DatasetError):
        propose(dataset.limit(1).match_tags("none"), Kept(), store)


def test_by_preset_it_runs_the_presets_networks(dataset, tmp_path):
    from ntt_plugin.engine import Recipe

    store = ProposalStore(tmp_path / "tiny", 10**8)
    report = ntt.propose(
        dataset.limit(1), Recipe.from_preset("tiny", grid=3), "cpu", cache=store, progress=False
    )
    assert (report.preset, report.device, report.computed) == ("tiny", "cpu", 1)


def test_info_and_clearing_are_of_the_default_store(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("NTT_CACHE_DIR", str(tmp_path / "mine"))
    assert ntt.get_proposals_info().entries == 0
    propose(dataset, Kept(), True)
    Image.new("RGB", (3, 3)).save(tmp_path / "mine" / "proposals" / "photo.png")
    info = ntt.get_proposals_info()
    assert (info.entries, info.folder) == (6, tmp_path / "mine" / "proposals")
    assert 0 < info.bytes < info.max_bytes
    assert ntt.clear_proposals() == 6
    assert ntt.get_proposals_info().entries == 0
    assert (tmp_path / "mine" / "proposals" / "photo.png").exists()
