"""What counts as a mask's values, in the database and in files of many formats."""

import os
import resource
import struct
import zlib

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from ntt_plugin.dataset.labels.stored_masks import binary_mask, stored_mask
from ntt_plugin.errors import DatasetError, NoFileHandlesError

MASK = np.zeros((40, 50), dtype=bool)
MASK[5:30, 8:45] = np.hypot(*(np.mgrid[:25, :37] - [[[12]], [[18]]])) < 16
PLENTY = 10_000_000


def channels(*values):
    """An array (h, w, n) of channels: masks, or numbers for all pixels."""
    full = [np.broadcast_to(np.asarray(value, dtype=np.uint8), MASK.shape) for value in values]
    return np.stack(full, axis=-1)


M255 = MASK.astype(np.uint8) * 255
NOISE = np.random.default_rng(0).integers(0, 255, MASK.shape, dtype=np.uint8)

ACCEPTED = {
    "bool": MASK,
    "0 and 1": MASK.astype(np.uint8),
    "0 and 1 as int64": MASK.astype(np.int64),
    "0 and 1 as float": MASK.astype(np.float32),
    "0 and 1 as half": MASK.astype(np.float16),
    "0 and 255": M255,
    "0 and 255 as float": M255.astype(float),
    "16 bits": MASK.astype(np.uint16) * 65535,
    "one channel": M255[..., None],
    "a batch of one": MASK[None],
    "grey RGB": channels(M255, M255, M255),
    "bool RGB": np.stack([MASK] * 3, axis=-1),
    "red on black": channels(M255, 0, 0),
    "yellow on black": channels(M255, M255, 0),
    "opaque grey": channels(M255, 255),
    "opaque RGB": channels(M255, M255, M255, 255),
    "alpha of black": channels(0, 0, 0, M255),
    "alpha of white": channels(255, 255, 255, M255),
    "alpha of a photograph": channels(NOISE, NOISE // 2, NOISE, M255),
    "alpha and grey agree": channels(M255, M255, M255, M255),
    "blue under a constant alpha": channels(0, 0, M255, 128),
}

REFUSED = {
    "probabilities": (np.where(MASK, 0.9, 0.1), r"probabilities.*`mask > 0.5`"),
    "logits": (np.where(MASK, 3.5, -4.0), r"logits.*`mask > 0`"),
    "NaN": (np.where(MASK, 1.0, np.nan), "NaN"),
    "infinity": (np.where(MASK, np.inf, 0), "infinity"),
    "ids": (MASK * np.arange(1, 51), r"\[0, 12, 13.*map of ids.*`mask == id`"),
    "one id": (MASK.astype(np.uint8) * 7, r"\[0, 7\].*`mask == id`"),
    "grey levels": (NOISE, "`mask > 127`"),
    "two values": (MASK.astype(np.uint8) + 1, r"\[1, 2\]"),
    "negative": (-MASK.astype(np.int8), r"\[-1, 0\]"),
    "complex": (MASK.astype(complex), "complex"),
    "text": (MASK.astype(str), "type"),
    "objects": (MASK.astype(object), "object"),
    "a photograph": (channels(NOISE, NOISE, NOISE), "3 channels"),
    "two colours": (channels(M255, 255 - M255, 0), "3 channels with 2 colours"),
    "red on white": (channels(255, 255 - M255, 255 - M255), "3 channels with 2 colours"),
    "a darker red": (channels(M255 // 2, 0, 0), "3 channels"),
    "soft alpha": (channels(0, 0, 0, NOISE), "4 channels"),
    "alpha that disagrees": (channels(M255, M255, M255, M255[::-1]), "different objects"),
    "channels first": (np.stack([MASK] * 3), "shape"),
    "five channels": (np.stack([MASK] * 5, axis=-1), "shape"),
    "a row": (MASK[0], "shape"),
    "nothing": (MASK[:0], "shape"),
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_values_of_a_mask_are_read(kind):
    assert np.array_equal(binary_mask(ACCEPTED[kind]), MASK)


@pytest.mark.parametrize("kind", REFUSED)
def test_other_values_are_refused_with_what_to_do(kind):
    values, said = REFUSED[kind]
    with pytest.raises(DatasetError, match=said):
        binary_mask(values)


@pytest.mark.parametrize("value", [1, 255, True, 1.0])
def test_a_mask_may_fill_its_box(value):
    assert binary_mask(np.full((4, 5), value)).all()
    assert binary_mask(channels(255, 0, 0)).all()


def test_an_empty_mask_is_one():
    for values in (np.zeros((4, 5)), channels(0, 0, 0), channels(0, 255)):
        assert not binary_mask(values).any()


def read(path):
    return stored_mask(fo.Detection(mask_path=str(path)), PLENTY)


def palette(image, *colours):
    """Give an image of indices a palette: these colours, and black."""
    flat = [value for colour in colours for value in colour]
    image = image.convert("P") if image.mode != "P" else image
    image.putpalette(flat + [0] * (768 - len(flat)))
    return image


def indexed(values, *colours):
    return palette(
        Image.frombytes("P", MASK.shape[::-1], values.astype(np.uint8).tobytes()), *colours
    )


FILES = {
    "8 bits.png": lambda: Image.fromarray(M255),
    "ones.png": lambda: Image.fromarray(MASK.astype(np.uint8)),
    "1 bit.png": lambda: Image.fromarray(MASK),
    "16 bits.png": lambda: Image.fromarray(MASK.astype(np.uint16) * 65535),
    "grey and alpha.png": lambda: Image.fromarray(channels(M255, 255), "LA"),
    "alpha.png": lambda: Image.fromarray(channels(0, 0, 0, M255)),
    "red.png": lambda: Image.fromarray(channels(M255, 0, 0)),
    "VOC.png": lambda: indexed(MASK, (0, 0, 0), (128, 0, 0)),
    "palette of white at 0.png": lambda: indexed(~MASK, (255, 255, 255), (0, 0, 0)),
    "mask.gif": lambda: Image.fromarray(M255),
    "mask.bmp": lambda: Image.fromarray(M255),
    "1 bit.tif": lambda: Image.fromarray(MASK),
    "float.tif": lambda: Image.fromarray(MASK.astype(np.float32)),
    "grey.jpg": lambda: Image.fromarray(M255),
    "grey RGB.jpg": lambda: Image.fromarray(channels(M255, M255, M255)),
    "grey.webp": lambda: Image.fromarray(channels(M255, M255, M255)),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_masks_are_read(tmp_path, name):
    FILES[name]().save(tmp_path / name)
    mask, as_fiftyone = read(tmp_path / name)
    assert np.array_equal(mask, MASK)
    theirs = fo.Detection(mask_path=str(tmp_path / name)).get_mask()
    if as_fiftyone:
        assert theirs.ndim == 2 and np.array_equal(theirs != 0, MASK)


def test_what_fiftyone_writes_is_read_as_it_reads_it(tmp_path):
    detection = fo.Detection(mask=MASK)
    detection.export_mask(str(tmp_path / "mask.png"), update=True)
    mask, as_fiftyone = stored_mask(detection, PLENTY)
    assert np.array_equal(mask, MASK) and as_fiftyone


REFUSED_FILES = {
    "ids.png": (lambda: Image.fromarray((MASK * np.arange(50)).astype(np.uint8)), "map of ids"),
    "ids of a palette.png": (
        lambda: indexed(MASK * (np.arange(50) % 3), (0, 0, 0), (128, 0, 0), (0, 128, 0)),
        "3 colours",
    ),
    "grey levels.png": (lambda: Image.fromarray(NOISE), "`mask > 127`"),
    "soft.jpg": (
        lambda: Image.fromarray(
            np.clip((np.hypot(*(np.mgrid[:40, :50] - 20)) * 12), 0, 255).astype(np.uint8)
        ),
        "not close to 0 and 255",
    ),
    "ones.jpg": (lambda: Image.fromarray(MASK.astype(np.uint8)), "not close to 0 and 255"),
    "red.jpg": (lambda: Image.fromarray(channels(M255, 0, 0)), "colours.*as PNG"),
    "red on white.jpg": (
        lambda: Image.fromarray(channels(255, 255 - M255, 255 - M255)),
        "colours.*as PNG",
    ),
}


@pytest.mark.parametrize("name", REFUSED_FILES)
def test_other_files_are_refused_with_what_to_do(tmp_path, name):
    make, said = REFUSED_FILES[name]
    make().save(tmp_path / name)
    with pytest.raises(DatasetError, match=said) as caught:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path, tmp_path / "none.png", "\0"):
        with pytest.raises(DatasetError, match="mask file cannot be read"):
            read(path)


def test_a_mask_file_far_larger_than_its_image_is_refused_before_its_pixels_are_read(tmp_path):
    path = tmp_path / "mask.png"
    Image.new("1", (8, 8)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 15_000, 15_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"15000 x 15000 pixels, far more than its image"):
        read(path)


def test_too_many_open_files_are_told_so(tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray(MASK).save(path)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
        with pytest.raises(NoFileHandlesError, match=r"ulimit -n"):
            read(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_the_mask_in_the_database_comes_before_the_file(tmp_path):
    mask, _ = stored_mask(fo.Detection(mask=MASK, mask_path=str(tmp_path / "none.png")), PLENTY)
    assert np.array_equal(mask, MASK)
