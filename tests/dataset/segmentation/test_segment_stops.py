"""What ends a run for every sample, and what only one sample: said, counted, nothing lost."""

import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

import fiftyone as fo
import fiftyone.core.odm as foo
import pytest
from mongoengine.errors import OperationError
from pymongo.collection import Collection
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    OperationFailure,
    ServerSelectionTimeoutError,
)

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.database import locks as run_lock
from ntt_plugin.dataset.segmentation import field_run, writing_behind
from ntt_plugin.dataset.segmentation import segment as segmentation
from ntt_plugin.dataset.segmentation.report import load_segment_report
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.dataset.segmentation.writer import FieldWriter
from ntt_plugin.errors import DatasetError
from tests.dataset import scenes
from tests.dataset.segmentation.test_overtaken_runs import at_write

ROOT = Path(__file__).resolve().parents[3]


pytestmark = pytest.mark.usefixtures("bank")


def at(iteration, act):
    """A progress callback that does something after so many samples."""
    return lambda bar: act() if bar.iteration == iteration else None


@pytest.mark.usefixtures("one_by_one")
def test_a_field_deleted_by_another_process_ends_the_run(dataset, segmenter):
    def delete():
        # What this process knows of the dataset does not change.
        wanted, field = {"_id": dataset._doc.id}, {"name": "ntt"}
        foo.get_db_conn().datasets.update_one(wanted, {"$pull": {"sample_fields": field}})

    with pytest.raises(DatasetError, match="'ntt' was deleted during the run"):
        segment(dataset, "blocks", segmenter=segmenter, progress=at(2, delete))
    assert segmenter.proposed < len(dataset)
    dataset.reload()
    assert [sample["id"] for sample in dataset] == dataset.values("id")


def test_who_holds_a_sample_sees_the_labels_of_a_run_that_was_stopped(dataset, segmenter):
    held = dataset.first()

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(dataset, "blocks", segmenter=segmenter, progress=at(3, stop))
    assert len(held.ntt.detections) == 3


def test_labels_written_while_their_field_is_deleted_leave_no_sample_unreadable(dataset, segmenter):
    samples = dataset._sample_collection

    def delete():
        # FiftyOne takes the values away first, and the field after.
        scenes.wait_until_written(dataset, 1)
        written = samples.find_one({"ntt.run": {"$exists": True}})
        dataset.delete_sample_field("ntt")
        samples.update_one({"_id": written["_id"]}, {"$set": {"ntt": written["ntt"]}})

    with pytest.raises(DatasetError, match="'ntt' was deleted during the run"):
        segment(dataset, "blocks", segmenter=segmenter, progress=at(2, delete))
    assert samples.find_one({"ntt": {"$exists": True}}) is None
    dataset.reload()
    assert len(list(dataset)) == 6


def test_a_sample_deleted_right_after_its_labels_were_written_is_counted(
    dataset, segmenter, monkeypatch
):
    first, write = dataset.first(), FieldWriter.write

    def then_delete(target, results):
        yield from write(target, results)
        if first.id in [result.sample_id for result in results]:
            dataset._sample_collection.delete_one({"_id": first._id})

    monkeypatch.setattr(FieldWriter, "write", then_delete)
    report = segment(dataset, "blocks", segmenter=segmenter)
    assert (report.state, report.segmented, report.failed) == ("finished", 6, [])
    assert first.id in report.segmented_ids


@pytest.mark.parametrize("place", [0, 3])
def test_a_sample_that_fiftyone_cannot_load_is_labelled_all_the_same(dataset, segmenter, place):
    """A run asks for its path only, so that what is wrong elsewhere in it does not matter."""
    bad = dataset.skip(place).first()._id
    dataset._sample_collection.update_one({"_id": bad}, {"$set": {"tags": [{"_cls": "Nothing"}]}})
    report = segment(dataset, "blocks", segmenter=segmenter)
    assert (report.state, report.segmented, report.failed) == ("finished", 6, [])
    held = dataset._sample_collection.find_one({"_id": bad})
    assert len(held["ntt"]["detections"]) == 3 and held["tags"] == [{"_cls": "Nothing"}]


