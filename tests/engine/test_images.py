from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ntt_plugin.engine.images import normalise, read_image, to_tensor
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


def test_a_photograph_is_turned_upright(pixels, tmp_path):
    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif)
    assert np.array_equal(np.asarray(read_image(path)), np.rot90(pixels, -1))


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    deep = np.array([[0, 256, 32768, 65535]], dtype=np.uint16)
    path = tmp_path / "deep.png"
    Image.fromarray(deep).save(path)
    assert np.asarray(read_image(path))[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("mode", ["P", "RGBA", "CMYK", "LA", "1"])
def test_other_modes_become_rgb(pixels, mode):
    assert read_image(Image.fromarray(pixels).convert(mode)).mode == "RGB"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"no image file .*gone\.png"):
        read_image(tmp_path / "gone.png")


def test_a_pil_image_whose_file_is_damaged_is_our_error(pixels, tmp_path):
    whole, cut = tmp_path / "whole.png", tmp_path / "cut.png"
    Image.fromarray(np.tile(pixels, (40, 40, 1))).save(whole)
    cut.write_bytes(whole.read_bytes()[:200])
    with Image.open(cut) as picture, pytest.raises(ImageError, match="PIL image"):
        read_image(picture)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ImageError, match="Cannot read the image"):
        read_image(tmp_path)


@pytest.mark.parametrize("kind", ["text", "truncated"])
def test_a_damaged_file_is_named(pixels, tmp_path, kind):
    path = tmp_path / "bad.png"
    Image.fromarray(np.tile(pixels, (20, 20, 1))).save(path)
    whole = path.read_bytes()
    path.write_bytes(b"no image" if kind == "text" else whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"bad\.png"):
        read_image(path)


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
