"""Orientation: what reading gives is upright, and reading it again changes nothing."""

import numpy as np
import pytest
from PIL import Image, ImageFile

from ntt_plugin.demo.classes import BASE_CLASSES
from ntt_plugin.demo.scenes import make_scene
from ntt_plugin.engine import Reference, Segmenter
from ntt_plugin.engine.images.image_file import image_sizes
from ntt_plugin.engine.images.load import image_notes, read_image, shown_size
from tests.engine.images.image_files import FORMATS, save_turned, stored

# Six blocks of different greys: each orientation gives another picture, and a lossy format keeps
# them apart.
BLOCKS = np.kron([[10, 90], [170, 250], [50, 130]], np.ones((16, 16))).astype(np.uint8)
COLOURS = np.stack([BLOCKS, 255 - BLOCKS, BLOCKS // 2], axis=-1)


@pytest.mark.parametrize("where", ["exif", "xmp"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_every_orientation_is_turned_once_however_often_it_is_read(tmp_path, suffix, where):
    for orientation in range(1, 9):
        path = tmp_path / f"{orientation}.{suffix}"
        save_turned(path, COLOURS, orientation, suffix, where)
        with Image.open(path) as picture:
            readings = [read_image(path), read_image(read_image(path)), read_image(picture)]
            readings.append(read_image(picture))
        for found in readings:
            assert found.size == (COLOURS.shape[1], COLOURS.shape[0]) and found.info == {}
            assert np.abs(np.asarray(found).astype(int) - COLOURS).max() < 24
            assert found.getexif().get(0x0112, 1) == 1
        sizes = image_sizes(path)
        assert shown_size(path) == sizes.shown == BLOCKS.shape
        assert sizes.stored == stored(BLOCKS, orientation).shape


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "LA", "I;16", "I;16B", "I", "F"])
def test_a_tiff_of_any_mode_is_turned_from_its_file_and_from_pil(tmp_path, mode):
    """PIL maps those of some modes into memory, and turns them wrongly."""
    expected = None
    for orientation in range(1, 9):
        pixels = np.ascontiguousarray(stored(BLOCKS, orientation))
        deep = pixels.astype(np.uint16) * 257
        if mode == "I;16B":
            image = Image.frombytes(mode, pixels.shape[::-1], deep.astype(">u2").tobytes())
        elif mode.startswith("I"):
            image = Image.fromarray(deep if mode == "I;16" else deep.astype(np.int32))
        elif mode == "F":
            image = Image.fromarray(pixels.astype(np.float32))
        else:
            image = Image.fromarray(pixels).convert(mode)
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.tif"
        image.save(path, exif=exif)
        with Image.open(path) as picture:
            readings = [np.asarray(read_image(source)) for source in (path, picture)]
        expected = readings[0] if orientation == 1 else expected
        assert all(np.array_equal(found, expected) for found in readings)


def test_transparency_of_a_turned_image_is_on_white_once(tmp_path):
    image = np.dstack([COLOURS, np.where(BLOCKS > 100, 255, 0).astype(np.uint8)])
    save_turned(tmp_path / "cut.png", image, 6)
    once = read_image(tmp_path / "cut.png")
    assert np.array_equal(read_image(once), once)
    assert (np.asarray(once)[BLOCKS <= 100] == 255).all()


def test_an_orientation_after_the_pixels_of_a_png_counts_too(tmp_path):
    save_turned(tmp_path / "early.png", COLOURS, 6)
    data = (tmp_path / "early.png").read_bytes()
    begin = data.index(b"eXIf") - 4
    end = begin + 12 + int.from_bytes(data[begin : begin + 4], "big")
    chunk, rest = data[begin:end], data[:begin] + data[end:]
    last = rest.index(b"IEND") - 4
    (tmp_path / "late.png").write_bytes(rest[:last] + chunk + rest[last:])
    assert shown_size(tmp_path / "late.png") == BLOCKS.shape
    assert np.array_equal(read_image(tmp_path / "late.png"), COLOURS)


def test_sizes_and_notes_of_a_png_decode_nothing(tmp_path, monkeypatch):
    """PIL would read all its pixels to look for metadata behind them."""
    save_turned(tmp_path / "photo.png", COLOURS, 6)
    Image.fromarray(COLOURS).save(tmp_path / "plain.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    assert shown_size(tmp_path / "photo.png") == shown_size(tmp_path / "plain.png") == BLOCKS.shape
    assert image_notes(tmp_path / "photo.png") == image_notes(tmp_path / "plain.png") == []


@pytest.mark.parametrize(
    ("suffix", "where", "noted"),
    [
        ("jpg", "exif", False),
        ("png", "exif", False),
        ("avif", "exif", False),
        ("tif", "exif", False),
        ("webp", "exif", True),
        ("jpg", "xmp", True),
        ("png", "xmp", True),
    ],
)
def test_an_orientation_that_browsers_do_not_follow_is_noted(tmp_path, suffix, where, noted):
    for orientation in (1, 6):
        path = tmp_path / f"{orientation}.{suffix}"
        save_turned(path, COLOURS, orientation, suffix, where)
        notes = image_notes(path)
        assert len(notes) == (noted and orientation == 6)
        assert all("the App shows it unturned" in note for note in notes)


def test_the_engine_takes_a_photograph_as_a_path_as_a_pil_image_and_as_what_reading_gives(tmp_path):
    engine = Segmenter.from_preset("tiny", device="cpu", grid=6)
    scene = make_scene(5, BASE_CLASSES)
    shown = scene.image[:192]
    masks = [scene.mask(index)[:192] for index in range(len(scene.classes))]
    mask = max(masks, key=np.count_nonzero)
    save_turned(tmp_path / "photo.png", shown, 6)
    expected = engine.reference_feature(Reference(shown, mask, "thing"))
    bank = engine.build_bank([Reference(shown, mask, "thing")], progress=False)
    instances = engine.segment(shown, bank)
    with Image.open(tmp_path / "photo.png") as picture:
        for image in (tmp_path / "photo.png", picture, read_image(picture)):
            found = engine.segment(image, bank)
            assert found.image_size == (192, 256)
            assert np.array_equal(found.boxes, instances.boxes)
            assert np.allclose(engine.reference_feature(Reference(image, mask, "thing")), expected)
            (cut,) = engine.masks_from_boxes(image, [[10, 10, 90, 90]])
            assert np.array_equal(cut, engine.masks_from_boxes(shown, [[10, 10, 90, 90]])[0])