@pytest.mark.parametrize("filepath", [None, 3, {"a": 1}])
def test_a_sample_whose_path_is_none_fails_alone(dataset, segmenter, filepath):
    bad = dataset.skip(3).first()._id
    dataset._sample_collection.update_one({"_id": bad}, {"$set": {"filepath": filepath}})
    report = segment(dataset, "blocks", segmenter=segmenter)
    assert (report.state, report.segmented) == ("finished", 5)
    assert [(note.sample, "no path" in note.reason) for note in report.failed] == [(str(bad), True)]


def test_all_samples_deleted_during_the_run_are_counted(dataset, segmenter):
    report = segment(dataset, "blocks", segmenter=segmenter, progress=at(2, dataset.clear))
    # The labels of the first two are written beside the callback.
    assert report.segmented + report.deleted == 6 and report.deleted >= 4


def test_labels_that_somebody_made_meanwhile_are_left(tmp_path):
    many = scenes.make_dataset(f"test_{uuid.uuid4().hex}", tmp_path, count=16)
    last = many.last().id

    def by_hand():
        sample = many[last]
        sample["ntt"] = fo.Detections(detections=[fo.Detection(label="by hand")])
        sample.save()

    bank = banks.build_memory_bank(many, "ground_truth", "b", segmenter=scenes.ColourSegmenter())
    report = segment(many, bank, segmenter=SlowStart(by_hand))

    assert report.segmented == 15 and "labels from elsewhere" in report.notes[0].reason
    assert [d.label for d in many[last].ntt.detections] == ["by hand"]
    many.delete()


@pytest.mark.parametrize("in_files", [False, True])
def test_labels_that_somebody_made_while_the_image_was_computed_are_left(
    dataset, bank, tmp_path, in_files
):
    first = dataset.first()

    def by_hand():
        # Behind FiftyOne's back, as another process would.
        made = fo.Detections(detections=[fo.Detection(label="by hand")]).to_dict()
        dataset._sample_collection.update_one({"_id": first._id}, {"$set": {"ntt": made}})

    folder = tmp_path / "masks" if in_files else None
    report = segment(dataset, bank, segmenter=SlowStart(by_hand), mask_dir=folder)

    (note,) = report.notes
    assert (report.segmented, note.sample) == (5, first.id) and "left as they are" in note.reason
    first.reload()
    assert [label.label for label in first.ntt.detections] == ["by hand"]
    assert not list((tmp_path / "masks").rglob(f"*{first.id}*"))


@pytest.fixture
def sleep_while_another_runs(dataset, segmenter, monkeypatch):
    """As a sleep of the computer would: the other run even ends before this one wakes."""
    locks, enter = [], run_lock.RunLock.__enter__
    monkeypatch.setattr(
        run_lock.RunLock, "__enter__", lambda lock: (locks.append(lock), enter(lock))[1]
    )
    others = banks.load_memory_bank(dataset, "blocks")
    others.remove("red")
    banks.save_memory_bank(dataset, "others", others)

    def sleep():
        run_lock._held_here.clear()
        long_ago = {"$subtract": ["$$NOW", 300_000]}
        run_lock._locks().update_many({}, [{"$set": {"heartbeat": long_ago}}])
        locks[-1]._last_beat -= 300
        segment(dataset, "others", overwrite=True, segmenter=segmenter)

    return sleep


def test_a_run_taken_over_while_it_computed_an_image_writes_it_no_more(
    dataset, bank, sleep_while_another_runs
):
    with pytest.raises(DatasetError, match=r"taken over.*0 of 6 samples"):
        segment(dataset, bank, segmenter=SlowStart(sleep_while_another_runs))
    assert_the_other_run_is_whole(dataset)


def test_a_run_taken_over_while_networks_were_loaded_changes_nothing(
    dataset, bank, segmenter, monkeypatch, sleep_while_another_runs
):
    def load(*args):
        sleep_while_another_runs()
        return segmenter

    segment(dataset, bank, segmenter=segmenter)
    monkeypatch.setattr(segmentation, "get_segmenter", load)
    with pytest.raises(DatasetError, match="taken over"):
        segment(dataset, bank, overwrite=True)
    assert_the_other_run_is_whole(dataset)


def assert_the_other_run_is_whole(dataset):
    assert dataset.distinct("ntt.detections.bank") == ["others"]
    assert dataset.count("ntt") == 6
    report = load_segment_report(dataset, "ntt")
    assert (report.bank, report.state, report.segmented) == ("others", "finished", 6)


