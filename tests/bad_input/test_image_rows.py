"""Images that cannot be used as they are: one fails or is noted, and all others are done."""

import errno
import os
import struct
import zlib
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.evaluation.compare import compare_segmentations
from ntt_plugin.dataset.evaluation.evaluate import evaluate
from ntt_plugin.dataset.references.choose import choose_references, label_geometry
from ntt_plugin.dataset.references.copies import keep_labels
from ntt_plugin.dataset.references.sampling import sample_references
from ntt_plugin.dataset.segmentation.propose import propose
from ntt_plugin.dataset.segmentation.report import load_segment_report
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.demo.classes import BASE_CLASSES
from ntt_plugin.demo.scenes import make_scene
from ntt_plugin.engine import Reference, Segmenter
from ntt_plugin.engine.proposals.store import ProposalStore
from ntt_plugin.errors import DatasetError, NoFileHandlesError, NttError
from tests.bad_input.expectations import row
from tests.dataset import scenes
from tests.engine.images.image_files import deep_png, save_turned


def truncate(path):
    Image.effect_noise((400, 400), 90).save(path)
    path.write_bytes(path.read_bytes()[:20_000])


def as_folder(path):
    path.unlink()
    path.mkdir()


def as_pipe(path):
    path.unlink()
    os.mkfifo(path)


def as_postscript(path):
    Image.new("RGB", (9, 9)).save(path, "EPS")


def as_bomb(path):
    """A small PNG that says it is 30,000 x 20,000."""
    Image.new("1", (8, 8)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 30_000, 20_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


def as_heights(path):
    Image.fromarray(np.linspace(-10, 4000, 96 * 64, dtype=np.float32).reshape(64, 96)).save(
        path, "TIFF"
    )


def as_padded(path):
    """A small image at the beginning of a file of 40 GiB, with nothing on the disk."""
    with path.open("r+b") as file:
        file.truncate(40 * 2**30)


def as_sparse(path):
    """A terabyte of nothing."""
    path.write_bytes(b"")
    with path.open("r+b") as file:
        file.truncate(2**40)


def as_kernel_log(path):
    """A link to a file that says that it is empty, and never ends."""
    path.unlink()
    path.symlink_to("/proc/kmsg")


def as_device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


UNREADABLE = {
    "unreadable-image": (lambda path: path.write_bytes(b"no image at all"), "convert it"),
    "truncated-image": (truncate, "replace or leave out the file"),
    "zero-byte-image": (lambda path: path.write_bytes(b""), "copy or download it again"),
    "decompression-bomb": (as_bomb, "NTT_MAX_IMAGE_PIXELS"),
    "missing-file": (lambda path: path.unlink(), "check the path"),
    "folder-as-file": (as_folder, "is a folder, not an image; give the path of an image file"),
    "pipe-as-file": (as_pipe, "save the image as a file"),
    "other-format": (as_postscript, "convert it to PNG"),
    "unknown-scale": (as_heights, "save it with 8 or 16 bits"),
    "huge-file": (as_padded, "Save the image anew"),
    "endless-file": (as_sparse, "convert it"),
    "endless-file-log": (as_kernel_log, "copy or download it again"),
    "endless-file-device": (as_device, "save the image as a file"),
}


@row("unreadable-image")
@row("truncated-image")
@row("zero-byte-image")
@row("decompression-bomb")
@row("missing-file")
@row("folder-as-file")
@row("pipe-as-file")
@row("other-format")
@row("unknown-scale")
@row("huge-file")
@row("endless-file")
@pytest.mark.parametrize("name", UNREADABLE)
def test_an_image_that_cannot_be_read_fails_alone_and_is_done_once_it_is_repaired(
    dataset, segmenter, name
):
    damage, remedy = UNREADABLE[name]
    sample = dataset.skip(3).first()
    path = Path(sample.filepath)
    damage(path)

    report = segment(dataset, "blocks", segmenter=segmenter)

    (failure,) = report.failed
    assert (report.segmented, failure.sample, failure.filepath) == (5, sample.id, str(path))
    assert str(path) in failure.reason and remedy in failure.reason
    assert str(path) in str(report) and report.notes == []
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    Image.fromarray(scenes.draw(3)).save(path)
    report = segment(dataset, "blocks", segmenter=segmenter)
    assert (report.segmented, report.skipped, report.failed) == (1, 5, [])


@pytest.mark.parametrize("name", UNREADABLE)
def test_references_in_an_image_that_cannot_be_read_are_left_out_and_listed(
    dataset, segmenter, name
):
    damage, remedy = UNREADABLE[name]
    path = Path(dataset.skip(3).first().filepath)
    damage(path)

    bank = banks.build_memory_bank(dataset, "ground_truth", "others", segmenter=segmenter)

    assert (len(bank), len(bank.refused)) == (15, 3)
    assert all(str(path) in entry.reason and remedy in entry.reason for entry in bank.refused)


@row("one-pixel-image")
@row("wide-image")
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (20_000, 3), (20_000, 200)])
def test_images_of_an_odd_size_go_the_whole_way(tiny, size):
    scene = make_scene(5, BASE_CLASSES)
    bank = tiny.build_bank([Reference(scene.image, scene.mask(0), "thing")], progress=False)
    image = Image.fromarray(scene.image).resize(size)

    instances = tiny.segment(image, bank)
    (mask,) = tiny.masks_from_boxes(image, [[0, 0, *size]])

    assert instances.image_size == mask.shape == (size[1], size[0])
    for index, (x1, y1, x2, y2) in enumerate(instances.boxes):
        assert 0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]
        assert instances.full_mask(index).shape == (size[1], size[0])


