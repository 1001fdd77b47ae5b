"""Which labels are the same object, against whole masks compared one by one."""

import fiftyone as fo
import numpy as np
import pytest

from ntt_plugin.dataset.labels.overlap import outline, same_objects
from ntt_plugin.errors import DatasetError

SIZE = (50, 70)


def blob(rng):
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    x, y, a, b = rng.uniform(5, 65), rng.uniform(5, 45), *rng.uniform(3, 20, 2)
    mask = ((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 <= 1
    return mask & (rng.random(SIZE) < 0.95)


def label(mask, name, score=None):
    return fo.Detection.from_mask(mask, label=name, confidence=score)


def draw(rng, count, like=()):
    found = []
    for index in range(count):
        mask = blob(rng)
        if index < len(like) and rng.random() < 0.7:
            mask = np.roll(like[index][0], rng.integers(-4, 5, 2), axis=(0, 1))
        found.append((mask, str(rng.choice(["a", "b"])), float(rng.random())))
    return [row for row in found if row[0].any()]


def by_hand(first, second):
    def iou(one, other):
        return (one & other).sum() / (one | other).sum()

    pairs, order = {}, sorted(range(len(first)), key=lambda index: -first[index][2])
    for across in (False, True):
        for a in order:
            if a in pairs:
                continue
            best, best_iou = None, 0.5
            for b in range(len(second)):
                if b in pairs.values() or (not across and first[a][1] != second[b][1]):
                    continue
                if iou(first[a][0], second[b][0]) >= best_iou and (
                    best is None or iou(first[a][0], second[b][0]) > best_iou
                ):
                    best, best_iou = b, iou(first[a][0], second[b][0])
            if best is not None:
                pairs[a] = best
    return sorted(pairs.items())


@pytest.mark.parametrize("seed", range(40))
def test_pairs_are_those_of_whole_masks(seed):
    rng = np.random.default_rng(seed)
    first = draw(rng, int(rng.integers(0, 12)))
    second = draw(rng, int(rng.integers(0, 12)), first)
    sides = [[outline(label(*row), SIZE) for row in side] for side in (first, second)]
    assert same_objects(*sides) == by_hand(first, second)


def test_the_own_class_comes_first():
    rng = np.random.default_rng(0)
    mask = blob(rng)
    first = [outline(label(mask, "a", 0.9), SIZE), outline(label(mask, "b", 0.5), SIZE)]
    second = [outline(label(mask, "b", 0.9), SIZE), outline(label(mask, "a", 0.5), SIZE)]
    assert same_objects(first, second) == [(0, 1), (1, 0)]


def test_a_label_without_a_mask_counts_as_its_box():
    mask = np.zeros(SIZE, dtype=bool)
    mask[10:30, 7:35] = True
    box = fo.Detection(label="a", bounding_box=label(mask, "a").bounding_box)
    assert same_objects([outline(box, SIZE)], [outline(label(mask, "a"), SIZE)]) == [(0, 0)]
    outside = fo.Detection(label="a", bounding_box=[-0.5, -0.5, 2, 2])
    assert outline(outside, SIZE).mask.shape == SIZE


@pytest.mark.parametrize(
    "broken",
    [
        fo.Detection(label=" ", bounding_box=[0, 0, 0.5, 0.5]),
        fo.Detection(label="a", bounding_box=[0, 0, 0, 0.5]),
        fo.Detection(label="a", bounding_box=[1.5, 0, 0.5, 0.5]),
        fo.Detection(label="a", bounding_box=[float("nan")] * 4),
        fo.Detection(label="a", bounding_box=[0, 0, 0.5, 0.5], mask=np.zeros((3, 3), dtype=bool)),
    ],
)
def test_a_label_that_covers_nothing_is_refused(broken):
    with pytest.raises(DatasetError):
        outline(broken, SIZE)
