"""What happens to the world while a run goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fiftyone as fo
import psutil
import pytest
from PIL import Image

from ntt_plugin.dataset.banks import banks, files
from ntt_plugin.dataset.database import locks
from ntt_plugin.dataset.segmentation import changed_images, field_run
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.engine.proposals import store as proposal_store
from ntt_plugin.engine.proposals.store import ProposalStore
from tests import fiftyone_database
from tests.bad_input.expectations import refused, row
from tests.dataset import scenes
from tests.processes import OtherProcess

ROOT = Path(__file__).parents[2]


class Meanwhile(scenes.ColourSegmenter):
    """Does something while it looks at an image, when those before it are written."""

    def __init__(self, dataset, image, action):
        super().__init__()
        self.dataset, self.image, self.action = dataset, image, action

    def propose(self, image, progress=None):
        if self.proposed + 1 == self.image:
            scenes.wait_until_written(self.dataset, self.proposed)
            self.action()
        return super().propose(image)


@row("sample-deleted")
@pytest.mark.parametrize("which", [2, 5])
def test_samples_deleted_during_the_run_are_counted_and_the_others_done(dataset, which):
    victims = [dataset.values("id")[which]]
    busy = Meanwhile(dataset, 3, lambda: dataset.delete_samples(victims))
    report = segment(dataset, "blocks", segmenter=busy)
    assert (report.segmented, report.deleted, report.failed) == (5, 1, [])
    assert report.state == "finished" and "1 deleted meanwhile" in str(report)


@row("dataset-deleted")
def test_a_dataset_deleted_during_the_run_ends_it_with_what_was_done(dataset):
    busy = Meanwhile(dataset, 3, lambda: fo.delete_dataset(dataset.name))
    lock = {"_id": f"{dataset._doc.id}/ntt"}
    with refused("was deleted during the run", "2 of 6 samples"):
        segment(dataset, "blocks", segmenter=busy)
    assert dataset.name not in fo.list_datasets()
    assert locks._locks().find_one(lock) is None


@row("dataset-deleted")
def test_a_field_deleted_during_the_run_ends_it_and_does_not_come_back(dataset):
    busy = Meanwhile(dataset, 3, lambda: fo.load_dataset(dataset.name).delete_sample_field("ntt"))
    with refused("'ntt'", "was deleted during the run"):
        segment(dataset, "blocks", segmenter=busy)
    dataset.reload()
    assert "ntt" not in dataset.get_field_schema()


@row("field-renamed")
@pytest.mark.parametrize("image", [1, 3])
def test_a_field_renamed_during_the_run_ends_it_and_keeps_its_labels(dataset, image):
    def rename():
        fo.load_dataset(dataset.name).rename_sample_field("ntt", "old")

    busy = Meanwhile(dataset, image, rename)
    with refused("'ntt'", "was deleted during the run, or renamed"):
        segment(dataset, "blocks", segmenter=busy)
    dataset.reload()
    assert "ntt" not in dataset.get_field_schema()
    assert [len(sample["old"].detections) for sample in dataset if sample["old"]] == [3] * (
        image - 1
    )


@row("field-renamed")
@pytest.mark.parametrize("step", ["keep_record", "_clear"])
def test_a_field_renamed_before_the_first_image_ends_the_run_in_words(
    dataset, segmenter, monkeypatch, step
):
    segment(dataset.limit(2), "blocks", segmenter=segmenter)
    original = getattr(field_run, step)

    def renamed(*args):
        fo.load_dataset(dataset.name).rename_sample_field("ntt", "old")
        return original(*args)

    monkeypatch.setattr(field_run, step, renamed)
    with refused("'ntt'", "was deleted during the run, or renamed"):
        segment(dataset, "blocks", overwrite=True, segmenter=segmenter)


@row("no-threads")
def test_a_system_without_room_for_a_thread_is_told_in_words(dataset, monkeypatch, segmenter):
    def no_thread(*args, **kwargs):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(field_run, "WritingBehind", no_thread)
        with refused("no memory for another thread", "ulimit", "0 of 6 samples"):
            segment(dataset, "blocks", segmenter=segmenter)
        patch.setattr(field_run, "RunLock", no_thread)
        with refused("no memory for another thread", "ulimit"):
            segment(dataset, "blocks", segmenter=segmenter)
    assert segment(dataset, "blocks", segmenter=segmenter).segmented == 6


@row("image-replaced")
@pytest.mark.parametrize("digest", [False, True])
def test_an_image_replaced_since_it_was_segmented_is_named(dataset, digest):
    class Kept(scenes.ColourSegmenter):
        upstream = "colours" if digest else None

    segment(dataset, "blocks", segmenter=Kept())
    first, second = dataset.values("filepath")[:2]
    Image.fromarray(scenes.draw(9)).save(first)
    # Another date alone is no other picture, where its content is known.
    os.utime(second, (1, 1))
    report = segment(dataset, "blocks", segmenter=Kept())
    assert report.skipped == 6
    assert [note.filepath for note in report.notes] == ([first] if digest else [first, second])
    assert all("overwrite=True" in note.reason for note in report.notes)
    again = segment(dataset.limit(2), "blocks", segmenter=Kept(), overwrite=True)
    assert (again.segmented, again.notes) == (2, [])
    assert segment(dataset, "blocks", segmenter=Kept()).notes == []


@row("image-replaced")
def test_files_with_new_dates_that_were_not_compared_are_counted(dataset, monkeypatch):
    class Kept(scenes.ColourSegmenter):
        upstream = "colours"

    segment(dataset, "blocks", segmenter=Kept())
    for path in dataset.values("filepath"):
        os.utime(path, (1, 1))
    monkeypatch.setattr(changed_images, "_MOST_READ", 4)
    (note,) = segment(dataset, "blocks", segmenter=Kept()).notes
    assert note.reason.startswith("2 image files with new dates were not compared")
    assert "overwrite=True" in note.reason


@row("more-candidates")
def test_images_with_more_candidates_than_are_kept_are_noted(dataset):
    report = segment(dataset, "blocks", segmenter=scenes.ColourSegmenter(max_instances=2))
    assert report.instances == 12
    (note,) = report.notes
    for words in ("6 images had more than 2 candidates (max_instances)", dataset.first().filepath):
        assert words in note.reason
    assert segment(dataset, "blocks", "all", segmenter=scenes.ColourSegmenter()).notes == []


@row("cache-disk-full")
def test_proposals_that_find_no_room_are_told_with_what_to_do(dataset, monkeypatch, tmp_path):
    class Kept(scenes.ColourSegmenter):
        upstream = "colours"

    monkeypatch.setattr(proposal_store, "default_budget", lambda folder, held: 0)
    store = ProposalStore(tmp_path)
    report = segment(dataset, "blocks", segmenter=Kept(), cache=store)
    (note,) = report.notes
    for words in ("6 images were not kept", "nearly full", "Free some space", "NTT_CACHE_DIR"):
        assert words in note.reason


needs_own_database = pytest.mark.skipif(
    fiftyone_database._mongod is None, reason="the database is not ours to kill: it has an address"
)


def with_own_database(module):
    """What a module prints that runs in a process with a database of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FIFTYONE_DATABASE")}
    ended = subprocess.run(
        [sys.executable, "-m", f"tests.bad_input.{module}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@row("database-restarted")
@needs_own_database
def test_a_database_killed_and_started_again_loses_no_label_of_a_finished_run():
    seen = with_own_database("restart_database")
    assert (seen["state"], seen["held"], seen["segmented"], seen["failed"]) == (
        "finished",
        40,
        40,
        0,
    ), seen


PAUSED = """
import signal, sys, threading
import fiftyone as fo
from ntt_plugin.dataset.database import locks as run_lock
from ntt_plugin.dataset.segmentation import segment as segmentation
from ntt_plugin.dataset.segmentation import writing_behind
from ntt_plugin.dataset.segmentation.writer import FieldWriter
from tests.dataset.scenes import ColourSegmenter

run_lock.BEAT_SECONDS, run_lock.STALE_SECONDS = 0.2, 1.0
writing_behind.MOST_AT_ONCE = 1
update, calls = FieldWriter._update, []

def pausing(*args):
    calls.append(1)
    if len(calls) == 3:
        # Sent to the process, another thread could take it, and this one go on for a moment.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    return update(*args)

FieldWriter._update = pausing
segmentation.segment(fo.load_dataset(sys.argv[1]), "blocks", segmenter=ColourSegmenter())
"""


@row("process-paused")
def test_a_process_paused_and_overtaken_leaves_no_label_among_the_others(
    dataset, segmenter, monkeypatch
):
    others = banks.load_memory_bank(dataset, "blocks")
    others.remove("red")
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(locks, "STALE_SECONDS", 1.0)
    paused = OtherProcess(PAUSED, dataset.name)
    while psutil.Process(paused.pid).status() != psutil.STATUS_STOPPED:
        assert paused.is_alive(), paused.wait().stderr
        time.sleep(0.1)
    time.sleep(1.5)
    report = segment(dataset, others, overwrite=True, segmenter=segmenter)
    os.kill(paused.pid, signal.SIGCONT)
    said = paused.wait().stderr
    assert "taken over the field 'ntt'" in said and "2 of 6 samples" in said
    assert (report.state, report.segmented) == ("finished", 6)
    dataset.reload()
    assert [len(sample["ntt"].detections) for sample in dataset] == [2] * 6


@row("database-gone")
@needs_own_database
def test_a_database_gone_during_the_run_ends_it_and_a_second_call_goes_on():
    seen = with_own_database("lose_database")
    for words in ("database", "does not answer", "2 of 6 samples", "a second call goes on"):
        assert words in seen["message"]
    # A killed MongoDB forgets the writes of its last tenth of a second, each as a whole.
    done = len(seen["done"])
    assert done <= 2 and seen["done"] == [3] * done
    assert (seen["banks"], seen["truth"], seen["then"]) == (["blocks"], 18, [6 - done, done, 0])


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small disk of its own at a folder; skips where none may be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk may be mounted here ({error})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


@contextmanager
def full_disk(folder: Path) -> Iterator[Path]:
    """A disk with one page of room."""
    with mounted(folder, "size=64k") as disk:
        (disk / "ballast").write_bytes(bytes(64 * 1024 - 4096))
        yield disk


@contextmanager
def read_only_folder(folder: Path) -> Iterator[Path]:
    """A folder that nobody may write to; root may write to any but one of a read-only disk."""
    if os.geteuid() == 0:
        with mounted(folder, "ro,size=64k") as disk:
            yield disk
        return
    folder.mkdir(mode=0o555)
    yield folder


@row("disk-full")
def test_a_bank_that_finds_no_room_leaves_the_old_file_and_no_part_of_the_new(dataset, tmp_path):
    bank = banks.load_memory_bank(dataset, "blocks")
    with full_disk(tmp_path / "disk") as disk:
        path = disk / "bank.safetensors"
        path.write_bytes(b"the bank that was there")
        with refused(str(path), "No space left", "has room"):
            bank.add("more", bank.features("red").repeat(500, 1))
            bank.save(path)
        assert path.read_bytes() == b"the bank that was there"
        assert sorted(entry.name for entry in disk.iterdir()) == ["ballast", path.name]


@row("disk-full")
def test_masks_that_find_no_room_end_the_run_which_goes_on_when_there_is(
    dataset, segmenter, tmp_path
):
    with full_disk(tmp_path / "disk") as disk:
        with refused(str(disk), "free some space", "samples were labelled"):
            segment(dataset, "blocks", mask_dir=disk, segmenter=segmenter)
        done = len(dataset.exists("ntt"))
        (disk / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        report = segment(dataset, "blocks", mask_dir=disk, segmenter=segmenter)
        assert (report.segmented, report.skipped, report.failed) == (6 - done, done, [])
        for label in dataset.first().ntt.detections:
            assert label.get_mask().any()


@row("read-only-folder")
def test_a_read_only_folder_is_refused_before_anything_is_changed(dataset, segmenter, tmp_path):
    with read_only_folder(tmp_path / "locked") as folder:
        with refused(str(folder), "Read-only file system" if os.geteuid() == 0 else "denied"):
            segment(dataset, "blocks", mask_dir=folder, segmenter=segmenter)
        assert "ntt" not in dataset.get_field_schema()
        with refused(str(folder), "a folder that you may write to"):
            files.export_memory_bank(dataset, "blocks", folder)
        assert list(folder.iterdir()) == []
