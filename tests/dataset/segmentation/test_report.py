import time
from datetime import datetime

import pytest
from fiftyone.core.odm import get_db_conn
from gridfs import GridFS
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.database.locks import RunLock
from ntt_plugin.dataset.database.run_record import (
    keep_record,
    keep_results,
    read_facts,
    read_results,
)
from ntt_plugin.dataset.samples.sample_notes import SampleNote
from ntt_plugin.dataset.segmentation.report import (
    SegmentReport,
    from_dict,
    load_segment_report,
    to_dict,
)
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.errors import DatasetError
from tests.processes import OtherProcess

NOTES = [SampleNote("1", "/a.png", "it is damaged"), SampleNote("", "", "memory ran out")]


def test_a_report_comes_back_as_it_was_kept():
    report = SegmentReport(
        "ntt", "bank", "tiny", failed=NOTES[:1], notes=NOTES, segmented_ids=["1", "2"]
    )
    assert from_dict(to_dict(report)) == report


def test_what_a_newer_version_adds_is_left_out():
    kept = {**to_dict(SegmentReport("ntt", "bank", "tiny")), "mood": "good"}
    assert from_dict(kept).label_field == "ntt"


def test_the_words_name_what_is_not_ordinary():
    report = SegmentReport("ntt", "bank", "tiny", state="stopped", segmented=3, instances=9)
    report.seconds, report.start_seconds = 0.3, 7.9
    report.skipped, report.deleted, report.failed, report.notes = 2, 1, NOTES[:1], NOTES[1:]
    words = str(report)
    for said in (
        "9 instances in 3 images (0.3 s after 7.9 s to start workers)",
        "'ntt' with 'bank'",
        "stopped",
        "2 done before",
        "1 deleted meanwhile",
        "1 failed, the first /a.png: it is damaged",
        "1 to note, the first memory ran out",
    ):
        assert said in words


def test_of_an_ordinary_run_nothing_else_is_said():
    report = SegmentReport("ntt", "bank", "tiny", state="finished", segmented=1, instances=2)
    assert str(report) == "2 instances in 1 images (0.0 s) into 'ntt' with 'bank'"


def test_a_run_tells_what_it_was(dataset, segmenter):
    bank = banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)
    segment(dataset.limit(2), "blocks", segmenter=segmenter)
    report = segment(dataset, "blocks", segmenter=segmenter)
    assert (report.bank, report.bank_version) == ("blocks", bank.version)
    assert (report.preset, report.device, report.state) == ("tiny", "cpu", "finished")
    assert report.skipped_ids == dataset.limit(2).values("id")
    assert report.segmented_ids == dataset.skip(2).values("id")
    assert datetime.fromisoformat(report.started).utcoffset().total_seconds() == 0
    assert report.seconds > 0


def test_a_field_without_a_run_has_no_report(dataset):
    with pytest.raises(DatasetError, match=r"no report of a run into 'ground_truth'"):
        load_segment_report(dataset, "ground_truth")


def test_a_process_that_loaded_the_dataset_before_sees_the_newest_report(
    dataset, segmenter, tmp_path
):
    banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)
    code = (
        "import sys, time, fiftyone as fo\n"
        "from pathlib import Path\n"
        "from ntt_plugin.dataset.segmentation.report import load_segment_report\n"
        "dataset, loaded = fo.load_dataset(sys.argv[1]), Path(sys.argv[2])\n"
        "loaded.touch()\n"
        "while loaded.exists():\n"
        "    time.sleep(0.01)\n"
        "print(load_segment_report(dataset, 'ntt').segmented)\n"
    )
    loaded = tmp_path / "loaded"
    other = OtherProcess(code, dataset.name, str(loaded))
    while not loaded.exists():
        assert other.is_alive()
        time.sleep(0.01)
    segment(dataset, "blocks", segmenter=segmenter)
    loaded.unlink()
    assert other.wait().stdout.split()[-1] == "6"


