"""Deep values and fourth bands: read well with a note, or as viewers show them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from ntt_plugin.engine.images.load import image_notes, read_image, read_with_notes
from tests.engine.images.image_files import deep_png

# A picture of all greys, each pixel another neighbour's.
GREYS = np.random.default_rng(0).permutation(np.arange(4096) % 256).reshape(64, 64)
PICTURE = np.stack([GREYS, GREYS[::-1], GREYS[:, ::-1]], axis=-1).astype(np.uint16)


def read(path):
    image, notes = read_with_notes(path)
    assert image_notes(path) == notes
    return np.asarray(image), notes


def save_grey(path, values):
    """Save uint16 (H, W) as the path's suffix says; ``.be.tif`` with the high bytes first."""
    if path.suffixes[0] == ".be":
        size = values.shape[::-1]
        Image.frombytes("I;16B", size, values.astype(">u2").tobytes()).save(path)
    elif path.suffixes[0] == ".int":
        Image.fromarray(values.astype(np.int32)).save(path)
    else:
        Image.fromarray(values.astype(np.uint16)).save(path)


@pytest.mark.parametrize("suffix", ["png", "tif", "be.tif", "int.tif"])
@pytest.mark.parametrize(("bits", "factor"), [(8, 1), (12, 16)])
def test_few_bits_in_sixteen_are_read_as_such_with_a_note(tmp_path, suffix, bits, factor):
    save_grey(tmp_path / f"dark.{suffix}", GREYS * factor)
    found, (note,) = read(tmp_path / f"dark.{suffix}")
    assert np.array_equal(found[..., 0], GREYS)
    assert f"16-bit file that uses {bits} bits (values up to {255 * factor})" in note


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize(("bits", "factor"), [(8, 1), (12, 16)])
def test_few_bits_in_sixteen_of_colours_are_read_as_such_too(tmp_path, bits, factor, bands):
    """Of which PIL gives the high bytes alone."""
    values = PICTURE * factor
    if bands == 4:
        values = np.dstack([values, np.full(GREYS.shape, 65535, np.uint16)])
    (tmp_path / "dark.png").write_bytes(deep_png(values))
    found, (note,) = read(tmp_path / "dark.png")
    assert np.array_equal(found, PICTURE) and f"uses {bits} bits" in note


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_sixteen_bits_that_are_used_stay_as_viewers_show_them(tmp_path, bands):
    values = np.dstack([PICTURE * 257, np.full(GREYS.shape, 65535, np.uint16)])
    (tmp_path / "deep.png").write_bytes(deep_png(values[..., :bands]))
    found, notes = read(tmp_path / "deep.png")
    assert np.array_equal(found, PICTURE if bands > 1 else np.stack([GREYS] * 3, -1))
    assert notes == []


def test_a_dark_photograph_of_sixteen_bits_stays_dark_and_that_is_noted(tmp_path):
    values = (GREYS * 24).astype(np.uint16)
    save_grey(tmp_path / "night.png", values)
    found, (note,) = read(tmp_path / "night.png")
    assert np.array_equal(found[..., 0], values >> 8)
    assert "became 24 grey levels" in note and "by the same factor for all images" in note


def test_a_small_range_high_up_is_noted_with_what_to_do(tmp_path):
    save_grey(tmp_path / "thermal.tif", 29000 + GREYS * 4)
    _, (note,) = read(tmp_path / "thermal.tif")
    assert "from 29000 to 30020, became 5 grey levels" in note and "scale the values" in note


@pytest.mark.parametrize("values", [np.zeros((9, 9)), np.full((9, 9), 40_000)])
def test_nothing_is_said_of_an_image_of_one_value(tmp_path, values):
    save_grey(tmp_path / "flat.png", values)
    assert read(tmp_path / "flat.png")[1] == []


