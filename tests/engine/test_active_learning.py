import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ntt_plugin.engine.active_learning import SuggestionPool
from ntt_plugin.engine.bank.memory_bank import Fingerprint, MemoryBank
from ntt_plugin.engine.proposals.proposals import Proposals, UpsampledMasks, mask_boxes
from ntt_plugin.engine.recipe import Recipe
from ntt_plugin.errors import BankError

CHANNELS = 6
ENCODER = Fingerprint("encoder", "0123456789abcdef", 64, CHANNELS)
RECIPE = Recipe()
SIZE = (128, 128)


def axis(index):
    return F.one_hot(torch.tensor(index), CHANNELS).float()


def bank_of(**features):
    bank = MemoryBank(ENCODER)
    for label, feature in features.items():
        bank.add(label, feature)
    return bank


def proposals_of(squares, features, ious=None):
    """Proposals of squares (x, y, side) on a 64 x 64 grid, of an image of twice that side."""
    logits = torch.full((len(squares), 64, 64), -4.0)
    for logit, (x, y, side) in zip(logits, squares, strict=True):
        logit[y : y + side, x : x + side] = 4.0
    ious = torch.full((len(squares),), 0.9) if ious is None else torch.tensor(ious)
    boxes = mask_boxes(logits > 0)
    masks = UpsampledMasks(logits, boxes, SIZE)
    features = torch.stack(features) if features else torch.zeros(0, CHANNELS)
    return Proposals(ious, F.normalize(features, dim=1), boxes, masks, SIZE, ENCODER)


def random_images(rng, images, count=12):
    """Images of random squares whose features lie about the first three axes."""
    found = []
    for _ in range(images):
        squares = [tuple(map(int, rng.integers((0, 0, 4), (40, 40, 20)))) for _ in range(count)]
        features = [
            axis(int(rng.integers(3))) + 0.5 * torch.from_numpy(rng.random(CHANNELS)).float()
            for _ in range(count)
        ]
        found.append(proposals_of(squares, features, rng.uniform(0.4, 1, count).tolist()))
    return found


