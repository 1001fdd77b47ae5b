import numpy as np
import pytest
import torch
from PIL import Image

from ntt_plugin.engine.proposals import mask_upsampling
from ntt_plugin.engine.proposals.mask_upsampling import (
    BatchUpsampler,
    ResizeAxis,
    UpsampledMasks,
    upsample_masks,
)
from ntt_plugin.engine.proposals.proposals import mask_boxes
from tests.engine.masks.packed_masks import same_mask

SIZES = [
    (427, 640),
    (256, 256),
    (100, 90),
    (300, 40),
    (3, 500),
    (500, 3),
    (1, 1),
    (1, 400),
    (400, 1),
]


def whole(packed, size):
    """A packed mask at the image's size."""
    mask = np.zeros(size, bool)
    if packed is not None:
        x1, y1, x2, y2 = packed.box
        mask[y1:y2, x1:x2] = packed.unpack()
    return mask


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


@pytest.mark.parametrize("size", SIZES)
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


def in_batches(logits, size):
    """Masks as a GPU makes them, all in one batch."""
    boxes = mask_boxes(logits > 0).long().tolist()
    axes = (ResizeAxis(logits.shape[-1], side) for side in size)
    return BatchUpsampler(*axes, torch.device("cpu")).upsample(logits, boxes)


@pytest.mark.parametrize("size", SIZES)
def test_a_batch_gives_the_same_masks_as_one_by_one(size):
    logits = blobs(6, 256)
    single = upsample_masks(logits, mask_boxes(logits > 0), size)
    resized = torch.nn.functional.interpolate(
        logits.repeat(1, 1, 1)[None], size, mode="bilinear", antialias=True
    )[0].numpy()
    # torch 2.13 resizes to and from a width of 1 wrongly.
    decided = np.ones_like(resized, bool) if 1 in size else np.abs(resized) > 1e-4
    for one, other, certain in zip(single, in_batches(logits, size), decided, strict=True):
        assert np.array_equal(whole(one, size)[certain], whole(other, size)[certain])


def test_a_mask_has_the_same_bits_in_any_company():
    logits = blobs(8, 256, seed=3)
    together = in_batches(logits, (427, 640))
    for logit, mask in zip(logits, together, strict=True):
        assert same_mask(in_batches(logit[None], (427, 640))[0], mask)


def test_in_a_batch_a_mask_may_average_away():
    logits = torch.full((2, 64, 64), -10.0)
    logits[0, 30, 30] = 1.0
    logits[1, 10:40, 10:40] = 1.0
    gone, left = in_batches(logits, (8, 8))
    assert gone is None and left.area > 0


def test_a_gpu_is_asked_for_few_batches(monkeypatch):
    logits = blobs(7, 64)
    masks = UpsampledMasks(logits, mask_boxes(logits > 0), (120, 160))
    expected = list(masks.some(range(7)))
    axes = ResizeAxis(64, 120), ResizeAxis(64, 160)
    batched = mask_upsampling.BatchUpsampler(*axes, logits.device)
    monkeypatch.setattr(masks, "_upsampler", batched)
    monkeypatch.setattr(masks, "_batch", 3)
    seen = []
    upsample = batched.upsample
    monkeypatch.setattr(
        batched, "upsample", lambda some, boxes: seen.append(len(some)) or upsample(some, boxes)
    )
    found = list(masks.some([6, 0, 1, 5, 2, 3, 4]))
    assert seen == [3, 3, 1]
    for mask, index in zip(found, [6, 0, 1, 5, 2, 3, 4], strict=True):
        assert same_mask(mask, expected[index])


def test_batches_fit_the_memory_that_they_may_take():
    logits = blobs(1, 64)
    boxes = mask_boxes(logits > 0)
    pixels = mask_upsampling._ON_DEVICE // mask_upsampling._PIXEL
    assert UpsampledMasks(logits, boxes, (480, 640))._batch == pixels // (480 * 640)
    assert UpsampledMasks(logits, boxes, (9000, 9000))._batch == 1