# The stub makes a square of an image: a very wide one would take gigabytes.
@row("one-pixel-image")
@pytest.mark.parametrize("size", [(1, 1), (1, 500)])
def test_images_of_an_odd_size_stop_no_run(dataset, segmenter, size):
    path = dataset.first().filepath
    Image.new("RGB", size, (250, 0, 0)).save(path)
    report = segment(dataset, "blocks", segmenter=segmenter)
    assert (report.segmented, report.failed) == (6, [])
    (label,) = dataset.first().ntt.detections
    assert label.label == "red"


@row("animated-image")
def test_of_an_animation_the_first_frame_is_used_and_that_is_noted(dataset, segmenter):
    sample = dataset.skip(2).first()
    first, second = (Image.fromarray(scenes.draw(index)) for index in (2, 3))
    first.save(sample.filepath, save_all=True, append_images=[second], format="PNG")
    report = segment(dataset, "blocks", segmenter=segmenter)
    (note,) = report.notes
    assert (note.sample, note.reason) == (sample.id, "animated: its first frame was used")
    assert (report.segmented, len(dataset[sample.id].ntt.detections)) == (6, 3)


def as_dark(path, pixels):
    """8 bits in a 16-bit file; of colours, which viewers show black."""
    path.write_bytes(deep_png(pixels.astype(np.uint16)))


def as_infrared(path, pixels):
    fourth = np.arange(pixels[..., 0].size).reshape(pixels.shape[:2]) % 251
    Image.fromarray(np.dstack([pixels, fourth]).astype(np.uint8)).save(path)


@row("dark-image")
@row("fourth-band")
@pytest.mark.parametrize(
    ("save", "said"), [(as_dark, "uses 8 bits"), (as_infrared, "not transparency")]
)
def test_a_misread_image_is_read_well_and_noted_everywhere(
    dataset, segmenter, tmp_path, save, said
):
    sample = dataset.skip(2).first()
    save(Path(sample.filepath), scenes.draw(2))
    segmenter.upstream = "colours"
    store = ProposalStore(tmp_path / "store")

    bank = banks.build_memory_bank(dataset, "ground_truth", "all", segmenter=segmenter)
    reports = [
        segment(dataset, "all", segmenter=segmenter, cache=store, overwrite=True) for _ in range(2)
    ]
    reports.append(propose(dataset, segmenter=segmenter, cache=store))

    assert (len(bank), bank.refused) == (18, [])
    told = [*bank.notes, *banks.get_memory_bank_info(dataset, "all").notes]
    assert len(told) == 2 and all(sample.filepath in note and said in note for note in told)
    assert [report.from_cache for report in reports] == [0, 6, 6]
    for report in reports:
        (note,) = report.notes
        assert note.sample == sample.id and said in note.reason
    assert len(dataset[sample.id].ntt.detections) == 3


