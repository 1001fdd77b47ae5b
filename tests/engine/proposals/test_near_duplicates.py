import numpy as np
import pytest
import torch

from ntt_plugin.engine.masks.packed import pack_mask
from ntt_plugin.engine.proposals.near_duplicates import distinct, distinct_packed
from ntt_plugin.engine.proposals.proposals import mask_boxes


def by_a_plain_loop(masks: np.ndarray, ious: np.ndarray, threshold: float) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(masks)), key=lambda i: (-ious[i], i)):
        if all(
            (masks[index] & masks[other]).sum() / (masks[index] | masks[other]).sum() < threshold
            for other in kept
        ):
            kept.append(index)
    return sorted(kept)


def crowded(seed: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks of ellipses, most of them almost like another, and IoUs, some of them equal."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    masks = []
    for _ in range(12):
        cy, cx, ry, rx = rng.uniform(side * 0.2, side * 0.6, 4)
        for _ in range(4):
            dy, dx = rng.uniform(-side / 40, side / 40, 2)
            masks.append(((y - cy - dy) / ry) ** 2 + ((x - cx - dx) / rx) ** 2 < 1)
    ious = rng.choice(np.linspace(0.5, 1, 20), len(masks))
    return torch.from_numpy(np.stack(masks)), torch.from_numpy(ious).float()


@pytest.mark.parametrize("side", [30, 64])
@pytest.mark.parametrize("threshold", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_same_stay_as_by_a_plain_loop(seed: int, threshold: float, side: int) -> None:
    masks, ious = crowded(seed, side)
    expected = by_a_plain_loop(masks.numpy(), ious.numpy(), threshold)

    found = distinct(masks, mask_boxes(masks), ious, threshold)

    assert found.tolist() == expected
    assert 0 < len(expected) < len(masks) or threshold == 1.0


@pytest.mark.parametrize("threshold", [0.5, 0.9])
def test_of_full_size_masks_the_same_stay_as_by_a_plain_loop(threshold: float) -> None:
    masks, ious = crowded(7, 150)
    expected = by_a_plain_loop(masks.numpy(), ious.numpy(), threshold)
    packed = [pack_mask(mask) for mask in masks.numpy()]
    assert distinct_packed(packed, ious, threshold).tolist() == expected
    assert 0 < len(expected) < len(masks)


def test_of_equals_the_one_with_the_highest_iou_stays_and_then_the_first() -> None:
    masks = torch.ones(4, 8, 8, dtype=torch.bool)

    assert distinct(masks, mask_boxes(masks), torch.tensor([0.5, 0.9, 0.9, 0.6])).tolist() == [1]


def test_an_iou_of_just_the_threshold_is_too_much() -> None:
    masks = torch.zeros(2, 1, 10, dtype=torch.bool)
    masks[0] = True
    masks[1, :, :9] = True

    assert distinct(masks, mask_boxes(masks), torch.tensor([0.9, 0.8]), 0.9).tolist() == [0]


def test_no_proposals_are_none() -> None:
    masks = torch.zeros(0, 8, 8, dtype=torch.bool)

    assert distinct(masks, torch.zeros(0, 4), torch.zeros(0)).tolist() == []
    assert distinct_packed([], torch.zeros(0), 0.9).tolist() == []
