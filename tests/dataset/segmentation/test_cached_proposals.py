import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ntt_plugin as ntt
from ntt_plugin.dataset.segmentation.report import load_segment_report
from ntt_plugin.engine.proposals import cache as proposal_cache
from ntt_plugin.engine.proposals.cache import image_digest
from ntt_plugin.engine.proposals.mask_upsampling import BandedUpsampler
from ntt_plugin.engine.proposals.store import ProposalStore
from tests.dataset import scenes


class Kept(scenes.ColourSegmenter):
    """A colour segmenter whose proposals can be kept."""

    def __init__(self, upstream: str = "colours", **overrides: object) -> None:
        super().__init__(**overrides)
        self.upstream = upstream


@pytest.fixture
def store(tmp_path):
    return ProposalStore(tmp_path / "kept", max_bytes=10**8)


@pytest.fixture
def bank(dataset):
    return ntt.build_memory_bank(dataset, "ground_truth", "bank", segmenter=Kept(), progress=False)


def run(dataset, bank, field, segmenter, cache, **options):
    return ntt.segment(
        dataset, bank, field, progress=False, segmenter=segmenter, cache=cache, **options
    )


def labels_of(dataset, field):
    """All that is written but ids."""
    return [
        [
            (
                label.label,
                label.bounding_box,
                label.confidence,
                label.margin,
                label.proposal_iou,
                label.reference,
                label.mask.tobytes(),
            )
            for label in sample[field].detections
        ]
        for sample in dataset.reload() or dataset
    ]


def test_a_second_run_computes_nothing_and_finds_the_same(dataset, bank, store):
    first, second, alone = Kept(), Kept(), Kept()
    filled = run(dataset, bank, "first", first, store)
    found = run(dataset, bank, "second", second, store)
    run(dataset, bank, "alone", alone, False)

    assert (first.proposed, second.proposed, alone.proposed) == (6, 0, 6)
    assert (filled.from_cache, found.from_cache) == (0, 6)
    assert found.segmented == 6 and found.instances == filled.instances > 0
    assert (
        labels_of(dataset, "first") == labels_of(dataset, "second") == labels_of(dataset, "alone")
    )
    assert "6 of them from kept proposals" in str(found)
    assert load_segment_report(dataset, "second").from_cache == 6


def test_a_changed_bank_and_changed_thresholds_only_match(dataset, bank, store):
    run(dataset, bank, "first", Kept(), store)
    bank.remove("red")
    bank.add_negatives("blue", bank.features("green"))
    warm = Kept(max_instances=1, rescoring="diffusion", nms_iou=0.3)
    cold = Kept(max_instances=1, rescoring="diffusion", nms_iou=0.3)
    run(dataset, bank, "warm", warm, store)
    run(dataset, bank, "cold", cold, False)

    assert (warm.proposed, cold.proposed) == (0, 6)
    assert labels_of(dataset, "warm") == labels_of(dataset, "cold") != labels_of(dataset, "first")


def test_another_segmenter_is_not_given_these_proposals(dataset, bank, store):
    run(dataset, bank, "first", Kept(), store)
    other = Kept(upstream="other weights")
    assert run(dataset, bank, "second", other, store).from_cache == 0
    assert other.proposed == 6


def test_unknown_weights_keep_nothing(dataset, bank, store):
    run(dataset, bank, "first", scenes.ColourSegmenter(), store)
    assert store.info().entries == 0


def test_a_changed_image_is_computed_anew_and_a_copied_one_is_not(dataset, bank, store, tmp_path):
    run(dataset, bank, "first", Kept(), store)
    first, second = dataset.limit(2)
    Image.fromarray(scenes.draw(9)).save(first.filepath)
    shutil.copy(second.filepath, tmp_path / "copy.png")
    second.filepath = str(tmp_path / "copy.png")
    second.save()
    segmenter = Kept()

    assert run(dataset, bank, "second", segmenter, store).from_cache == 5
    assert segmenter.proposed == 1


def test_by_default_the_store_is_in_the_cache_folder(dataset, bank, tmp_path, monkeypatch):
    monkeypatch.setenv("NTT_CACHE_DIR", str(tmp_path / "mine"))
    run(dataset, bank, "first", Kept(), True)
    assert ProposalStore(tmp_path / "mine" / "proposals").info().entries == 6


def test_a_run_that_is_stopped_keeps_what_it_computed(dataset, bank, store):
    segmenter = Kept()

    def stop(bar):
        if bar.iteration == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ntt.segment(dataset, bank, "first", progress=stop, segmenter=segmenter, cache=store)
    assert store.info().entries == segmenter.proposed >= 3


def test_a_store_that_cannot_be_written_is_noted_once_and_stops_nothing(dataset, bank, tmp_path):
    (tmp_path / "in_the_way").write_text("a file")
    report = run(dataset, bank, "first", Kept(), ProposalStore(tmp_path / "in_the_way", 10**8))

    assert (report.segmented, report.state) == (6, "finished")
    (note,) = report.notes
    assert note.sample == "" and "proposals of 6 images were not kept" in note.reason
    assert "Cannot write to" in note.reason
    assert load_segment_report(dataset, "first").notes == [note]


