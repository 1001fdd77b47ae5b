"""Deep values and fourth bands: read well with a note, or as viewers show them."""

import io

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, TiffImagePlugin

from ntt_plugin.engine.images.load import image_notes, read_image, read_with_notes
from ntt_plugin.engine.images.pixel_values import needs_pixels
from ntt_plugin.errors import ImageError
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
@pytest.mark.parametrize(("bits", "factor"), [(8, 1), (10, 4), (12, 16), (14, 64)])
def test_few_bits_in_sixteen_are_read_as_such_with_a_note(tmp_path, suffix, bits, factor):
    save_grey(tmp_path / f"dark.{suffix}", GREYS * factor)
    found, (note,) = read(tmp_path / f"dark.{suffix}")
    assert np.array_equal(found[..., 0], GREYS)
    assert f"16-bit file that uses {bits} bits (values up to {255 * factor})" in note


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize(("bits", "factor"), [(8, 1), (10, 4), (12, 16), (14, 64)])
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


@pytest.mark.parametrize("factor", [256, 257])
def test_a_dark_image_of_eight_bits_made_sixteen_stays_dark(tmp_path, factor):
    values = (GREYS // 5 * factor).astype(np.uint16)
    save_grey(tmp_path / "night.png", values)
    found, notes = read(tmp_path / "night.png")
    assert values.max() < 2**14 and np.array_equal(found[..., 0], GREYS // 5) and notes == []


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


FULL, TWELVE, EIGHT = 257, 16, 1


def save_separate(path, values, **options):
    tifffile.imwrite(
        path,
        values.transpose(2, 0, 1).copy(),
        photometric="rgb",
        planarconfig="separate",
        **options,
    )


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"tile": (32, 16)}])
@pytest.mark.parametrize(("factor", "count"), [(FULL, 0), (TWELVE, 1), (EIGHT, 1)])
@pytest.mark.parametrize("bands", [3, 4])
def test_separate_bands_of_sixteen_bits(tmp_path, byteorder, options, factor, count, bands):
    values = PICTURE * factor
    if bands == 4:
        values = np.dstack([values, np.full(GREYS.shape, 65535, np.uint16)])
        options = {**options, "extrasamples": ["unassalpha"]}
    save_separate(tmp_path / "separate.tif", values, byteorder=byteorder, **options)
    found, notes = read(tmp_path / "separate.tif")
    assert np.array_equal(found, PICTURE) and len(notes) == count


def test_separate_bands_that_are_compressed(tmp_path):
    """Of these PIL cannot give the low bytes."""
    save_separate(tmp_path / "full.tif", PICTURE * FULL, compression="zlib")
    assert np.array_equal(read(tmp_path / "full.tif")[0], PICTURE)
    save_separate(tmp_path / "dark.tif", PICTURE * TWELVE, compression="zlib")
    with pytest.raises(ImageError, match=r"dark\.tif has colours of 16 bits.*16-bit RGB PNG"):
        read_image(tmp_path / "dark.tif")


def test_interleaved_bands_that_are_compressed(tmp_path):
    path = tmp_path / "dark.tif"
    tifffile.imwrite(path, PICTURE * TWELVE, photometric="rgb", compression="zlib")
    found, notes = read(path)
    assert np.array_equal(found, PICTURE) and len(notes) == 1


def save_ppm(path, values):
    head = b"P6\n%d %d\n65535\n" % values.shape[1::-1]
    path.write_bytes(head + values.astype(">u2").tobytes())


@pytest.mark.parametrize(("factor", "count"), [(FULL, 0), (TWELVE, 1), (EIGHT, 1)])
def test_deep_ppm(tmp_path, factor, count):
    save_ppm(tmp_path / "deep.ppm", PICTURE * factor)
    found, notes = read(tmp_path / "deep.ppm")
    assert np.array_equal(found, PICTURE) and len(notes) == count


@pytest.mark.parametrize(("factor", "count"), [(FULL, 0), (TWELVE, 1)])
def test_a_pil_image_that_is_not_read_yet_is_read_as_its_file(tmp_path, factor, count):
    save_ppm(tmp_path / "deep.ppm", PICTURE * factor)
    with Image.open(tmp_path / "deep.ppm") as opened:
        found, notes = read_with_notes(opened)
    assert np.array_equal(found, PICTURE) and len(notes) == count


def test_a_dark_pil_image_of_bytes_is_refused(tmp_path):
    """Its low bytes cannot be read: there is no path to read it again."""
    save_ppm(tmp_path / "deep.ppm", PICTURE * TWELVE)
    opened = Image.open(io.BytesIO((tmp_path / "deep.ppm").read_bytes()))
    with pytest.raises(ImageError, match="PIL image has colours of 16 bits"):
        read_image(opened)


def save_plain_ppm(path, values):
    numbers = " ".join(map(str, values.ravel()))
    path.write_text(f"P3\n{values.shape[1]} {values.shape[0]}\n65535\n{numbers}\n")


def save_jpeg2000(path, values):
    cv2.imwrite(str(path), values[..., ::-1], [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])


