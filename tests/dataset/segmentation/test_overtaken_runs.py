"""A run that was paused, overtaken by another and woken; the large version is a benchmark."""

import threading
import time
from contextlib import contextmanager
from pathlib import Path

import fiftyone as fo
import pytest
from bson import ObjectId
from fiftyone.core.odm import get_db_conn
from pymongo.collection import Collection

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.database import locks as run_lock
from ntt_plugin.dataset.database import run_record
from ntt_plugin.dataset.database.dataset_locks import schema_lock
from ntt_plugin.dataset.database.locks import LockLostError, RunLock
from ntt_plugin.dataset.evaluation.evaluate import evaluate
from ntt_plugin.dataset.labels import label_field
from ntt_plugin.dataset.references.choose import choose_references
from ntt_plugin.dataset.references.copies import keep_labels
from ntt_plugin.dataset.segmentation import field_run, writing_behind
from ntt_plugin.dataset.segmentation.report import SegmentReport, load_segment_report, to_dict
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.dataset.segmentation.writer import FieldWriter
from ntt_plugin.errors import DatasetError
from tests.dataset import scenes

pytestmark = pytest.mark.usefixtures("two_banks")


@pytest.fixture
def paused(monkeypatch):
    """While in it, runs that hold a lock look paused for five minutes, their processes alive."""
    locks, enter, beat = [], RunLock.__enter__, RunLock._beat
    asleep, awake = [], threading.Event()

    def entering(lock):
        locks.append(lock)
        return enter(lock)

    def beating(lock):
        if lock in asleep:
            awake.wait(60)
        beat(lock)

    monkeypatch.setattr(RunLock, "__enter__", entering)
    monkeypatch.setattr(RunLock, "_beat", beating)
    monkeypatch.setattr(run_lock, "BEAT_SECONDS", 0.05)

    @contextmanager
    def pause():
        asleep.extend(locks)
        time.sleep(0.1)
        long_ago = {"$subtract": ["$$NOW", 300_000]}
        run_lock._locks().update_many({}, [{"$set": {"heartbeat": long_ago}}])
        for lock in asleep:
            lock._last_beat -= 300
        yield
        awake.set()

    return pause


def at_write(monkeypatch, number, before=None, after=None):
    """Do something around the n-th write of a bulk of labels; once."""
    update, calls = Collection.bulk_write, []

    def writing(collection, *args, **kwargs):
        calls.append(collection.name.startswith("samples."))
        due = calls[-1] and sum(calls) == number
        if due and before:
            before()
        answer = update(collection, *args, **kwargs)
        if due and after:
            after()
        return answer

    monkeypatch.setattr(Collection, "bulk_write", writing)


def made_by(dataset):
    """Bank of the labels of each sample; None for a sample without labels."""
    return [
        {label.bank for label in sample.ntt.detections} if sample.ntt else None
        for sample in dataset.select_fields("ntt")
    ]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("in_files", "at_once"), [(False, 1), (False, 32), (True, 1)])
def test_an_overtaken_run_leaves_no_labels_among_those_of_the_other(
    dataset, monkeypatch, paused, tmp_path, moment, in_files, at_once
):
    monkeypatch.setattr(writing_behind, "MOST_AT_ONCE", at_once)
    folder = tmp_path / "masks" if in_files else None

    def take_over():
        options = {"segmenter": scenes.ColourSegmenter(), "mask_dir": folder}
        with paused():
            report = segment(dataset, "others", overwrite=True, **options)
        assert (report.segmented, report.state) == (6, "finished")

    at_write(monkeypatch, 2 if at_once == 1 else 1, **{moment: take_over})
    with pytest.raises(DatasetError, match="taken over"):
        segment(dataset, "blocks", segmenter=scenes.ColourSegmenter(), mask_dir=folder)
    dataset.reload()
    assert made_by(dataset) == [{"others"}] * 6
    assert load_segment_report(dataset, "ntt").bank == "others"
    if in_files:
        named = dataset.distinct("ntt.detections.mask_path")
        assert len(named) == 12 and all(Path(path).is_file() for path in named)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("in_files", "at_once"), [(False, 1), (False, 32), (True, 1)])
