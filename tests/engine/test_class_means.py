import numpy as np
import pytest

from ntt_plugin.engine.active_learning import ClassMeans


def unit(*rows):
    rows = np.array(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def class_means_of(features, guesses, references, weights=None):
    """ClassMeans of a bank that holds ``references``, unit-length rows for each class."""
    return ClassMeans(
        features,
        np.array(guesses),
        np.ones(len(features)) if weights is None else np.array(weights, np.float64),
        np.stack([rows.sum(axis=0) for rows in references]),
        np.array([len(rows) for rows in references]),
    )


def plain_groups(features, guesses, weights, references):
    """Labels and means, one class and one candidate at a time."""
    labels = list(guesses)
    for turn in range(4):
        means = []
        for label, rows in enumerate(references):
            members = [i for i in range(len(features)) if labels[i] == label]
            total = sum(weights[i] * features[i].astype(np.float64) for i in members)
            total = total + rows.astype(np.float64).sum(axis=0)
            means.append(total / (sum(weights[i] for i in members) + len(rows)))
        if turn < 3:
            labels = [
                max(range(len(means)), key=lambda k: row @ means[k] / np.linalg.norm(means[k]))
                for row in features
            ]
    return labels, means


@pytest.mark.parametrize("seed", range(5))
def test_groups_and_shares_are_those_of_plain_loops(seed):
    rng = np.random.default_rng(seed)
    features = unit(*rng.normal(size=(40, 8)))
    guesses, weights = rng.integers(0, 3, 40), rng.random(40)
    references = [unit(*rng.normal(size=(shots, 8))) for shots in (1, 2, 4)]
    found = class_means_of(features, guesses, references, weights)
    labels, means = plain_groups(features, guesses, weights, references)
    assert found.labels.tolist() == labels

    def squared(label, rows):
        return ((means[label] - np.mean(rows, axis=0)) ** 2).sum()

    masses = [sum(weights[i] for i in range(40) if labels[i] == label) for label in range(3)]
    at_first = sum(masses[label] * squared(label, rows) for label, rows in enumerate(references))
    held = [list(rows) for rows in references]
    for learnt in (7, 21, 3):
        expected = [
            masses[label]
            * (squared(label, held[label]) - squared(label, [*held[label], feature]))
            / at_first
            for label, feature in zip(labels, features, strict=True)
        ]
        np.testing.assert_allclose(found.closed, expected, atol=1e-6)
        found.learn(learnt)
        held[labels[learnt]].append(features[learnt])


def test_what_the_bank_mistakes_is_grouped_with_its_likes():
    # The fourth is a little more like the reference of the second class than that of the first.
    first = [[1, 0, 1], [1, 0.2, 1], [1, 0, 1.2], [0.4, 0.5, 1]]
    second = [[0, 1, 0.1], [0.1, 1, 0], [0, 1, 0]]
    found = class_means_of(
        unit(*first, *second), [0, 0, 0, 1, 1, 1, 1], [unit([1, 0, 0]), unit([0, 1, 0])]
    )
    assert found.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_a_copy_of_the_only_reference_closes_nothing():
    reference = unit([1, 0, 0])
    found = class_means_of(unit([1, 0, 0], [1, 1, 0], [1, 1, 0.1]), [0, 0, 0], [reference])
    assert found.closed[0] == pytest.approx(0, abs=1e-7)
    assert found.closed[1] > 0.1


def test_a_candidate_beyond_the_reference_leads_away():
    features = unit([1, 1, 0], [1, 1, 0.1], [1, 1, -0.1], [1, -1, 0])
    assert class_means_of(features, [0, 0, 0, 0], [unit([1, 0, 0])]).closed[3] < 0


def test_of_equally_far_classes_the_one_of_more_candidates_comes_first():
    features = unit([1, 0, 1, 0], [1, 0, 1, 0], [1, 0, 1, 0], [0, 1, 0, 1])
    references = [unit([1, 0, 0, 0]), unit([0, 1, 0, 0])]
    closed = class_means_of(features, [0, 0, 0, 1], references).closed
    assert closed[0] > closed[3] > 0


def test_what_was_learnt_is_worth_less_a_second_time():
    features = unit([1, 0, 1, 0], [1, 0, 1, 0], [0, 1, 0, 1])
    found = class_means_of(features, [0, 0, 1], [unit([1, 0, 0, 0]), unit([0, 1, 0, 0])])
    before = found.closed.copy()
    found.learn(0)
    assert found.closed[1] < before[1]
    assert found.closed[2] == before[2]


def test_no_candidate_is_an_ordinary_case():
    found = class_means_of(np.zeros((0, 3), np.float32), np.zeros(0, int), [unit([1, 0, 0])])
    assert len(found.labels) == len(found.closed) == 0
