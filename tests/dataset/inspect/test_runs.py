"""What is told of a dataset's runs, and how scores spread."""

from pathlib import Path

import bson
import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from fiftyone.core.odm import get_db_conn

import ntt_plugin as ntt
from ntt_plugin.dataset.database import custom_runs, grid_files
from ntt_plugin.dataset.database.custom_runs import listed_run
from ntt_plugin.dataset.database.fiftyone_internals import runs
from ntt_plugin.dataset.database.locks import RunLock
from ntt_plugin.dataset.database.run_record import claim_record, keep_results
from ntt_plugin.dataset.samples.sample_notes import SampleNote
from ntt_plugin.dataset.segmentation.report import to_dict
from ntt_plugin.errors import DatasetError


@pytest.fixture
def segmented(dataset, segmenter):
    """A bank ``blocks``, and what was segmented with it in ``found``."""
    ntt.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)
    ntt.segment(dataset, "blocks", "found", segmenter=segmenter)
    return dataset


def test_there_are_none_at_first(dataset):
    assert ntt.list_runs(dataset) == []


def test_a_run_is_told_as_its_report_has_it(segmented):
    report = ntt.load_segment_report(segmented, "found")
    (run,) = ntt.list_runs(segmented)
    assert (run.label_field, run.kind, run.bank, run.preset) == (
        "found",
        "segmentation",
        "blocks",
        "tiny",
    )
    assert (run.bank_version, run.started, run.seconds) == (
        report.bank_version,
        report.started,
        report.seconds,
    )
    assert (run.state, run.segmented, run.failed, run.notes) == ("finished", 6, 0, ())
    assert run.instances == segmented.count("found.detections") > 0
    assert (run.exists, run.evaluations) == (True, [])


def test_every_field_has_its_run_the_latest_first(segmented, segmenter, monkeypatch):
    monkeypatch.setattr(
        "ntt_plugin.dataset.segmentation.report._utc_now", lambda: "2100-01-01T00:00:00+00:00"
    )
    ntt.masks_from_boxes(segmented, "ground_truth", "masks", segmenter=segmenter)
    runs = ntt.list_runs(segmented)
    assert [(run.label_field, run.kind, run.bank) for run in runs] == [
        ("masks", "boxes", "ground_truth"),
        ("found", "segmentation", "blocks"),
    ]


def test_evaluations_are_those_of_the_field(segmented):
    ntt.evaluate(segmented, "found", "ground_truth", "one")
    ntt.evaluate(segmented, "found", "ground_truth", "two")
    segmented.evaluate_detections("ground_truth", gt_field="found", eval_key="other")
    (run,) = ntt.list_runs(segmented)
    assert sorted(run.evaluations) == ["one", "two"]


def test_a_deleted_field_is_told(segmented):
    segmented.delete_sample_field("found")
    (run,) = ntt.list_runs(segmented)
    assert (run.label_field, run.exists, run.segmented) == ("found", False, 6)


def test_failures_come_with_their_reasons(dataset, segmenter):
    ntt.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)
    broken = dataset.first().filepath
    Path(broken).write_bytes(b"no image")
    ntt.segment(dataset, "blocks", "found", segmenter=segmenter)
    (run,) = ntt.list_runs(dataset)
    assert run.failed == 1
    assert run.notes[0].filepath == broken and run.notes[0].reason


def keep(dataset, report):
    """Another report of the run into ``found``."""
    with RunLock(dataset, "found") as lock:
        claim_record(dataset, "found", lock)
        keep_results(dataset, "found", lock, report=report)


def test_a_run_that_goes_on_is_running_and_one_that_was_killed_is_stopped(dataset, segmenter):
    ntt.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)
    states = []
    ntt.segment(
        dataset,
        "blocks",
        "found",
        segmenter=segmenter,
        progress=lambda _: states.append(ntt.list_runs(dataset)[0].state),
    )
    assert set(states[:-1]) == {"running"}
    killed = {**vars(ntt.SegmentReport("found", "blocks", "tiny")), "failed": [], "notes": []}
    keep(dataset, killed)
    assert ntt.list_runs(dataset)[0].state == "stopped"


def test_a_damaged_report_hides_no_run(segmented):
    keep(segmented, "?")
    (run,) = ntt.list_runs(segmented)
    assert (run.bank, run.preset, run.started, run.instances) == ("blocks", "tiny", "", 0)


