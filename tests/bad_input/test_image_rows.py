"""Images that cannot be used as they are: one fails or is noted, and all others are done."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ntt_plugin.dataset import banks
from ntt_plugin.dataset.segmentation import segment
from ntt_plugin.demo.classes import BASE_CLASSES
from ntt_plugin.demo.scenes import make_scene
from ntt_plugin.engine import Reference, Segmenter
from tests.bad_input.expectations import row
from tests.dataset import scenes


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


UNREADABLE = {
    "unreadable-image": (lambda path: path.write_bytes(b"no image at all"), "convert it"),
    "truncated-image": (truncate, "replace or leave out the file"),
    "zero-byte-image": (lambda path: path.write_bytes(b""), "copy or download it again"),
    "decompression-bomb": (as_bomb, "NTT_MAX_IMAGE_PIXELS"),
    "missing-file": (lambda path: path.unlink(), "check the path"),
    "folder-as-file": (as_folder, "give the path of an image file"),
    "pipe-as-file": (as_pipe, "save the image as a file"),
    "other-format": (as_postscript, "convert it to PNG"),
    "unknown-scale": (as_heights, "save it with 8 or 16 bits"),
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
    assert str(path) in str(report)
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
