"""Specks and holes of masks, against a flood fill in plain Python."""

import numpy as np
import pytest

from ntt_plugin.dataset.labels.clean import Clean, clean_mask
from ntt_plugin.errors import DatasetError


def parts(mask, corners):
    """Sets of connected pixels, one by one."""
    left, found = {tuple(p) for p in np.argwhere(mask)}, []
    steps = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a or b) and (corners or not a * b)]
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            row, column = edge.pop()
            part.add((row, column))
            for a, b in steps:
                if (row + a, column + b) in left:
                    left.remove((row + a, column + b))
                    edge.append((row + a, column + b))
        found.append(part)
    return found


def plain(mask, specks, holes):
    cleaned = np.zeros_like(mask)
    found = parts(mask, corners=True)
    largest = max(map(len, found))
    for part in found:
        if len(part) >= specks or len(part) == largest:
            cleaned[tuple(zip(*part, strict=True))] = True
    height, width = mask.shape
    for hole in parts(~cleaned, corners=False):
        inside = all(0 < r < height - 1 and 0 < c < width - 1 for r, c in hole)
        if inside and len(hole) < holes:
            cleaned[tuple(zip(*hole, strict=True))] = True
    return cleaned


def random_mask(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((24, 30)) < 0.55
    mask[:2] |= rng.random((2, 30)) < 0.5
    # One largest part, so that which one stays is certain.
    mask[8:20, 8:20] |= rng.random((12, 12)) < 0.8
    return mask


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("specks", "holes"), [(4, 4), (1, 9), (7, 1), (1000, 1000)])
def test_parts_and_holes_below_a_size(seed, specks, holes):
    mask = random_mask(seed)
    expected = plain(mask, specks, holes)
    assert (clean_mask(mask, Clean(specks, holes)) == expected).all()


def test_shares_are_of_the_masks_area():
    mask = random_mask(3)
    share = 6.5 / mask.sum()
    assert (clean_mask(mask, Clean(share, share)) == clean_mask(mask, Clean(6.5, 6.5))).all()


def test_the_given_mask_stays_as_it_is():
    mask = random_mask(0)
    before = mask.copy()
    clean_mask(mask, Clean(9, 9))
    assert (mask == before).all()


def test_nothing_to_clean_changes_nothing():
    mask = random_mask(1)
    assert (clean_mask(mask, Clean()) == mask).all()


@pytest.mark.parametrize("size", [-1, float("nan"), float("inf"), "3", True])
def test_a_wrong_size_is_refused(size):
    with pytest.raises(DatasetError, match="size to clean"):
        Clean.of(size)