@pytest.fixture
def long(segmented):
    """A report with more failures and notes than are listed, and with many ids."""
    report = to_dict(ntt.load_segment_report(segmented, "found"))
    report["failed"] = [vars(SampleNote(str(n), f"/{n}.png", "half \ud800")) for n in range(250)]
    report["notes"] = [vars(SampleNote("", "", f"note {n}")) for n in range(150)]
    report["segmented_ids"] = [f"{n:024x}" for n in range(100_000)]
    keep(segmented, report)
    return segmented


def test_of_a_long_report_only_the_head_is_read(long, monkeypatch):
    report = ntt.load_segment_report(long, "found")
    monkeypatch.setattr(grid_files, "read_pieces", no_file)
    (run,) = ntt.list_runs(long)
    assert (run.failed, run.instances, run.started) == (250, report.instances, report.started)
    assert run.notes == tuple(report.failed[:100])


def no_file(file):
    raise AssertionError("a whole report was read")


def test_the_head_kept_of_a_long_report_is_small(long):
    stored = runs().find_one({"_id": listed_run(long, "ntt_segment_found")})
    assert len(bson.encode(stored)) < 50_000


def test_a_report_that_an_earlier_version_kept_is_read_whole(long):
    before = ntt.list_runs(long)
    runs().update_one(
        {"_id": listed_run(long, "ntt_segment_found")}, {"$set": {"results_meta": {}}}
    )
    assert ntt.list_runs(long) == before


def test_results_that_an_earlier_version_wrote_since_are_told(segmented):
    report = {**to_dict(ntt.load_segment_report(segmented, "found")), "instances": 12345}
    custom_runs.catch_up(segmented)
    custom_runs.replace(segmented, "ntt_segment_found", report=report)
    assert ntt.list_runs(segmented)[0].instances == 12345


def test_a_clone_tells_the_same_of_its_runs(long):
    clone = long.clone(f"{long.name}_clone")
    try:
        assert ntt.list_runs(clone) == ntt.list_runs(long)
    finally:
        clone.delete()


def test_a_dataset_that_another_process_deleted_is_said(dataset):
    get_db_conn().datasets.delete_one({"_id": dataset._doc.id})
    with pytest.raises(DatasetError, match="was deleted"):
        ntt.list_runs(dataset)


@pytest.fixture
def scored(dataset):
    """Random scores under names of all kinds in ``found``; the last sample has no field."""
    rng = np.random.default_rng(0)
    for sample in dataset.limit(5).iter_samples(autosave=True):
        sample["found"] = fo.Detections(
            detections=[
                fo.Detection(label=str(rng.choice(["a", "3 $b", "$c.d"])), confidence=score)
                for score in [*rng.random(40).tolist(), 0.0, 1.0]
            ]
        )
    return dataset


@pytest.mark.parametrize("bins", [1, 7, np.int64(20)])
def test_scores_spread_as_counted_by_hand(scored, bins):
    found = ntt.score_histogram(scored, "found", bins)
    expected = {}
    for label in scored.values("found.detections", unwind=True):
        expected.setdefault(label.label, []).append(label.confidence)
    assert list(found) == sorted(expected)
    for name, scores in expected.items():
        assert found[name].tolist() == np.histogram(scores, bins, (0, 1))[0].tolist()


def test_scores_that_are_none_are_not_counted(scored):
    before = ntt.score_histogram(scored, "found")
    sample = scored.first()
    for confidence in (None, float("nan"), -0.1, 1.1):
        sample["found"].detections.append(fo.Detection(label="a", confidence=confidence))
    sample["found"].detections.append(fo.Detection(label=None, confidence=0.5))
    sample.save()
    after = ntt.score_histogram(scored, "found")
    assert {name: n.tolist() for name, n in after.items()} == {
        name: n.tolist() for name, n in before.items()
    }


def test_of_a_view_what_it_shows_is_counted(scored):
    view = scored.limit(2).filter_labels("found", F("label") == "a")
    (counts,) = ntt.score_histogram(view, "found").values()
    assert counts.sum() == view.count("found.detections")


@pytest.mark.parametrize("bins", [0, -1, 2.5, True])
def test_a_number_of_bins_that_is_none_is_refused(scored, bins):
    with pytest.raises(DatasetError, match="give 1 or more"):
        ntt.score_histogram(scored, "found", bins)