def test_nothing_is_lost_where_the_same_run_takes_over(
    dataset, monkeypatch, paused, tmp_path, moment, in_files, at_once
):
    monkeypatch.setattr(writing_behind, "MOST_AT_ONCE", at_once)
    folder = tmp_path / "masks" if in_files else None
    options = {"segmenter": scenes.ColourSegmenter(), "mask_dir": folder}

    def take_over():
        with paused():
            segment(dataset, "blocks", **options)

    at_write(monkeypatch, 2 if at_once == 1 else 1, **{moment: take_over})
    with pytest.raises(DatasetError, match="taken over"):
        segment(dataset, "blocks", **options)
    dataset.reload()
    assert made_by(dataset) == [{"blocks"}] * 6
    report = segment(dataset, "blocks", **options)
    assert (report.skipped, report.segmented) == (6, 0)
    if in_files:
        named = dataset.distinct("ntt.detections.mask_path")
        assert len(named) == 18 and all(Path(path).is_file() for path in named)


class Writes(scenes.ColourSegmenter):
    """Lets another writer put labels into the last sample while it looks at the first image."""

    def __init__(self, dataset, writer):
        super().__init__()
        self.dataset, self.writer = dataset, writer

    def propose(self, image, progress=None):
        if not self.proposed:
            made = {"_cls": "Detections", "detections": [], "run": "x", "writer": self.writer}
            place = {"_id": ObjectId(self.dataset.last().id)}
            self.dataset._sample_collection.update_one(place, {"$set": {"ntt": made}})
        return super().propose(image)


def test_labels_of_an_overtaken_run_are_done_again(dataset):
    key = f"{dataset._doc.id}/ntt"
    run_lock._mark_overtaken({"_id": key, "token": "theirs"}, may_live=True, by="")
    report = segment(dataset, "blocks", segmenter=Writes(dataset, "theirs"))
    assert (report.segmented, report.notes) == (6, [])
    dataset.reload()
    assert made_by(dataset) == [{"blocks"}] * 6


def test_labels_copied_from_another_field_are_left(dataset):
    """They carry the token of the run that made them, which was not overtaken."""
    report = segment(dataset, "blocks", segmenter=Writes(dataset, "another"))
    assert report.segmented == 5 and "left as they are" in report.notes[0].reason


def test_an_overtaken_run_replaces_neither_record_nor_report(dataset, paused):
    with RunLock(dataset, "ntt") as first:
        run_record.keep_record(dataset, "ntt", {"bank": "first"}, first)
        with paused(), RunLock(dataset, "ntt") as second:
            run_record.claim_record(dataset, "ntt", second)
        report = to_dict(SegmentReport("ntt", "first", "p"))
        with pytest.raises(LockLostError):
            run_record.keep_results(dataset, "ntt", first, report=report)
        with pytest.raises(LockLostError):
            run_record.keep_record(dataset, "ntt", {"bank": "first"}, first)
    assert run_record.read_facts(dataset, "ntt")["writer"] == second.token
    assert run_record.read_results(dataset, "ntt") is None


def test_clearing_takes_away_only_what_was_there_before(dataset, monkeypatch):
    """Paused between the look at a sample's labels and taking them away."""
    segment(dataset, "others", segmenter=scenes.ColourSegmenter())
    first, write = ObjectId(dataset.first().id), Collection.bulk_write

    def late(collection, updates, **kwargs):
        if any(update._doc.get("$set", {}).get("ntt", 0) is None for update in updates):
            theirs = {"$set": {"ntt.writer": "of a newer run"}}
            collection.update_one({"_id": first}, theirs)
        return write(collection, updates, **kwargs)

    monkeypatch.setattr(Collection, "bulk_write", late)
    report = segment(dataset, "blocks", overwrite=True, segmenter=scenes.ColourSegmenter())
    assert report.segmented == 5
    kept = dataset._sample_collection.find_one({"_id": first})["ntt"]
    assert kept["writer"] == "of a newer run" and len(kept["detections"]) == 2