def test_a_cache_folder_that_can_not_be_is_noted_once_and_stops_nothing(dataset, bank, monkeypatch):
    monkeypatch.setenv("NTT_CACHE_DIR", "~nosuchuser/x")
    report = run(dataset, bank, "first", Kept(), True)

    assert (report.segmented, report.state) == (6, "finished")
    (note,) = report.notes
    assert "no proposals are kept" in note.reason and "NTT_CACHE_DIR" in note.reason


def test_damage_is_noted_and_computed_again(dataset, bank, store):
    run(dataset, bank, "first", Kept(), store)
    for path in sorted(store.folder.rglob("*.proposals"))[:2]:
        path.write_bytes(path.read_bytes()[:-3])
    segmenter = Kept()
    report = run(dataset, bank, "second", segmenter, store)

    assert (segmenter.proposed, report.from_cache) == (2, 4)
    (note,) = report.notes
    assert "2 kept proposals could not be used" in note.reason
    assert labels_of(dataset, "first") == labels_of(dataset, "second")
    assert run(dataset, bank, "third", Kept(), store).from_cache == 6


def test_whatever_fails_while_keeping_stops_nothing(dataset, bank, store, monkeypatch):
    def fail(_):
        raise MemoryError("no room")

    monkeypatch.setattr(proposal_cache, "encode_proposals", fail)
    report = run(dataset, bank, "first", Kept(), store)
    assert report.segmented == 6 and "no room" in report.notes[0].reason


def test_an_image_changed_while_it_was_computed_is_not_kept(dataset, bank, store):
    class Slow(Kept):
        def propose(self, image, progress=None):
            found = super().propose(image)
            for sample in dataset:
                Image.fromarray(scenes.draw(7)).save(sample.filepath)
            return found

    report = run(dataset.limit(1), bank, "first", Slow(), store)
    assert store.info().entries == 0
    assert "changed during the run" in report.notes[0].reason


def test_kept_proposals_do_not_hide_that_an_image_is_gone(dataset, bank, store):
    run(dataset, bank, "first", Kept(), store)
    Path(dataset.first().filepath).unlink()
    report = run(dataset, bank, "second", Kept(), store)

    assert (report.from_cache, len(report.failed)) == (5, 1)
    assert "check the path" in report.failed[0].reason


def test_on_a_cpu_masks_are_made_by_the_thread_that_computes(dataset, bank, store, monkeypatch):
    threads = []

    def upsample(*arguments):
        threads.append(threading.current_thread())
        return original(*arguments)

    original = BandedUpsampler.upsample
    monkeypatch.setattr(BandedUpsampler, "upsample", upsample)
    report = run(dataset, bank, "first", Kept(), store)

    assert store.info().entries == len(dataset) and report.instances
    assert len(threads) >= report.instances
    assert set(threads) == {threading.current_thread()}


def test_no_writer_is_left_when_a_run_has_ended(dataset, bank, store):
    run(dataset, bank, "first", Kept(), store)
    assert not [thread for thread in threading.enumerate() if "proposals" in thread.name]


def test_an_image_without_a_proposal_is_kept_as_such(dataset, bank, store):
    black = dataset.first()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(black.filepath)
    run(dataset.limit(1), bank, "first", Kept(), store)
    report = run(dataset.limit(1), bank, "second", Kept(), store)
    assert (report.from_cache, report.instances) == (1, 0)


def test_a_recipe_with_other_thresholds_shares_the_networks(monkeypatch):
    from ntt_plugin.dataset import networks
    from ntt_plugin.engine import Recipe, Segmenter

    loads = []
    load = Segmenter.from_preset
    monkeypatch.setattr(Segmenter, "from_preset", lambda *a, **k: loads.append(a) or load(*a, **k))
    networks._kept.clear()
    recipe = Recipe.from_preset("tiny", grid=4)
    first = networks.get_segmenter(recipe, "cpu")
    other = networks.get_segmenter(replace(recipe, nms_iou=0.9, grid=5), "cpu", batch_size=3)
    networks._kept.clear()

    assert len(loads) == 1
    assert (first.recipe.nms_iou, first.recipe.point_batch) == (0.5, 256)
    assert (other.recipe.nms_iou, other.recipe.grid, other.recipe.point_batch) == (0.9, 5, 3)


FORGED = [
    lambda proposals: replace(proposals, ious=proposals.ious * float("nan")),
    lambda proposals: replace(proposals, features=proposals.features[:, :1]),
    lambda proposals: replace(proposals, image_size=(1000, 2000)),
    lambda proposals: replace(proposals, masks=[_other_area(mask) for mask in proposals.masks]),
]


def _other_area(mask):
    return replace(mask, area=mask.area - 1)


@pytest.mark.parametrize("forge", FORGED)
def test_a_forged_record_is_computed_again_and_told(dataset, bank, store, forge):
    segmenter = Kept()
    run(dataset, bank, "ntt", segmenter, store)
    cache = proposal_cache.ProposalCache(store, segmenter.upstream, segmenter.fingerprint)
    digest = image_digest(dataset.first().filepath)
    assert cache.save(digest, forge(cache.load(digest)))

    for field, told in (("second", True), ("third", False)):
        report = run(dataset, bank, field, segmenter, store)
        assert report.failed == [] and labels_of(dataset, field) == labels_of(dataset, "ntt")
        assert any("could not be used" in note.reason for note in report.notes) == told
        assert report.from_cache == (5 if told else 6)
