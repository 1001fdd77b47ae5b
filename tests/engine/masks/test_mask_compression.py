import zlib

import numpy as np
import pytest

from ntt_plugin.engine.masks.packed import (
    PackedMask,
    RecordError,
    decode_mask,
    encode_mask,
    pack_mask,
)
from tests.engine.masks.packed_masks import blob, same_mask


def packed(mask: np.ndarray, left: int = 0, top: int = 0) -> PackedMask:
    found = pack_mask(mask, left, top)
    assert found is not None
    return found


def there_and_back(mask: PackedMask) -> PackedMask:
    return decode_mask(encode_mask(mask), mask.box, mask.area)


@pytest.mark.parametrize("left", [0, 1, 63, 64, 200])
@pytest.mark.parametrize("size", [(1, 1), (1, 65), (70, 1), (64, 64), (33, 257)])
def test_a_mask_comes_back_wherever_it_lies(size: tuple[int, int], left: int) -> None:
    mask = np.random.default_rng(sum(size) + left).random(size) < 0.5
    mask[0, 0] = mask[-1, -1] = True

    found = there_and_back(packed(mask, left, top=7))

    assert found.box == (left, 7, left + size[1], 7 + size[0])
    assert np.array_equal(found.unpack(), mask)


def test_words_and_area_come_back_too() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = packed(blob(rng, 100, 150))
        assert same_mask(there_and_back(mask), mask)


def test_an_image_filled_to_the_last_pixel_takes_a_thousandth_of_its_bits() -> None:
    mask = packed(np.ones((3000, 4000), dtype=bool))

    assert len(encode_mask(mask)) < mask.words.nbytes / 1000 + 1000
    assert same_mask(there_and_back(mask), mask)


def test_bytes_that_cannot_be_inflated_are_refused() -> None:
    with pytest.raises(RecordError):
        decode_mask(b"\xff\xff\xff", (0, 0, 5, 5), 25)


@pytest.mark.parametrize("box", [(0, 0, 10, 9), (0, 0, 10, 11), (60, 0, 70, 10)])
def test_a_mask_of_another_size_than_its_box_is_refused(box: tuple[int, int, int, int]) -> None:
    data = encode_mask(packed(np.ones((10, 10), dtype=bool)))

    with pytest.raises(RecordError):
        decode_mask(data, box, 100)


def test_bytes_after_the_mask_are_refused() -> None:
    data = encode_mask(packed(np.ones((10, 10), dtype=bool)))

    with pytest.raises(RecordError):
        decode_mask(data + b"\0", (0, 0, 10, 10), 100)


def test_bytes_that_would_inflate_to_a_gigabyte_are_refused_before_they_do() -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(64)) + deflater.flush()

    with pytest.raises(RecordError):
        decode_mask(bomb, (0, 0, 64, 1), 64)
