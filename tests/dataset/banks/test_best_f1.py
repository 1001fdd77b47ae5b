"""The threshold of the best F1, against trying every cut by hand."""

import numpy as np
import pytest

from ntt_plugin.dataset.banks.thresholds import best_threshold


def f1_at(threshold, scores, right, truths):
    kept = [hit for score, hit in zip(scores, right, strict=True) if score >= threshold]
    hits = sum(kept)
    return 2 * hits / (len(kept) + truths)


def by_hand(scores, right, truths):
    """The best F1 of all cuts, and the lowest of the scores that a best cut keeps."""
    best = max(f1_at(cut, scores, right, truths) for cut in scores)
    return best, min(cut for cut in scores if f1_at(cut, scores, right, truths) == best)


@pytest.mark.parametrize("seed", range(60))
def test_no_cut_is_better(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    scores = rng.random(n)
    if seed % 2:
        scores = scores.round(1)  # most of them are tied
    right = rng.random(n) < 0.2 + 0.6 * scores
    truths = int(right.sum() + rng.integers(0, 5))
    found = best_threshold(scores, right, truths)
    if not right.any():
        assert found is None
        return
    best, lowest_kept = by_hand(scores.tolist(), right.tolist(), truths)
    assert found.f1 == f1_at(found.value, scores, right, truths) == best
    assert min(scores[scores >= found.value]) == lowest_kept
    kept = scores >= found.value
    assert found.precision == right[kept].sum() / kept.sum()
    assert found.recall == right[kept].sum() / truths
    assert found.f1_without == f1_at(-1, scores, right, truths)


def test_it_lies_in_the_middle_between_two_scores():
    found = best_threshold(np.array([0.2, 0.9, 0.6]), np.array([False, True, True]), 2)
    assert found.value == pytest.approx(0.4)


def test_all_right_needs_none():
    assert best_threshold(np.array([0.2, 0.9]), np.array([True, True]), 2).value == 0


def test_equal_scores_are_never_parted():
    scores, right = np.array([0.9, 0.5, 0.5, 0.5]), np.array([True, True, False, False])
    # Keeping the right one of the three alone would be an F1 of 1.
    assert best_threshold(scores, right, 2).f1 == pytest.approx(2 / 3)


def test_neighbouring_numbers_are_parted():
    upper = 0.5
    lower = np.nextafter(upper, 0)
    found = best_threshold(np.array([lower, upper]), np.array([False, True]), 1)
    assert lower < found.value <= upper


def test_of_equals_the_lowest_leaves_out_the_fewest():
    # F1 is 2/3 after the first score and again after the fourth.
    scores, right = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, False, True])
    assert f1_at(0.9, scores, right, 2) == f1_at(0.6, scores, right, 2)
    assert best_threshold(scores, right, 2).value == 0


def test_nothing_right_has_no_threshold():
    assert best_threshold(np.array([0.9, 0.5]), np.array([False, False]), 3) is None
    assert best_threshold(np.zeros(0), np.zeros(0, dtype=bool), 3) is None
