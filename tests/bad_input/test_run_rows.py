"""What happens to the world while a run goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fiftyone as fo
import pytest

from ntt_plugin.dataset import bank_files, banks
from ntt_plugin.dataset.segmentation import segment
from tests import fiftyone_database
from tests.bad_input.expectations import refused, row
from tests.dataset import scenes


class Meanwhile(scenes.ColourSegmenter):
    """Does something while it looks at an image, when those before it are written."""

    def __init__(self, dataset, image, action):
        super().__init__()
        self.dataset, self.image, self.action = dataset, image, action

    def propose(self, image):
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
    with refused("was deleted during the run", "2 of 6 samples"):
        segment(dataset, "blocks", segmenter=busy)
    assert dataset.name not in fo.list_datasets()


@row("dataset-deleted")
def test_a_field_deleted_during_the_run_ends_it_and_does_not_come_back(dataset):
    busy = Meanwhile(dataset, 3, lambda: fo.load_dataset(dataset.name).delete_sample_field("ntt"))
    with refused("'ntt'", "was deleted during the run"):
        segment(dataset, "blocks", segmenter=busy)
    dataset.reload()
    assert "ntt" not in dataset.get_field_schema()


@row("database-gone")
@pytest.mark.skipif(
    fiftyone_database._mongod is None, reason="the database is not ours to kill: it has an address"
)
def test_a_database_gone_during_the_run_ends_it_and_a_second_call_goes_on():
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FIFTYONE_DATABASE")}
    command = [sys.executable, "-m", "tests.bad_input.lose_database"]
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout.splitlines()[-1])
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
            bank_files.export_memory_bank(dataset, "blocks", folder)
        assert list(folder.iterdir()) == []