def lose_the_connection():
    raise AutoReconnect("connection closed")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("at_once", [1, 32])
def test_a_connection_lost_at_a_write_loses_no_label(
    dataset, segmenter, monkeypatch, moment, at_once
):
    monkeypatch.setattr(writing_behind, "MOST_AT_ONCE", at_once)
    at_write(monkeypatch, 3 if at_once == 1 else 1, **{moment: lose_the_connection})
    report = segment(dataset, "blocks", segmenter=segmenter)
    assert (report.segmented, report.failed, report.notes) == (6, [], [])
    assert dataset.count("ntt") == 6


@pytest.mark.parametrize("collection", ["runs", "fs.files"])
def test_a_connection_lost_while_the_report_is_kept_does_not_end_the_run(
    dataset, segmenter, monkeypatch, collection
):
    method = "update_one" if collection == "runs" else "insert_one"
    monkeypatch.setattr(field_run, "KEEP_SECONDS", 0.0)
    monkeypatch.setattr(field_run, "_KEEP_SHARE", 1e9)
    write, calls = getattr(Collection, method), []

    def losing(used, *args, **kwargs):
        if used.name == collection:
            calls.append(1)
            if len(calls) == 4:
                raise AutoReconnect("connection closed")
        return write(used, *args, **kwargs)

    monkeypatch.setattr(Collection, method, losing)
    report = segment(dataset, "blocks", segmenter=segmenter)
    assert (report.state, report.segmented, len(calls) > 4) == ("finished", 6, True)
    assert load_segment_report(dataset, "ntt") == report


@pytest.mark.parametrize("second_try", [False, True])
def test_labels_of_another_from_the_last_moment_are_left(
    dataset, segmenter, monkeypatch, second_try
):
    """Between the last look and the write: the database itself refuses."""
    made = {"_cls": "Detections", "detections": [], "run": "other"}
    samples, place = dataset._sample_collection, {"_id": dataset.first()._id}
    at_write(monkeypatch, 1, before=lambda: samples.update_one(place, {"$set": {"ntt": made}}))
    if second_try:
        at_write(monkeypatch, 1, before=lose_the_connection)
    report = segment(dataset, "blocks", segmenter=segmenter)
    assert report.segmented == 5 and "left as they are" in report.notes[0].reason
    assert samples.find_one(place)["ntt"] == made


@pytest.mark.parametrize("step", ["require_writable", "declare", "keep_record", "_clear"])
def test_a_database_gone_before_the_first_image_says_what_to_do(
    dataset, segmenter, monkeypatch, step
):
    def gone(*args, **kwargs):
        raise ServerSelectionTimeoutError("connection refused")

    segment(dataset.limit(2), "blocks", segmenter=segmenter)
    with monkeypatch.context() as patch:
        patch.setattr(field_run, step, gone)
        with pytest.raises(DatasetError, match=r"not answer \(connection refused\).*Start again"):
            segment(dataset, "blocks", overwrite=True, segmenter=segmenter)
    assert segment(dataset, "blocks", segmenter=segmenter).state == "finished"


def no_room(*args, **kwargs):
    raise OperationFailure("no space left", 14031)


def no_room_for_some(*args, **kwargs):
    raise BulkWriteError({"writeErrors": [{"code": 14031, "errmsg": "no space left"}]})


def no_room_for_a_document(*args, **kwargs):
    try:
        no_room()
    except OperationFailure as error:
        raise OperationError(f"Could not save document ({error})")  # noqa: B904, as mongoengine does


@pytest.mark.parametrize("refusal", [no_room, no_room_for_some, no_room_for_a_document])
@pytest.mark.parametrize(("owner", "step"), [(FieldWriter, "_update"), (field_run, "keep_results")])
def test_the_full_disk_of_the_database_stops_the_run(
    dataset, segmenter, monkeypatch, owner, step, refusal
):
    monkeypatch.setattr(owner, step, refusal)
    with pytest.raises(DatasetError, match=r"disk of the database is full.*0 of 6"):
        segment(dataset, "blocks", segmenter=segmenter)
    assert run_lock._locks().find_one({"_id": f"{dataset._doc.id}/ntt"}) is None


