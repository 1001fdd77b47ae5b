from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ntt_plugin.engine import full_masks
from ntt_plugin.engine.full_masks import pack_mask, upsample_masks
from ntt_plugin.engine.proposals import mask_boxes


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


def test_both_ways_of_counting_bits_agree():
    words = np.random.default_rng(0).integers(0, 2**64, (7, 9), dtype=np.uint64)[:, 2:5]
    expected = sum(int(word).bit_count() for word in words.ravel())
    assert full_masks._count(words) == expected
    assert full_masks._count_by_table(words) == expected


def blobs(count, side, seed=0):
    """Smooth random logits, some large, some small, some in pieces."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    logits = np.full((count, side, side), -9.0)
    for logit in logits:
        for _ in range(generator.integers(1, 4)):
            cx, cy, radius = generator.random(3) * [1, 1, 0.4]
            np.maximum(logit, 30 * (radius - np.hypot(x - cx, y - cy)), out=logit)
    logits[:, side // 2, side // 2] = 2.0
    return torch.from_numpy(logits).float()


@pytest.mark.parametrize(
    "size",
    [(427, 640), (256, 256), (100, 90), (300, 40), (3, 500), (500, 3), (1, 1), (1, 400), (400, 1)],
)
def test_masks_are_those_of_pillows_antialiased_resize(size):
    # Pillow's bilinear filter is antialiased as the recipe asks, and works in 32-bit floats.
    logits = blobs(6, 256)
    masks = upsample_masks(logits, mask_boxes(logits > 0), size)
    for logit, mask in zip(logits.numpy(), masks, strict=True):
        resized = Image.fromarray(logit).resize(size[::-1], Image.Resampling.BILINEAR)
        expected = np.asarray(resized)
        decided = np.abs(expected) > 1e-4
        assert np.array_equal(whole(mask, size)[decided], (expected > 0)[decided])


def test_a_small_network_and_a_large_image():
    logits = blobs(4, 56)
    masks = upsample_masks(logits, mask_boxes(logits > 0), (700, 300))
    for logit, mask in zip(logits, masks, strict=True):
        full = torch.nn.functional.interpolate(
            logit[None, None], (700, 300), mode="bilinear", antialias=True, align_corners=False
        )[0, 0].numpy()
        decided = np.abs(full) > 1e-4
        assert np.array_equal(whole(mask, (700, 300))[decided], (full > 0)[decided])


def test_a_logit_of_zero_is_outside_at_full_size_too():
    logits = torch.full((1, 64, 64), -1.0)
    logits[0, 10:20, 10:20] = 1.0
    logits[0, 15, 15] = 0.0
    (mask,) = upsample_masks(logits, mask_boxes(logits > 0), (64, 64))
    assert mask.area == 99


def test_a_mask_that_averages_away_is_none():
    logits = torch.full((1, 64, 64), -10.0)
    logits[0, 30, 30] = 1.0
    assert upsample_masks(logits, mask_boxes(logits > 0), (8, 8)) == [None]