def cosine(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def box_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def plain_suppression(entries, key, same):
    """The best first; what overlaps a better one that counts as the same is left out."""
    kept = []
    for entry in sorted(entries, key=lambda entry: -entry[key]):
        if not any(same(entry, k) and box_iou(entry["box"], k["box"]) > 0.5 for k in kept):
            kept.append(entry)
    return kept


def plain_mean(rows):
    """Mean of (weight, feature) pairs."""
    total = sum(weight for weight, _ in rows)
    return sum(weight * np.asarray(feature, np.float64) for weight, feature in rows) / total


def plain_groups(pool, held):
    """The class of each candidate by its likes, and where the classes lie, in three turns."""
    groups = [entry["label"] for entry in pool]
    for turn in range(4):
        means = {
            label: plain_mean(
                [(1, row) for row in held[label]]
                + [
                    (entry["iou"] * entry["score"] ** 2, entry["feature"])
                    for entry, group in zip(pool, groups, strict=True)
                    if group == label
                ]
            )
            for label in held
        }
        if turn < 3:
            groups = [
                max(means, key=lambda label: cosine(entry["feature"], means[label]))
                for entry in pool
            ]
    return groups, means


def squared_distance(a, b):
    return float(((np.asarray(a) - np.asarray(b)) ** 2).sum())


def plain_choice(images, bank, count):
    """The rule in words, one number at a time."""
    prototypes = {label: bank.features(label).double().mean(dim=0) for label in bank.classes}
    held = {label: list(F.normalize(bank.features(label).double())) for label in bank.classes}
    known = [row for rows in held.values() for row in rows]
    known += [row for label in bank.classes for row in bank.negatives(label)]
    pool = []
    for image, proposals in enumerate(images):
        entries = []
        for index in range(len(proposals)):
            feature = proposals.features[index]
            scores = sorted(
                ((max(0.0, cosine(feature, prototypes[label])), label) for label in bank.classes),
                reverse=True,
            )
            (best, label), (_, rival) = scores[:2]
            entries.append(
                {
                    "image": image,
                    "proposal": index,
                    "box": proposals.boxes[index].tolist(),
                    "iou": float(proposals.ious[index]),
                    "label": label,
                    "rival": rival,
                    "score": best,
                    "feature": feature,
                    "likest": max(cosine(feature, row) for row in known),
                }
            )
        entries = plain_suppression(entries, "iou", lambda a, b: a["label"] == b["label"])
        entries = [entry for entry in entries if entry["iou"] >= 0.6]
        pool += sorted(
            plain_suppression(entries, "iou", lambda a, b: True),
            key=lambda entry: entry["proposal"],
        )
    groups, means = plain_groups(pool, held)
    for entry, group in zip(pool, groups, strict=True):
        entry["group"] = group

    def weight(label):
        return sum(e["iou"] * e["score"] ** 2 for e in whole if e["group"] == label)

    def distance(label, rows):
        return squared_distance(means[label], plain_mean([(1, row) for row in rows]))

    whole = list(pool)
    at_first = sum(weight(label) * distance(label, held[label]) for label in held)
    chosen = []
    while len(chosen) < count and pool:
        for entry in pool:
            label = entry["group"]
            closer = distance(label, held[label]) - distance(
                label, [*held[label], entry["feature"]]
            )
            closed = max(weight(label) * closer / at_first, 1e-6)
            entry["gain"] = entry["iou"] * (1 - entry["likest"]) ** 0.5 * closed
        best = max(pool, key=lambda entry: entry["gain"])
        chosen.append(best)
        held[best["group"]].append(best["feature"])
        pool = [entry for entry in pool if entry is not best]
        for entry in pool:
            entry["likest"] = max(entry["likest"], cosine(entry["feature"], best["feature"]))
    return chosen


def pool_of(images, bank, **options):
    pool = SuggestionPool(bank, RECIPE, **options)
    for number, proposals in enumerate(images):
        pool.add(number, proposals)
    return pool


@pytest.mark.parametrize("seed", range(4))
def test_the_choice_is_that_of_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    images = random_images(rng, 5)
    bank = bank_of(a=axis(0) + 0.2 * axis(3), b=axis(1), c=axis(2))
    bank.add("a", axis(0) + 0.3 * axis(4))
    found = pool_of(images, bank).choose(9)
    expected = plain_choice(images, bank, 9)
    assert [(s.image, s.proposal) for s in found] == [
        (entry["image"], entry["proposal"]) for entry in expected
    ]
    for suggestion, entry in zip(found, expected, strict=True):
        assert (suggestion.label, suggestion.rival) == (entry["label"], entry["rival"])
        assert suggestion.gain == pytest.approx(entry["gain"], abs=1e-5)
        assert suggestion.score == pytest.approx(entry["score"], abs=1e-5)
        assert list(suggestion.box) == entry["box"]


def test_a_choice_is_the_same_each_time():
    images = random_images(np.random.default_rng(3), 20)
    bank = bank_of(a=axis(0), b=axis(1), c=axis(2))
    assert pool_of(images, bank, size=30).choose(20) == pool_of(images, bank, size=30).choose(20)


def test_candidates_are_all_that_could_be_suggested():
    images = random_images(np.random.default_rng(6), 5)
    pool = pool_of(images, bank_of(a=axis(0), b=axis(1), c=axis(2)))
    candidates = [(found.image, found.proposal) for found in pool.candidates()]
    images_of = [image for image, _ in candidates]
    assert images_of == sorted(images_of)
    assert set(candidates) == {(found.image, found.proposal) for found in pool.choose(1000)}


def test_a_pool_keeps_no_more_than_its_size():
    pool = pool_of(random_images(np.random.default_rng(1), 30), bank_of(a=axis(0)), size=7)
    assert len(pool.choose(100)) == 7


def test_a_full_pool_keeps_all_of_a_rare_class():
    seldom = proposals_of([(4, 4, 20)], [axis(1) + 0.2 * axis(5)])
    images = [proposals_of([(4, 4, 20)], [axis(0) + 0.1 * axis(3 + i % 3)]) for i in range(60)]
    images[10] = images[50] = seldom
    pool = pool_of(images, bank_of(a=axis(0), b=axis(1)), size=6)
    labels = [found.label for found in pool.candidates()]
    assert (labels.count("a"), labels.count("b")) == (4, 2)


def test_a_pool_that_was_full_stands_for_all_it_saw():
    many = [proposals_of([(4, 4, 20)], [axis(0) + axis(3)]) for _ in range(300)]
    few = [proposals_of([(4, 4, 20)], [axis(1) + axis(4)]) for _ in range(30)]
    bank = bank_of(a=axis(0), b=axis(1))
    found = pool_of([*few, *many], bank, size=40).choose(2)
    assert [suggestion.label for suggestion in found] == ["a", "b"]
    of_all = pool_of([*few, *many], bank).choose(2)
    gains = [suggestion.gain for suggestion in of_all]
    assert [suggestion.gain for suggestion in found] == pytest.approx(gains, rel=1e-4)


def test_the_typical_object_of_a_class_comes_before_an_odd_one():
    squares = [(2, 2, 12), (22, 2, 12), (42, 2, 12), (2, 22, 12), (22, 22, 12)]
    typical = [axis(0) + axis(1) + 0.1 * axis(other) for other in (2, 3, 4, 5)]
    odd = axis(0) - axis(1)
    found = pool_of([proposals_of(squares, [odd, *typical])], bank_of(a=axis(0))).choose(1)
    assert found[0].proposal != 0


def test_a_class_whose_references_lie_aside_comes_before_one_whose_do_not():
    squares = [(2, 2, 12), (22, 2, 12), (2, 22, 12), (22, 22, 12)]
    features = [
        axis(0) + 0.3 * axis(2),
        axis(0) - 0.3 * axis(2),
        axis(1) + axis(3),
        axis(1) + axis(3) + 0.2 * axis(4),
    ]
    found = pool_of([proposals_of(squares, features)], bank_of(a=axis(0), b=axis(1))).choose(1)
    assert found[0].label == "b"


def test_twenty_of_the_same_are_suggested_once_before_anything_else():
    same = [proposals_of([(4, 4, 20)], [axis(3) + 0.5 * axis(0)]) for _ in range(20)]
    other = proposals_of([(4, 4, 20)], [axis(4) + axis(0)])
    found = pool_of([*same, other], bank_of(a=axis(0), b=axis(1) + axis(0))).choose(2)
    assert [suggestion.image for suggestion in found].count(20) == 1


def test_what_the_bank_holds_already_is_not_suggested():
    bank = bank_of(a=axis(0), b=axis(0) + axis(1))
    bank.add_negatives("a", axis(0) + axis(2))
    held = [axis(0), axis(0) + axis(1), axis(0) + axis(2)]
    squares = [(2, 2, 16), (22, 2, 16), (2, 22, 16), (22, 22, 16)]
    found = pool_of([proposals_of(squares, [*held, axis(0) + axis(3)])], bank).choose(4)
    assert [suggestion.proposal for suggestion in found] == [3]


def test_proposals_over_a_box_that_was_taught_are_left_out():
    features = [axis(0) + axis(2), axis(1) + 0.5 * axis(0) + axis(2)]
    proposals = proposals_of([(4, 4, 20), (30, 30, 20)], features)
    pool = SuggestionPool(bank_of(a=axis(0), b=axis(0) + axis(1)), RECIPE)
    pool.add(0, proposals, taught=[(10, 8, 48, 50)])
    assert [suggestion.proposal for suggestion in pool.choose(5)] == [1]


def test_masks_that_the_segmenter_doubts_are_no_candidates():
    proposals = proposals_of([(4, 4, 20)], [axis(0) + axis(2)], [0.55])
    assert pool_of([proposals], bank_of(a=axis(0))).choose(5) == []


def test_no_proposal_is_an_ordinary_case():
    pool = pool_of([proposals_of([], [])], bank_of(a=axis(0)))
    assert pool.choose(3) == []
    assert SuggestionPool(bank_of(a=axis(0)), RECIPE).choose(3) == []


def test_with_one_class_what_its_references_do_not_stand_for_comes_first():
    squares = [(2, 2, 12), (22, 2, 12), (2, 22, 12)]
    features = [axis(0) + 0.1 * axis(1), axis(0) + axis(1), axis(0) + axis(1) + 0.1 * axis(2)]
    found = pool_of([proposals_of(squares, features)], bank_of(a=axis(0))).choose(3)
    assert found[0].proposal != 0
    assert len(found) == 3
    assert all(suggestion.rival is None for suggestion in found)
    assert all(suggestion.margin == suggestion.score for suggestion in found)


def test_a_reason_names_what_sets_a_suggestion_apart():
    squares = [(2, 2, 12), (22, 2, 12), (42, 2, 12), (2, 22, 12), (22, 22, 12), (42, 22, 12)]
    features = [
        0.9 * axis(0) + 0.85 * axis(1),
        axis(0) + 0.5 * axis(1) + 2 * axis(3),
        axis(1) + 0.3 * axis(0) + 0.3 * axis(4),
        axis(0) + 0.3 * axis(1) + 0.1 * axis(5),
        axis(0) + 0.3 * axis(1) + 1.5 * axis(5),
        axis(0) + 0.3 * axis(1) + 1.4 * axis(2),
    ]
    bank = bank_of(cat=axis(0), dog=axis(1))
    found = pool_of([proposals_of(squares, features)], bank).choose(6)
    reasons = {suggestion.proposal: suggestion.reason for suggestion in found}
    assert reasons[0] == "unsure between 'cat' and 'dog' (0.73, 0.69)"
    assert reasons[1] == "unlike all references of 'cat' (0.44)"
    assert reasons[2] == "not covered yet: the nearest reference is at 0.92"


def test_a_reason_says_where_its_likes_are():
    squares = [(2 + 20 * (i % 3), 2 + 20 * (i // 3), 12) for i in range(7)]
    dogs = [axis(0) + axis(2), axis(0) + axis(2) + 0.2 * axis(1), axis(0) + 1.2 * axis(2)]
    mistaken = 0.4 * axis(0) + 0.5 * axis(1) + axis(2)
    cats = [axis(1) + 0.1 * axis(2), axis(1) + 0.1 * axis(0), axis(1) + 0.1 * axis(3)]
    proposals = proposals_of(squares, [*dogs, mistaken, *cats])
    found = pool_of([proposals], bank_of(dog=axis(0), cat=axis(1))).choose(7)
    [suggestion] = [suggestion for suggestion in found if suggestion.proposal == 3]
    assert suggestion.label == "cat"
    assert suggestion.reason == "taken for 'cat', but more like the candidates for 'dog'"


def test_proposals_of_another_encoder_are_refused():
    other = Fingerprint("other", "fedcba9876543210", 64, CHANNELS)
    bank = MemoryBank(other)
    bank.add("a", axis(0))
    with pytest.raises(BankError, match="other"):
        pool_of([proposals_of([(4, 4, 20)], [axis(0)])], bank)


def test_an_empty_bank_is_refused():
    with pytest.raises(BankError, match="no class"):
        SuggestionPool(MemoryBank(ENCODER), RECIPE)
