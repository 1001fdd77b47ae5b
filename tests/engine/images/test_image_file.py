import errno
import os
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from ntt_plugin.engine.images import image_file
from ntt_plugin.engine.images.load import image_notes, read_image, shown_size
from ntt_plugin.errors import ImageError, NoFileHandlesError

FORMATS = ["png", "jpg", "gif", "webp", "tif", "bmp"]


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def refusal(path):
    """What the error says; it always names the file, and image_notes is silent."""
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert image_notes(path) == []
    return str(caught.value)


def test_a_device_is_not_read():
    assert "a pipe, a socket or a device" in refusal("/dev/null")


def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    said = []
    reader = threading.Thread(target=lambda: said.append(refusal(tmp_path / "pipe.png")))
    reader.daemon = True
    reader.start()
    reader.join(timeout=10)
    assert said and "pipe" in said[0]


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="this system has no users to change to")
def test_a_file_that_may_not_be_read_is_named(pixels, tmp_path):
    path = tmp_path / "private.png"
    Image.fromarray(pixels).save(path)
    path.chmod(0)
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)  # root reads everything
    try:
        assert "may not read" in refusal(path)
    finally:
        os.seteuid(mine)


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_cut_short_is_refused(pixels, tmp_path, format):
    path = tmp_path / f"cut.{format}"
    Image.fromarray(pixels).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "leave" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        b"no image",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"%PDF-1.7",
        b"\0" * 100,
    ],
    ids=["text", "svg", "heic", "pdf", "zeros"],
)
def test_a_format_that_is_not_read_is_to_be_converted(tmp_path, content):
    (tmp_path / "picture.png").write_bytes(content)
    assert "convert it" in refusal(tmp_path / "picture.png")


def test_a_path_that_no_system_takes_is_our_error():
    for path in ("a\0b.png", "x" * 5000 + ".png"):
        with pytest.raises(ImageError):
            read_image(path)


def bomb(path, width, height):
    """A small file that says it is a large image."""
    with Image.new("1", (8, 8)) as small:
        small.save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


def test_a_decompression_bomb_is_refused_with_the_limit_and_how_to_raise_it(tmp_path):
    bomb(tmp_path / "bomb.png", 30_000, 30_000)
    said = refusal(tmp_path / "bomb.png")
    assert "30000 x 30000" in said and "300,000,000" in said and "NTT_MAX_IMAGE_PIXELS" in said


def test_the_limit_can_be_changed(tmp_path, monkeypatch):
    Image.new("L", (100, 50)).save(tmp_path / "large.tif")
    monkeypatch.setenv("NTT_MAX_IMAGE_PIXELS", "4999")
    assert "limit is 4,999" in refusal(tmp_path / "large.tif")
    monkeypatch.setenv("NTT_MAX_IMAGE_PIXELS", "5000")
    assert read_image(tmp_path / "large.tif").size == (100, 50)


def test_a_limit_that_is_no_number_is_said(tmp_path, monkeypatch):
    Image.new("L", (9, 9)).save(tmp_path / "small.tif")
    monkeypatch.setenv("NTT_MAX_IMAGE_PIXELS", "lots")
    with pytest.raises(ImageError, match=r"NTT_MAX_IMAGE_PIXELS is 'lots'; set it"):
        read_image(tmp_path / "small.tif")


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.filterwarnings("error")
def test_a_large_image_is_read_past_pils_limit_which_stays(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"satellite.{suffix}"
    Image.new("L", (500, 400), 7).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    image = read_image(path)
    assert (image.size, image.getpixel((499, 399))) == ((500, 400), (7, 7, 7))
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_pils_limit_stays_after_an_error_too(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    (tmp_path / "bad.png").write_bytes(b"bad")
    refusal(tmp_path / "bad.png")
    assert Image.MAX_IMAGE_PIXELS == 1000


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (20_000, 3)])
def test_odd_sizes_are_read(tmp_path, size):
    Image.new("RGB", size, (1, 2, 3)).save(tmp_path / "odd.png")
    assert read_image(tmp_path / "odd.png").size == size


