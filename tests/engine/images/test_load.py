import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from ntt_plugin.engine.images.load import normalise, read_image, to_tensor
from ntt_plugin.errors import ImageError


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("form", ["array", "pil", "path", "text"])
def test_every_form_of_an_image_gives_the_same_pixels(pixels, tmp_path, form):
    path = tmp_path / "image.png"
    Image.fromarray(pixels).save(path)
    forms = {"array": pixels, "pil": Image.fromarray(pixels), "path": path, "text": str(path)}
    assert np.array_equal(np.asarray(read_image(forms[form])), pixels)


def test_grey_arrays_become_rgb(pixels):
    grey = pixels[..., 0]
    assert np.array_equal(np.asarray(read_image(grey)), np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "tiff", "lzw tiff", "16-bit png", "pil"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright(tmp_path, form, orientation):
    # A quarter each of the four corners: survives a lossy format.
    shown = np.kron([[0, 90], [170, 255], [30, 120]], np.ones((16, 16))).astype(np.uint8)
    stored = {
        1: shown,
        2: shown[:, ::-1],
        3: shown[::-1, ::-1],
        4: shown[::-1],
        5: shown.T,
        6: np.rot90(shown, 1),
        7: np.rot90(shown, 2).T,
        8: np.rot90(shown, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    deep = (stored.astype(np.uint16) << 8) if form == "16-bit png" else stored
    path = tmp_path / f"turned.{form.split()[-1]}"
    if form == "pil":
        path = path.with_suffix(".png")
    options = {"compression": "tiff_lzw"} if form == "lzw tiff" else {"quality": 95}
    Image.fromarray(np.ascontiguousarray(deep)).save(path, exif=exif, **options)

    with Image.open(path) as picture:
        image = read_image(picture if form == "pil" else path)

    assert image.size == (shown.shape[1], shown.shape[0])
    assert np.abs(np.asarray(image)[..., 0].astype(int) - shown).max() < 24


def test_reading_changes_nothing_about_a_pil_image(pixels, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as picture:
        first, second = read_image(picture), read_image(picture)
    assert np.array_equal(first, second) and picture.size == (7, 5)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0", b"nonsense" * 9])
def test_damaged_exif_data_leave_the_image_as_it_lies(pixels, tmp_path, exif):
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path, exif=exif)
    assert np.array_equal(np.asarray(read_image(path)), pixels)


@pytest.mark.parametrize("mode", ["RGB", "1", "L", "P", "PA", "LA", "RGBA", "RGBX", "YCbCr"])
def test_every_mode_gives_its_colours(pixels, mode):
    image = Image.fromarray(pixels).convert("L" if mode in ("LA", "PA") else "RGB").convert(mode)
    expected = np.asarray(image.convert("RGB"), dtype=int)
    assert np.abs(np.asarray(read_image(image), dtype=int) - expected).max() <= 1


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_is_ink_on_paper(tmp_path, suffix):
    inks = np.array([[0, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255], [255, 0, 0, 0]], np.uint8)
    colours = [(255, 255, 255), (255, 0, 0), (0, 0, 0), (0, 255, 255)]
    path = tmp_path / f"print.{suffix}"
    blocks = np.kron(inks[None], np.ones((8, 8, 1), np.uint8))
    Image.frombytes("CMYK", (32, 8), blocks.tobytes()).save(path, quality=100)
    # Adobe's programs, and PIL too, write the inks of a JPEG inverted.
    assert suffix != "jpg" or b"Adobe" in path.read_bytes()
    found = np.asarray(read_image(path), dtype=int)[4, 4::8]
    assert np.abs(found - colours).max() <= 6


@pytest.mark.parametrize("form", ["RGBA png", "LA png", "P png", "L png", "RGB png", "1 png",
                                  "P gif", "RGBA webp", "RGBA tiff", "RGBa", "La"])  # fmt: skip
def test_transparent_parts_are_shown_on_white(tmp_path, form):
    mode, _, suffix = form.partition(" ")
    # Black, opaque on the left and, but for the last modes, wholly transparent on the right.
    image = Image.new("RGBA", (4, 2), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (2, 0, 4, 2))
    transparency: dict[str, object] = {}
    if mode in ("P", "L", "1"):
        values = np.zeros((2, 4), np.uint8)
        values[:, 2:] = 1
        image = Image.fromarray(values)
        if mode == "P":
            image = Image.frombytes("P", (4, 2), values.tobytes())
            image.putpalette([0, 0, 0, 7, 7, 7])
        if mode == "1":
            image = Image.fromarray(values.astype(bool))
        transparency = {"transparency": 1}
    elif mode == "RGB":
        values = np.zeros((2, 4, 3), np.uint8)
        values[:, 2:] = 9
        image, transparency = Image.fromarray(values), {"transparency": (9, 9, 9)}
    elif mode in ("LA", "La"):
        image = image.convert("LA").convert(mode)
    else:
        image = image.convert(mode)
    read = image
    if suffix:
        read = tmp_path / f"cut_out.{suffix}"
        image.save(read, lossless=True, **transparency)
    found = np.asarray(read_image(read))
    assert (found[:, :2] == 0).all() and (found[:, 2:] == 255).all()


def test_half_transparent_is_half_white():
    image = Image.new("RGBA", (1, 1), (200, 0, 100, 128))
    expected = np.array([200, 0, 100]) * (128 / 255) + 255 * (127 / 255)
    assert np.abs(np.asarray(read_image(image))[0, 0] - expected).max() <= 1


DEEP = np.array([[0, 256, 32768, 65535]], dtype=np.uint16)
AS_EIGHT_BITS = [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("suffix", "mode"), [("png", "I;16"), ("tif", "I;16"), ("tif", "I;16B"), ("pgm", "I;16")]
)
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path, suffix, mode):
    path = tmp_path / f"deep.{suffix}"
    values = DEEP.byteswap() if mode.endswith("B") else DEEP
    Image.frombytes(mode, (4, 1), values.tobytes()).save(path)
    assert np.asarray(read_image(path))[0, :, 0].tolist() == AS_EIGHT_BITS


def test_sixteen_bit_colours_are_scaled_too(tmp_path):
    rows = b"\0" + DEEP.astype(">u2")[0, [0, 1, 2, 3, 2, 1]].tobytes()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        data += struct.pack(">I", len(body)) + kind + body
        data += struct.pack(">I", zlib.crc32(kind + body))
    (tmp_path / "deep.png").write_bytes(data)
    assert np.asarray(read_image(tmp_path / "deep.png")).ravel().tolist() == [
        0,
        1,
        128,
        255,
        128,
        1,
    ]


def test_whole_numbers_of_32_bits_are_read_as_sixteen():
    image = Image.fromarray(DEEP.astype(np.int32))
    assert (image.mode, np.asarray(read_image(image))[0, :, 0].tolist()) == ("I", AS_EIGHT_BITS)


@pytest.mark.parametrize(
    ("values", "expected"), [([0, 0.5, 1], [0, 128, 255]), ([0, 9.6], [0, 10])]
)
def test_floats_are_fractions_or_8_bits(tmp_path, values, expected):
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "float.tif")
    assert np.asarray(read_image(tmp_path / "float.tif"))[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0, 65536]], np.int32),
        np.array([[-1, 5]], np.int32),
        np.array([[0, 300]], np.float32),
        np.array([[-0.5, 1]], np.float32),
        np.array([[0, np.nan]], np.float32),
        np.array([[0, np.inf]], np.float32),
    ],
)
def test_values_of_an_unknown_scale_are_refused_and_not_guessed(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "heights.tif")
    with pytest.raises(ImageError, match=r"heights\.tif has .* values from .*8 or 16 bits"):
        read_image(tmp_path / "heights.tif")


def test_a_pil_image_whose_file_is_damaged_is_our_error(pixels, tmp_path):
    whole, cut = tmp_path / "whole.png", tmp_path / "cut.png"
    Image.fromarray(np.tile(pixels, (40, 40, 1))).save(whole)
    cut.write_bytes(whole.read_bytes()[:200])
    with Image.open(cut) as picture, pytest.raises(ImageError, match="PIL image"):
        read_image(picture)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_arrays_of_another_form_are_refused_with_what_to_do(array):
    with pytest.raises(ImageError, match="uint8 of shape"):
        read_image(array)


def test_things_that_are_no_image_are_refused():
    with pytest.raises(ImageError, match="not NoneType"):
        read_image(None)


def test_tensors_are_channels_first_in_zero_to_one(pixels):
    tensor = to_tensor(Image.fromarray(pixels))
    assert tensor.dtype == torch.float32
    assert np.allclose(tensor.numpy(), pixels.transpose(2, 0, 1) / 255)


def test_normalising_takes_the_mean_and_divides_by_the_deviation(pixels):
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (pixels / 255 - mean) / deviation
    assert np.allclose(normalise(batch)[0].numpy(), expected.transpose(2, 0, 1), atol=1e-6)
