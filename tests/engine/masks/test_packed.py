import numpy as np
import pytest

from ntt_plugin.engine.masks.packed import pack_mask, set_bits, set_bits_of_rows

WORDS = np.random.default_rng(0).integers(0, 2**64, (7, 9), dtype=np.uint64)[:, 2:5]


def whole(packed, size):
    """A packed mask at the image's size."""
    mask = np.zeros(size, bool)
    if packed is not None:
        x1, y1, x2, y2 = packed.box
        mask[y1:y2, x1:x2] = packed.unpack()
    return mask


def random_mask(seed, size=(90, 300)):
    generator = np.random.default_rng(seed)
    mask = np.zeros(size, bool)
    x1, x2 = np.sort(generator.choice(size[1] + 1, 2, replace=False))
    y1, y2 = np.sort(generator.choice(size[0] + 1, 2, replace=False))
    mask[y1:y2, x1:x2] = generator.random((y2 - y1, x2 - x1)) < generator.random()
    mask[y1, x1] = True
    return mask


@pytest.mark.parametrize("seed", range(20))
def test_packing_loses_nothing(seed):
    mask = random_mask(seed)
    packed = pack_mask(mask)
    ys, xs = np.nonzero(mask)
    assert packed.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    assert packed.area == mask.sum()
    assert np.array_equal(whole(packed, mask.shape), mask)


@pytest.mark.parametrize("right", [0, 5, 64, 130])
def test_a_shifted_mask_lies_at_another_place(right):
    mask = random_mask(4)
    moved = pack_mask(mask).shifted(right, 7)
    expected = np.pad(mask, ((7, 0), (right, 0)))
    assert np.array_equal(whole(moved, expected.shape), expected)
    # The words lie as if the mask had been packed there.
    assert np.array_equal(moved.words, pack_mask(expected).words)


def test_a_crop_is_packed_at_its_place():
    mask = random_mask(3)
    assert np.array_equal(
        whole(pack_mask(mask[20:, 130:], 130, 20), mask.shape)[20:, 130:], mask[20:, 130:]
    )


def test_an_empty_mask_packs_to_none():
    assert pack_mask(np.zeros((4, 4), bool)) is None


@pytest.mark.parametrize("seed", range(60))
def test_intersections_are_those_of_whole_masks(seed):
    a, b = random_mask(2 * seed), random_mask(2 * seed + 1)
    assert pack_mask(a).intersection(pack_mask(b)) == (a & b).sum()


def test_masks_side_by_side_share_nothing():
    mask = np.zeros((4, 200), bool)
    left, right = mask.copy(), mask.copy()
    left[:, :100], right[:, 100:] = True, True
    assert pack_mask(left).intersection(pack_mask(right)) == 0


@pytest.mark.parametrize("instruction", [True, False])
def test_bits_are_counted_with_and_without_numpys_instruction(
    instruction: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not instruction:
        monkeypatch.delattr(np, "bitwise_count", raising=False)
    expected = [sum(int(word).bit_count() for word in row) for row in WORDS]
    assert set_bits(WORDS) == sum(expected)
    assert set_bits_of_rows(WORDS).tolist() == expected
    assert set_bits_of_rows(WORDS[:0]).tolist() == []