def test_an_image_without_pixels_is_refused(tmp_path):
    Image.new("P", (1, 1)).save(tmp_path / "none.gif")
    data = bytearray((tmp_path / "none.gif").read_bytes())
    picture = data.index(b",", 13)
    data[6:10] = data[picture + 5 : picture + 9] = bytes(4)
    (tmp_path / "none.gif").write_bytes(data)
    refusal(tmp_path / "none.gif")


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_image_as_it_is_read(pixels, tmp_path, format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{format}"
    Image.fromarray(pixels).save(path, exif=exif)
    height, width = shown_size(path)
    assert (width, height) == read_image(path).size


def test_the_size_of_a_file_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(ImageError, match="no image file"):
        shown_size(tmp_path / "gone.png")


def frames(path, count, **options):
    images = [Image.new("RGB", (8, 8), (0, 80 * index, 0)) for index in range(count)]
    images[0].save(path, save_all=True, append_images=images[1:], **options)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_of_several_pictures_the_first_is_read_and_that_is_said(tmp_path, suffix):
    path = tmp_path / f"moving.{suffix}"
    frames(path, 3, **({"lossless": True} if suffix == "webp" else {}))
    assert read_image(path).getpixel((4, 4)) == (0, 0, 0)
    word = "several pages" if suffix == "tif" else "animated"
    assert image_notes(path) == [
        f"{word}: its first {'page' if suffix == 'tif' else 'frame'} was used"
    ]


@pytest.mark.parametrize("suffix", FORMATS)
def test_nothing_is_said_of_an_ordinary_image(pixels, tmp_path, suffix):
    Image.fromarray(pixels).save(tmp_path / f"still.{suffix}")
    assert image_notes(str(tmp_path / f"still.{suffix}")) == []


def test_previews_and_smaller_copies_are_no_further_pictures(pixels, tmp_path):
    frames(tmp_path / "phone.mpo", 2)
    large, small = Image.fromarray(pixels), Image.fromarray(pixels).resize((40, 30))
    # Tag 254 marks the second page as a smaller copy of the first.
    small.encoderinfo = {"tiffinfo": {254: 1}}
    large.save(tmp_path / "tiles.tif", save_all=True, append_images=[small])
    with Image.open(tmp_path / "tiles.tif") as opened:
        opened.seek(1)
        assert opened.tag_v2[254] == 1
    assert image_notes(tmp_path / "phone.mpo") == image_notes(tmp_path / "tiles.tif") == []


# What PIL warns of is no news: the bytes are damaged.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("suffix", FORMATS)
def test_damaged_bytes_give_an_image_or_our_error(pixels, tmp_path, suffix):
    path = tmp_path / f"damaged.{suffix}"
    Image.fromarray(pixels).save(path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(whole)
        for place in generator.integers(0, min(len(whole), 500), 3):
            damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        try:
            assert read_image(path).mode == "RGB"
        except ImageError as error:
            assert str(path) in str(error)
        image_notes(path)


def test_threads_read_at_once(pixels, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for index in range(8):
        Image.fromarray(pixels + index).save(tmp_path / f"{index}.png")
    read = {}

    def work(index):
        read[index] = np.asarray(read_image(tmp_path / f"{index}.png"))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(read[index], pixels + index) for index in range(8))
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_too_little_memory_is_our_error(pixels, tmp_path, monkeypatch):
    Image.fromarray(pixels).save(tmp_path / "image.png")

    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr(Image, "open", exhausted)
    assert "not enough memory" in refusal(tmp_path / "image.png")
    assert Image.MAX_IMAGE_PIXELS is not None


def test_slow_files_are_opened_side_by_side_past_pils_limit(tmp_path, monkeypatch):
    """All of them wait for each other inside PIL, which one at a time never would."""
    Image.new("RGB", (50, 50)).save(tmp_path / "slow.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    together, sizes, pils_open = threading.Barrier(8, timeout=20), [], Image.open

    def slow(file, *args, **kwargs):
        together.wait()
        opened = pils_open(file, *args, **kwargs)
        together.wait()
        return opened

    monkeypatch.setattr(Image, "open", slow)
    work = [
        threading.Thread(target=lambda: sizes.append(shown_size(tmp_path / "slow.png")))
        for _ in range(8)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert sizes == [(50, 50)] * 8
    assert Image.MAX_IMAGE_PIXELS == 1000


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_no_file_handles_left_is_no_damage(pixels, tmp_path, monkeypatch, code):
    Image.fromarray(pixels).save(tmp_path / "image.png")

    def exhausted(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Image, "open", exhausted)
    with pytest.raises(NoFileHandlesError, match=r"no file handles left .*ulimit -n") as caught:
        read_image(tmp_path / "image.png")
    assert "damaged" not in str(caught.value)


def test_a_pil_image_that_does_not_fit_in_memory_is_told_in_these_words(monkeypatch):
    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", exhausted)
    with pytest.raises(ImageError, match="There is not enough memory to read the PIL image"):
        read_image(Image.new("L", (5, 5)))


@pytest.mark.parametrize("size", [2**40, 300 * 2**20])
def test_a_small_image_in_a_huge_file_is_refused(pixels, tmp_path, size):
    path = tmp_path / "padded.png"
    Image.fromarray(pixels).save(path)
    with path.open("r+b") as file:
        file.truncate(size)
    assert "something else was written into it" in refusal(path)
    with pytest.raises(ImageError, match="something else"):
        shown_size(path)


def test_a_large_image_may_be_a_large_file(tmp_path, monkeypatch):
    """A TIFF of 16-bit colours needs 6 bytes a pixel, and 8 with a fourth band."""
    monkeypatch.setattr(image_file, "_BYTES_BESIDE", 0)
    Image.new("I;16", (300, 300)).save(tmp_path / "deep.tif")
    Image.new("F", (300, 300)).save(tmp_path / "floats.tif")
    assert read_image(tmp_path / "deep.tif").size == read_image(tmp_path / "floats.tif").size


def test_many_pages_are_no_padding(tmp_path, monkeypatch):
    monkeypatch.setattr(image_file, "_BYTES_BESIDE", 0)
    frames(tmp_path / "pages.tif", 60)
    assert (tmp_path / "pages.tif").stat().st_size > 0
    assert image_notes(tmp_path / "pages.tif") == ["several pages: its first page was used"]
    assert read_image(tmp_path / "pages.tif").getpixel((4, 4)) == (0, 0, 0)