def test_runs_of_threads_into_new_fields_do_not_refuse_each_other(dataset):
    gate, problems = threading.Barrier(3), []
    bank = banks.load_memory_bank(dataset, "blocks")

    def run(field):
        gate.wait()
        try:
            segment(dataset, bank, field, segmenter=scenes.ColourSegmenter())
        except Exception as error:
            problems.append(error)

    for turn in range(2):
        threads = [threading.Thread(target=run, args=(f"f{turn}{n}",)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert problems == []
    dataset.reload()
    assert [dataset.count(f"f{turn}{n}") for turn in range(2) for n in range(3)] == [6] * 6


def test_a_field_that_another_program_dropped_is_declared_again(dataset, monkeypatch):
    declare, calls = label_field._declare, []

    def dropping(owner, field, attributes):
        declare(owner, field, attributes)
        calls.append(field)
        if len(calls) == 1:
            gone = {"$pull": {"sample_fields": {"name": field}}}
            get_db_conn().datasets.update_one({"_id": owner._doc.id}, gone)

    monkeypatch.setattr(label_field, "_declare", dropping)
    report = segment(dataset, "blocks", segmenter=scenes.ColourSegmenter())
    assert (report.segmented, len(calls)) == (6, 2)


def test_a_name_that_fiftyone_refuses_is_tried_once(dataset, monkeypatch):
    calls = []

    def refusing(*args, **kwargs):
        calls.append(args)
        raise ValueError("reserved keyword")

    monkeypatch.setattr(fo.Dataset, "add_sample_field", refusing)
    with pytest.raises(DatasetError, match=r"'ntt' cannot be made: reserved keyword"):
        segment(dataset, "blocks", segmenter=scenes.ColourSegmenter())
    assert len(calls) == 1


@pytest.mark.parametrize(
    "declares",
    [
        lambda dataset: segment(dataset, "blocks", segmenter=scenes.ColourSegmenter()),
        lambda dataset: evaluate(dataset, "done", "ground_truth", "check"),
        lambda dataset: keep_labels(choose_references(dataset, "ground_truth")),
    ],
    ids=["segment", "evaluate", "keep references"],
)
def test_declaring_waits_for_its_turn(dataset, declares):
    segment(dataset, "blocks", "done", segmenter=scenes.ColourSegmenter())
    ended = []
    held = schema_lock(dataset).__enter__()

    def end():
        ended.append(time.monotonic())
        held.__exit__(None, None, None)

    threading.Timer(0.5, end).start()
    declares(dataset)
    assert ended and run_lock._locks().find_one({"_id": held._key}) is None


def test_labels_that_a_restarted_database_lost_are_made_again(dataset, monkeypatch):
    servers = iter("abbbbb")
    monkeypatch.setattr(field_run, "server_process", lambda: next(servers))
    victim, write = ObjectId(dataset.skip(4).first().id), FieldWriter._update

    def forgetting(target, bulk):
        too_large = write(target, bulk)
        if dataset.last().id in [result.sample_id for result in bulk]:
            dataset._sample_collection.update_one({"_id": victim}, {"$unset": {"ntt": ""}})
        return too_large

    monkeypatch.setattr(FieldWriter, "_update", forgetting)
    report = segment(dataset, "blocks", segmenter=scenes.ColourSegmenter())
    assert (report.state, report.segmented, report.instances) == ("finished", 6, 18)
    assert [note.reason for note in report.notes] == [
        "the labels of 1 samples were gone and were made again: a restarted database had lost "
        "them, or a run that was overtaken had taken them back"
    ]
    dataset.reload()
    assert made_by(dataset) == [{"blocks"}] * 6


def test_labels_that_somebody_wrote_over_a_done_sample_are_left_and_not_counted(
    dataset, monkeypatch
):
    key = f"{dataset._doc.id}/ntt"
    run_lock._mark_overtaken({"_id": key, "token": "theirs"}, may_live=True, by="")
    write, first = FieldWriter._update, ObjectId(dataset.first().id)
    other = {"_cls": "Detections", "detections": [], "run": "x", "writer": "a person"}

    def replacing(target, bulk):
        too_large = write(target, bulk)
        if dataset.last().id in [result.sample_id for result in bulk]:
            dataset._sample_collection.update_one({"_id": first}, {"$set": {"ntt": other}})
        return too_large

    monkeypatch.setattr(FieldWriter, "_update", replacing)
    report = segment(dataset, "blocks", segmenter=scenes.ColourSegmenter())
    assert (report.state, report.segmented, len(report.segmented_ids)) == ("finished", 5, 5)
    assert [note.sample for note in report.notes] == [str(first)]
    assert "left as they are" in report.notes[0].reason
    assert dataset._sample_collection.find_one({"_id": first})["ntt"] == other


def test_a_database_that_loses_labels_in_each_pass_ends_the_run(dataset, monkeypatch):
    first = dataset.first().id
    monkeypatch.setattr(field_run, "server_process", lambda: None)
    monkeypatch.setattr(FieldWriter, "unsettled", lambda *_: [first])
    with pytest.raises(DatasetError, match="disk and log are sound, then run again"):
        segment(dataset, "blocks", segmenter=scenes.ColourSegmenter())


def test_a_database_that_was_not_restarted_is_not_asked_again(dataset, monkeypatch):
    monkeypatch.setattr(FieldWriter, "unsettled", None)
    assert segment(dataset, "blocks", segmenter=scenes.ColourSegmenter()).segmented == 6