def test_another_refusal_fails_that_sample_only(dataset, segmenter, monkeypatch):
    victim, write = dataset.skip(2).first().id, Collection.bulk_write

    def refusing(used, updates, **options):
        places = [str(update._filter["_id"]) for update in updates]
        if victim not in places:
            return write(used, updates, **options)
        place = places.index(victim)
        others = [*updates[:place], *updates[place + 1 :]]
        written = write(used, others, **options).matched_count if others else 0
        refusal = {"index": place, "code": 11000, "errmsg": "odd"}
        raise BulkWriteError({"writeErrors": [refusal], "nMatched": written})

    monkeypatch.setattr(Collection, "bulk_write", refusing)
    report = segment(dataset, "blocks", segmenter=segmenter)
    assert report.segmented == 5
    ((sample, reason),) = [(note.sample, note.reason) for note in report.failed]
    assert sample == victim and reason.startswith("odd")


def test_a_database_gone_during_the_run_ends_it_at_once(tmp_path):
    """In a process with a database of its own, which is killed after two samples."""
    code = """
import tests.fiftyone_database as database, os, sys, pathlib
os.environ["FIFTYONE_DATABASE_URI"] += "/?serverSelectionTimeoutMS=500"
from tests.dataset import scenes
from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.database import locks as run_lock
from ntt_plugin.dataset.segmentation import writing_behind
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.errors import DatasetError
writing_behind.MOST_AT_ONCE = 1
dataset = scenes.make_dataset("gone", pathlib.Path(sys.argv[1]), 40)
segmenter = scenes.ColourSegmenter()
banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)

def kill(bar):
    if bar.iteration == 2:
        database._mongod.kill()
        database._mongod.wait()

try:
    segment(dataset, "blocks", segmenter=segmenter, progress=kill)
except DatasetError as error:
    print(error, segmenter.proposed, run_lock._held_here, flush=True)
os._exit(0)
"""
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    del environment["FIFTYONE_DATABASE_URI"]
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    said = ended.stdout.strip().splitlines()[-1]
    assert re.search(r"does not answer.* [0-2] of 40 samples were labelled", said), ended.stderr
    assert re.search(r" [34] set\(\)$", said), "it went on, or did not let go"
    assert time.monotonic() - began < 120


@pytest.mark.usefixtures("one_by_one")
def test_a_growing_report_is_kept_while_the_run_goes(dataset, segmenter, monkeypatch):
    monkeypatch.setattr(field_run, "KEEP_SECONDS", 0.0)
    monkeypatch.setattr(field_run, "_KEEP_SHARE", 1e9)
    seen = []
    segment(
        dataset,
        "blocks",
        segmenter=segmenter,
        progress=lambda bar: seen.append(load_segment_report(dataset, "ntt")),
    )
    # Labels are written beside the work: the report is behind by those that wait to be written.
    behind = [number - report.segmented for number, report in enumerate(seen, 1)]
    assert all(0 <= waiting <= 2 for waiting in behind)
    assert {report.state for report in seen} == {"running"}


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize(("budget", "most"), [(10**9, 2), (1, 1)])
def test_few_large_masks_wait_to_be_written(dataset, segmenter, monkeypatch, budget, most):
    made, written, write = [], [], FieldWriter.write

    def slowly(*args):
        time.sleep(0.1)
        yield from write(*args)
        written.append(args)

    monkeypatch.setattr(FieldWriter, "write", slowly)
    monkeypatch.setattr(writing_behind, "_WAITING_BYTES", budget)
    waiting = lambda bar: made.append(bar.iteration - len(written))  # noqa: E731
    segment(dataset, "blocks", segmenter=segmenter, progress=waiting)
    assert max(made) == most


def test_a_halved_point_batch_is_noted_once(dataset):
    report = segment(dataset, "blocks", segmenter=Halving())
    assert [note.reason for note in report.notes] == [
        "memory ran out: the point batch was halved to 32"
    ]


class Halving(scenes.ColourSegmenter):
    """Runs out of memory at the second image."""

    @property
    def point_batch(self):
        return 64 if self.proposed < 2 else 32


class SlowStart(scenes.ColourSegmenter):
    """Does something while it works on the first image; only a few more are fetched by then."""

    def __init__(self, act):
        super().__init__()
        self.act = act

    def propose(self, image, progress=None):
        if not self.proposed:
            self.act()
        return super().propose(image)