def test_it_goes_with_a_clone(dataset, segmenter):
    banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)
    report = segment(dataset, "blocks", segmenter=segmenter)
    clone = dataset.clone()
    try:
        assert load_segment_report(clone, "ntt") == report
        assert segment(clone, "blocks", segmenter=segmenter).skipped == 6
    finally:
        clone.delete()


def test_it_tells_of_the_run_also_when_the_field_is_gone(dataset, segmenter):
    banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)
    report = segment(dataset, "blocks", segmenter=segmenter)
    dataset.delete_sample_field("ntt")
    assert load_segment_report(dataset, "ntt") == report


@pytest.fixture
def lock(dataset):
    """The lock of ``ntt``, held, whose record is kept."""
    with RunLock(dataset, "ntt") as held:
        keep_record(dataset, "ntt", {"run": "1"}, held)
        yield held


def test_a_record_is_not_read_from_fiftyones_cached_document(dataset, lock):
    """FiftyOne keeps run documents in memory, which another process may have replaced since."""
    key = "ntt_segment_ntt"
    keep_record(dataset, "ntt", {"run": "1"}, lock)
    keep_results(dataset, "ntt", lock, report="1")
    dataset.load_run_results(key)
    run = dataset._doc.runs[key].id
    files = GridFS(get_db_conn())
    results = files.put(b'{"report": "2"}')
    changed = {"config.run": "2", "results": results}
    get_db_conn().runs.update_one({"_id": run}, {"$set": changed})

    assert dataset.get_run_info(key).config.run == "1"
    assert read_facts(dataset, "ntt")["run"] == "2"
    assert read_results(dataset, "ntt") == {"report": "2"}

    keep_results(dataset, "ntt", lock, report="3")
    assert read_facts(dataset, "ntt")["run"] == "2"
    keep_record(dataset, "ntt", {"run": "4"}, lock)
    assert read_results(dataset, "ntt")["report"] == "3"
    assert dataset.get_run_info(key).config.run == "4"


def keep(dataset, lock, bank, version=0):
    keep_results(dataset, "ntt", lock, report=to_dict(SegmentReport("ntt", bank, "p", version)))


def count_files():
    return get_db_conn()["fs.files"].count_documents({})


def test_no_former_report_is_left_behind(dataset, lock):
    before = count_files()
    for count in range(5):
        keep(dataset, lock, "b", count)
    assert count_files() == before + 1
    assert load_segment_report(dataset, "ntt").bank_version == 4


def test_a_kill_while_a_report_is_kept_leaves_the_former(dataset, lock, monkeypatch):
    keep(dataset, lock, "former")

    def die(collection, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(Collection, "update_one", die)
    with pytest.raises(KeyboardInterrupt):
        keep(dataset, lock, "new")
    assert load_segment_report(dataset, "ntt").bank == "former"


@pytest.mark.parametrize(("is_done", "kept"), [(True, "new"), (False, "former")])
def test_a_lost_answer_leaves_a_whole_report_and_the_next_one_tidies_up(
    dataset, lock, monkeypatch, is_done, kept
):
    before, update = count_files(), Collection.update_one
    keep(dataset, lock, "former")

    def losing(collection, *args, **kwargs):
        if is_done:
            update(collection, *args, **kwargs)
        raise AutoReconnect("connection closed")

    with monkeypatch.context() as patch:
        patch.setattr(Collection, "update_one", losing)
        with pytest.raises(AutoReconnect):
            keep(dataset, lock, "new")
    assert load_segment_report(dataset, "ntt").bank == kept
    keep(dataset, lock, "newest")
    assert load_segment_report(dataset, "ntt").bank == "newest"
    assert count_files() == before + 1


def test_a_report_of_a_deleted_record_is_not_left_behind(dataset, lock):
    before = count_files()
    dataset.delete_run("ntt_segment_ntt")
    keep(dataset, lock, "b")
    assert count_files() == before
