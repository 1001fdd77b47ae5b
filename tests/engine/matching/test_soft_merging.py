import numpy as np
import pytest

from ntt_plugin.engine.masks.packed import pack_mask
from ntt_plugin.engine.matching.soft_merging import redundancy


def features_of(count, seed=0, channels=6):
    drawn = np.random.default_rng(seed).normal(size=(count, channels)) + 0.5
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def drawn_masks(count, seed):
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:120, :170]
    masks = []
    for _ in range(count):
        cx, cy = generator.random(2) * [170, 120]
        inside = np.hypot(x - cx, y - cy) < 5 + generator.random() * 50
        inside[int(cy), int(cx)] = True
        masks.append(inside & (generator.random(inside.shape) < 0.9) | (inside & (x % 7 == 0)))
    return [mask for mask in masks if mask.any()]


def by_definition(masks, features, labels):
    """The recipe's formula on whole masks, pair by pair."""
    found = []
    for i, mask in enumerate(masks):
        found.append(
            max(
                (
                    (mask & masks[j]).sum() / mask.sum() * max(0, float(features[i] @ features[j]))
                    for j in range(i)
                    if labels[i] == labels[j]
                ),
                default=0,
            )
        )
    return found


def one_label(masks, features):
    return redundancy(masks, features, np.zeros(len(masks), int))


# 150 are more than are compared at once.
@pytest.mark.parametrize("count", [25, 150])
@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_recipes_formula(seed, classes, count):
    masks = drawn_masks(count, seed)
    features = features_of(len(masks), seed)
    labels = np.random.default_rng(seed).integers(0, classes, len(masks))
    ours = redundancy([pack_mask(mask) for mask in masks], features, labels)
    assert np.allclose(ours, by_definition(masks, features, labels), atol=1e-6)


def square(x, y, side):
    mask = np.zeros((100, 100), bool)
    mask[y : y + side, x : x + side] = True
    return pack_mask(mask)


def test_a_mask_inside_a_better_one_of_equal_feature_is_redundant():
    same = np.tile(features_of(1), (2, 1))
    assert np.allclose(one_label([square(0, 0, 50), square(10, 10, 20)], same), [0, 1])


def test_a_mask_around_a_better_one_is_covered_in_part():
    same = np.tile(features_of(1), (2, 1))
    assert np.allclose(one_label([square(10, 10, 20), square(0, 0, 40)], same), [0, 0.25])


def test_opposite_features_do_not_cover():
    feature = features_of(1)
    masks = [square(0, 0, 50), square(10, 10, 20)]
    assert one_label(masks, np.concatenate([feature, -feature])).tolist() == [0, 0]


def test_one_mask_and_none():
    assert one_label([square(0, 0, 5)], features_of(1)).tolist() == [0]
    assert one_label([], np.zeros((0, 6), np.float32)).shape == (0,)