@row("no-file-handles")
def test_no_file_handles_left_ends_the_run_and_marks_no_image_damaged(
    dataset, segmenter, monkeypatch
):
    real, opened = Image.open, []

    def exhausted(*args, **kwargs):
        opened.append(args)
        if len(opened) > 6:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(*args, **kwargs)

    monkeypatch.setattr(Image, "open", exhausted)
    with pytest.raises(DatasetError, match=r"no file handles left .* samples were labelled"):
        segment(dataset, "blocks", segmenter=segmenter, cache=False)
    with pytest.raises(NttError, match="no file handles left"):
        banks.build_memory_bank(dataset, "ground_truth", "all", segmenter=segmenter)
    monkeypatch.setattr(Image, "open", real)

    assert load_segment_report(dataset, "ntt").failed == []
    assert segment(dataset, "blocks", segmenter=segmenter, cache=False).failed == []
    assert len(dataset.exists("ntt.detections")) == 6


@row("no-file-handles")
@pytest.mark.parametrize(
    "call",
    [
        lambda images: sample_references(images, "ground_truth", shots=2, protocol="paper"),
        lambda images: compare_segmentations(images, "before", "ground_truth"),
        lambda images: evaluate(images, "before", "ground_truth", "check"),
        lambda images: keep_labels(choose_references(images, "ground_truth")),
        lambda images: masks_of_files(images),
    ],
    ids=["sample", "compare", "evaluate", "keep", "mask files"],
)
def test_no_file_handles_left_is_no_fault_of_an_image_or_a_mask(dataset, monkeypatch, call):
    def exhausted(*args, **kwargs):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Image, "open", exhausted)
    with pytest.raises(NoFileHandlesError, match="no file handles left"):
        call(dataset)


def masks_of_files(images):
    """Read a reference whose mask is a file, which cannot be opened though its image can."""
    label = fo.Detection(label="red", bounding_box=[0, 0, 1, 1], mask_path=images.first().filepath)
    return label_geometry(label, scenes.SIZE)


@row("turned-photograph")
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_turned_photograph_gets_its_labels_as_it_is_shown(dataset, segmenter, turn):
    sample = dataset.skip(2).first()
    segment(dataset, "blocks", segmenter=segmenter, cache=False)
    before = [label.bounding_box for label in dataset[sample.id].ntt.detections]
    save_turned(Path(sample.filepath), scenes.draw(2), turn)
    report = segment(dataset, "blocks", segmenter=segmenter, cache=False, overwrite=True)
    after = [label.bounding_box for label in dataset[sample.id].ntt.detections]
    assert (report.failed, report.notes) == ([], []) and after == before


@row("unturned-labels")
def test_labels_made_on_unturned_pixels_are_never_learnt(dataset, segmenter):
    sample = dataset.skip(2).first()
    save_turned(Path(sample.filepath), scenes.draw(2), 6)
    sample.metadata = fo.ImageMetadata(width=scenes.SIZE[0], height=scenes.SIZE[1])
    sample.save()
    bank = banks.build_memory_bank(dataset, "ground_truth", "all", segmenter=segmenter)
    assert len(bank) == 15 and len(bank.refused) == 3
    assert all("draw the labels anew" in entry.reason for entry in bank.refused)


@row("no-proposals")
def test_an_image_without_proposals_gets_an_empty_answer(dataset, segmenter):
    Image.new("RGB", (96, 64)).save(dataset.first().filepath)
    report = segment(dataset, "blocks", segmenter=segmenter)
    assert (report.segmented, report.failed, dataset.first().ntt.detections) == (6, [], [])


@row("no-proposals")
def test_the_engine_answers_with_no_instance_where_it_proposes_nothing():
    scene = make_scene(5, BASE_CLASSES)
    strict = Segmenter.from_preset("tiny", device="cpu", iou_threshold=1.0, grid=2)
    bank = strict.build_bank([Reference(scene.image, scene.mask(0), "thing")], progress=False)
    assert len(strict.propose(scene.image)) == 0
    assert len(strict.segment(scene.image, bank).labels) == 0


@pytest.fixture(scope="module")
def tiny():
    return Segmenter.from_preset("tiny", device="cpu", grid=6)
