"""Runs that end in the middle, by SIGKILL and otherwise; the large version is a benchmark."""

import signal

import pytest
from pymongo.collection import Collection

from ntt_plugin.dataset.labels import clear_field
from ntt_plugin.dataset.segmentation import field_run
from ntt_plugin.dataset.segmentation.report import load_segment_report
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.errors import DatasetError
from tests.processes import OtherProcess

# A run in a process of its own that kills itself in the middle of a step: of a save, say.
CHILD = """
import os, signal, sys
import fiftyone as fo
from ntt_plugin.dataset.labels import clear_field, label_field, mask_files
from ntt_plugin.dataset.segmentation import field_run as labelling
from ntt_plugin.dataset.database import run_record
from ntt_plugin.dataset.segmentation import segment as segmentation
from ntt_plugin.dataset.segmentation import writing_behind
from ntt_plugin.dataset.segmentation.writer import FieldWriter as writer
from tests.dataset.scenes import ColourSegmenter

writing_behind.MOST_AT_ONCE = 1
name, bank, moment, overwrite, mask_dir = sys.argv[1:]
module, step, count = moment.split(":")
module = vars()[module]
original, calls = getattr(module, step), []

def dying(*args, **kwargs):
    calls.append(1)
    if len(calls) == int(count):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)

setattr(module, step, dying)
for user in (labelling, writer):
    if getattr(user, step, None) is original:
        setattr(user, step, dying)
segmentation.segment(fo.load_dataset(name), bank, overwrite=overwrite == "1",
                     mask_dir=mask_dir or None, segmenter=ColourSegmenter(), progress=False)
"""


pytestmark = pytest.mark.usefixtures("two_banks")


def die(dataset, moment, bank="blocks", overwrite=False, mask_dir=""):
    """Run in a child that is killed when it makes a step for the n-th time."""
    ended = OtherProcess(CHILD, dataset.name, bank, moment, str(int(overwrite)), mask_dir).wait()
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    dataset.reload()


def computed(dataset):
    """All that was computed of every sample, None where there is nothing."""
    return [
        sample["ntt"]
        and [
            (d.label, d.bounding_box, d.confidence, d.bank, (d.get_mask() != 0).tolist())
            for d in sample["ntt"].detections
        ]
        for sample in dataset
    ]


@pytest.fixture
def whole(dataset, segmenter):
    """What an uninterrupted run gives; the field is gone again."""
    segment(dataset, "blocks", segmenter=segmenter)
    found = computed(dataset)
    dataset.delete_sample_field("ntt")
    return found


@pytest.mark.parametrize(
    "moment",
    ["writer:_write:3", "label_field:declare:1", "run_record:keep_record:1"],
)
def test_a_second_call_goes_on_after_a_kill(dataset, segmenter, whole, moment):
    die(dataset, moment)
    left = computed(dataset) if dataset.has_field("ntt") else [None] * 6
    assert all(labels in (None, done) for labels, done in zip(left, whole, strict=True))
    if moment.startswith("writer"):
        kept = load_segment_report(dataset, "ntt")
        assert (kept.state, kept.bank) == ("running", "blocks") and "killed" in str(kept)

    report = segment(dataset, "blocks", segmenter=segmenter)

    assert computed(dataset) == whole
    done = sum(labels is not None for labels in left)
    assert (report.skipped, report.segmented, segmenter.proposed) == (done, 6 - done, 12 - done)


def test_masks_in_files_are_whole_and_none_is_left_over(dataset, segmenter, whole, tmp_path):
    folder = tmp_path / "masks"
    die(dataset, "mask_files:_write:8", mask_dir=str(folder))
    segment(dataset, "blocks", mask_dir=folder, segmenter=segmenter)
    assert computed(dataset) == whole
    named = set(dataset.distinct("ntt.detections.mask_path"))
    assert {str(path) for path in folder.rglob("*.*")} == named


@pytest.mark.parametrize(
    "moment",
    [
        "run_record:claim_record:1",
        "label_field:declare:1",
        "run_record:keep_record:1",
        "run_record:keep_results:1",
        "clear_field:clear:1",
        "writer:_write:3",
    ],
)
def test_after_a_kill_over_an_overwrite_a_call_without_it_goes_on(
    dataset, segmenter, whole, moment
):
    segment(dataset, "others", segmenter=segmenter)
    die(dataset, moment, overwrite=True)
    segment(dataset, "blocks", segmenter=segmenter)
    assert computed(dataset) == whole


def test_a_kill_half_way_through_clearing_leaves_no_old_label(
    dataset, segmenter, whole, monkeypatch
):
    segment(dataset, "blocks", segmenter=segmenter)
    old = set(dataset.values("ntt.detections.id", unwind=True))
    monkeypatch.setattr(clear_field, "_CLEARED_AT_ONCE", 2)
    update, calls = Collection.bulk_write, []

    def dying(collection, *args, **kwargs):
        if collection.name.startswith("samples."):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
        return update(collection, *args, **kwargs)

    monkeypatch.setattr(Collection, "bulk_write", dying)
    with pytest.raises(KeyboardInterrupt):
        segment(dataset, "blocks", overwrite=True, segmenter=segmenter)
    monkeypatch.setattr(Collection, "bulk_write", update)
    assert 0 < len(old & set(dataset.values("ntt.detections.id", unwind=True))) < len(old)

    segment(dataset, "blocks", segmenter=segmenter)

    assert not old & set(dataset.values("ntt.detections.id", unwind=True))
    assert computed(dataset) == whole


def test_two_runs_at_once_on_a_field_end_in_a_refusal(dataset, segmenter):
    def second_call(bar):
        with pytest.raises(DatasetError, match="Another run is writing"):
            segment(dataset, "others", overwrite=True, segmenter=segmenter)

    report = segment(dataset, "blocks", segmenter=segmenter, progress=second_call)
    assert (report.segmented, report.state) == (6, "finished")


def test_a_stopped_run_lets_go_of_the_field(dataset, segmenter):
    def stop(bar):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(dataset, "blocks", segmenter=segmenter, progress=stop)
    assert segment(dataset, "blocks", segmenter=segmenter).segmented == 5


@pytest.mark.usefixtures("one_by_one")
def test_a_run_whose_lock_was_taken_writes_nothing_more(dataset, segmenter, monkeypatch):
    def lose(lock):
        if dataset.has_field("ntt") and dataset.count("ntt") == 2:
            lock._lost.set()
        return require(lock)

    require = field_run.RunLock.require
    monkeypatch.setattr(field_run.RunLock, "require", lose)
    with pytest.raises(DatasetError, match=r"taken over.*1 of 6 samples"):
        segment(dataset, "blocks", segmenter=segmenter)
    # The second is seen to be too late right after it was written, and taken back.
    assert dataset.count("ntt") == 1