def test_packed_values_of_twelve_bits_are_no_guess(tmp_path):
    """A TIFF says how many bits its values have; a dark image of twelve stays dark."""
    rows = (GREYS // 2).astype(np.uint16).reshape(64, 32, 2)
    packed = np.stack(
        [rows[..., 0] >> 4, (rows[..., 0] & 15) << 4 | rows[..., 1] >> 8, rows[..., 1] & 255], -1
    ).astype(np.uint8)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    path = tmp_path / "packed.tif"
    Image.frombytes("L", (96, 64), packed.tobytes()).save(path, tiffinfo=tags)
    data = path.read_bytes()
    entry = data.index(b"\x02\x01\x03\x00\x01\x00\x00\x00\x08\x00")
    data = data[: entry + 8] + b"\x0c\x00" + data[entry + 10 :]
    width = data.index(b"\x00\x01\x04\x00\x01\x00\x00\x00\x60\x00")
    path.write_bytes(data[: width + 8] + b"\x40\x00" + data[width + 10 :])
    with Image.open(path) as opened:
        assert (opened.mode, opened.tag_v2[258]) == ("I;16", (12,))
    found, _ = read(path)
    assert np.array_equal(found[..., 0], GREYS // 2 >> 4)


@pytest.mark.parametrize("most", [1.02, 1.9])
def test_floats_a_little_above_one_are_fractions_with_a_note(tmp_path, most):
    values = (GREYS / 255 * most).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "reflectance.tif")
    found, (note,) = read(tmp_path / "reflectance.tif")
    assert np.abs(found[..., 0] - np.minimum(values, 1) * 255).max() <= 0.5
    assert "read as fractions, and those above 1 as 1" in note


def test_whole_floats_are_no_fractions(tmp_path):
    values = (GREYS % 3).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "classes.tif")
    assert np.array_equal(read(tmp_path / "classes.tif")[0][..., 0], values)


def test_floats_of_a_small_range_are_noted(tmp_path):
    Image.fromarray((GREYS / 30).astype(np.float32)).save(tmp_path / "small.tif")
    assert "grey levels" in read(tmp_path / "small.tif")[1][0]


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_a_picture_in_place_of_transparency_is_left_out_with_a_note(tmp_path, suffix):
    pixels = np.dstack([PICTURE, GREYS.T]).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"infrared.{suffix}", lossless=True, exact=True)
    found, (note,) = read(tmp_path / f"infrared.{suffix}")
    assert np.array_equal(found, PICTURE) and "holds a picture and not transparency" in note


def test_a_picture_beside_grey_is_left_out_too(tmp_path):
    Image.fromarray(np.dstack([GREYS, GREYS.T]).astype(np.uint8)).save(tmp_path / "two.png")
    found, notes = read(tmp_path / "two.png")
    assert np.array_equal(found[..., 0], GREYS) and len(notes) == 1


def test_a_band_that_a_tiff_does_not_call_transparency_is_left_out(tmp_path):
    """Half of it is 0, as depth often is."""
    fourth = np.where(GREYS.T > 127, GREYS.T, 0)
    pixels = np.dstack([PICTURE, fourth]).astype(np.uint8)
    Image.frombytes("RGBX", (64, 64), pixels.tobytes()).save(tmp_path / "bands.tif")
    found, (note,) = read(tmp_path / "bands.tif")
    assert np.array_equal(found, PICTURE) and "4 bands: the first three were read" in note


def test_real_transparency_stays_one(tmp_path):
    """A round object with a soft rim."""
    rows, columns = np.mgrid[:64, :64]
    alpha = np.clip((28 - np.hypot(rows - 32, columns - 32)) * 40, 0, 255)
    pixels = np.dstack([PICTURE, alpha]).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cut.png")
    found, notes = read(tmp_path / "cut.png")
    assert notes == [] and (found[alpha == 0] == 255).all()
    assert np.array_equal(found[alpha == 255], PICTURE[alpha == 255])


def test_an_image_that_is_wholly_transparent_is_noted(tmp_path):
    Image.new("RGBA", (9, 9), (5, 6, 7, 0)).save(tmp_path / "nothing.png")
    found, (note,) = read(tmp_path / "nothing.png")
    assert (found == 255).all() and "wholly transparent" in note


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_a_pil_image_is_read_as_its_file(tmp_path, mode):
    values = GREYS.astype(np.uint16 if mode == "I;16" else np.float32)
    Image.fromarray(values).save(tmp_path / "grey.tif")
    assert np.array_equal(read_image(Image.fromarray(values)), read_image(tmp_path / "grey.tif"))