def save_sgi(path, values):
    """Save uint16 (H, W, bands) as SGI, whose rows begin at the bottom."""
    rows, columns, bands = values.shape
    head = np.array([474, 2, 3 if bands > 1 else 2, columns, rows, bands], ">u2").tobytes()
    head = head[:2] + b"\x00\x02" + head[4:]
    path.write_bytes(
        head.ljust(512, b"\x00") + values[::-1].transpose(2, 0, 1).astype(">u2").tobytes()
    )


def save_cmyk(path, values):
    ink = np.dstack([values, np.zeros(values.shape[:2], np.uint16)])
    tifffile.imwrite(path, ink, photometric="separated")


@pytest.mark.parametrize("factor", [64, TWELVE, EIGHT])
@pytest.mark.parametrize(
    ("save", "suffix"),
    [(save_jpeg2000, "jp2"), (save_sgi, "sgi"), (save_cmyk, "tif"), (save_plain_ppm, "ppm")],
)
def test_colours_whose_low_bytes_cannot_be_read_are_refused_if_dark(tmp_path, save, suffix, factor):
    save(tmp_path / f"dark.{suffix}", PICTURE * factor)
    with pytest.raises(ImageError, match=r"has colours of 16 bits.*16-bit RGB PNG"):
        read_image(tmp_path / f"dark.{suffix}")


@pytest.mark.parametrize(
    ("save", "suffix"), [(save_jpeg2000, "jp2"), (save_sgi, "sgi"), (save_plain_ppm, "ppm")]
)
def test_colours_whose_low_bytes_cannot_be_read_are_read_if_bright(tmp_path, save, suffix):
    save(tmp_path / f"deep.{suffix}", PICTURE * FULL)
    found, notes = read(tmp_path / f"deep.{suffix}")
    assert np.abs(found.astype(int) - PICTURE).mean() < 2 and notes == []


def test_dark_grey_of_sgi_is_refused_too(tmp_path):
    save_sgi(tmp_path / "dark.sgi", PICTURE[..., :1])
    with pytest.raises(ImageError, match="16 bits"):
        read_image(tmp_path / "dark.sgi")


def test_an_ordinary_jpeg_2000_file_needs_no_pixels(tmp_path):
    cv2.imwrite(str(tmp_path / "plain.jp2"), PICTURE.astype(np.uint8))
    with Image.open(tmp_path / "plain.jp2") as opened:
        assert not needs_pixels(opened)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
@pytest.mark.parametrize("kind", ["full", "twelve", "fractions", "bytes"])
def test_white_at_zero(tmp_path, kind, options):
    values = {
        "full": (65535 - GREYS * 257).astype(np.uint16),
        "twelve": ((255 - GREYS) * 16).astype(np.uint16),
        "fractions": (1 - GREYS / 255).astype(np.float32),
        "bytes": (255 - GREYS).astype(np.uint8),
    }[kind]
    tifffile.imwrite(tmp_path / "negative.tif", values, photometric="miniswhite", **options)
    found, _ = read(tmp_path / "negative.tif")
    assert np.array_equal(found[..., 0], GREYS)


@pytest.mark.parametrize(
    "fourth",
    [GREYS > 60, GREYS > -1, GREYS // 30, GREYS // 12],
    ids=["mask", "one", "ids", "depth"],
)
@pytest.mark.parametrize("bands", [1, 3])
def test_a_faint_last_band_is_no_transparency(tmp_path, fourth, bands):
    pixels = np.dstack([PICTURE[..., :bands], fourth]).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "faint.png")
    found, (note,) = read(tmp_path / "faint.png")
    assert np.array_equal(found, PICTURE if bands == 3 else np.stack([PICTURE[..., 0]] * 3, -1))
    assert f"reaches {fourth.max():d} of 255, so it is no transparency" in note


@pytest.mark.parametrize("factor", [1, FULL])
@pytest.mark.parametrize("separate", [False, True])
def test_infrared_marked_as_associated_alpha(tmp_path, factor, separate):
    pixels = np.dstack([PICTURE, GREYS.T]) * factor
    path, kind = tmp_path / "infrared.tif", np.uint8 if factor == 1 else np.uint16
    if separate:
        save_separate(path, pixels.astype(kind), extrasamples=["assocalpha"])
    else:
        tifffile.imwrite(path, pixels.astype(kind), photometric="rgb", extrasamples=["assocalpha"])
    found, notes = read(path)
    assert np.array_equal(found, PICTURE) and "without it" in notes[-1]


@pytest.mark.parametrize("factor", [1, FULL])
def test_true_associated_alpha_is_shown_on_white(tmp_path, factor):
    alpha = np.where(np.arange(64) < 20, 0, 255)[None].repeat(64, 0)
    pixels = np.dstack([np.where(alpha[..., None] == 0, 0, PICTURE), alpha]) * factor
    kind = np.uint8 if factor == 1 else np.uint16
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, pixels.astype(kind), photometric="rgb", extrasamples=["assocalpha"])
    found, notes = read(path)
    assert np.array_equal(found, np.where(alpha[..., None] == 0, 255, PICTURE)) and notes == []
