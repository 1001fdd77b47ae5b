from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ntt_plugin.engine.config import Recipe
from ntt_plugin.engine.memory import Fingerprint, MemoryBank
from ntt_plugin.engine.proposals import Proposals, UpsampledMasks, mask_boxes
from ntt_plugin.engine.suggesting import SuggestionPool
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


def plain_choice(images, bank, count):
    """The rule in words, one number at a time."""
    prototypes = {}
    for label in bank.classes:
        mean = bank.features(label).double().mean(dim=0)
        prototypes[label] = mean
    held = [row for label in bank.classes for row in bank.features(label)]
    held += [row for label in bank.classes for row in bank.negatives(label)]
    pool = []
    for image, proposals in enumerate(images):
        entries = []
        for index in range(len(proposals)):
            feature = proposals.features[index]
            scores = sorted(
                ((max(0.0, cosine(feature, prototypes[label])), label) for label in bank.classes),
                reverse=True,
            )
            (best, label), (second, rival) = scores[:2]
            entries.append(
                {
                    "image": image,
                    "proposal": index,
                    "box": proposals.boxes[index].tolist(),
                    "iou": float(proposals.ious[index]),
                    "label": label,
                    "rival": rival,
                    "score": best,
                    "worth": second * float(proposals.ious[index]),
                    "feature": feature,
                    "likest": max(cosine(feature, row) for row in held),
                }
            )
        entries = plain_suppression(entries, "iou", lambda a, b: a["label"] == b["label"])
        entries = [entry for entry in entries if entry["iou"] >= 0.6]
        for entry in entries:
            entry["first"] = entry["worth"] * (1 - entry["likest"])
        pool += plain_suppression(entries, "first", lambda a, b: True)
    chosen = []
    while len(chosen) < count and pool:
        best = max(pool, key=lambda entry: entry["worth"] * (1 - entry["likest"]))
        best["gain"] = best["worth"] * (1 - best["likest"])
        chosen.append(best)
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


def test_a_small_pool_gives_the_first_suggestion_of_a_large_one():
    images = random_images(np.random.default_rng(9), 40)
    bank = bank_of(a=axis(0), b=axis(1), c=axis(2))
    [first] = pool_of(images, bank).choose(1)
    [of_few] = pool_of(images, bank, size=3).choose(1)
    assert (of_few.image, of_few.proposal) == (first.image, first.proposal)


def test_a_pool_keeps_no_more_than_its_size():
    pool = pool_of(random_images(np.random.default_rng(1), 30), bank_of(a=axis(0)), size=7)
    assert len(pool.choose(100)) <= 7


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


def test_with_one_class_the_unlike_come_first():
    proposals = proposals_of(
        [(4, 4, 20), (30, 30, 20)], [axis(0) + 0.1 * axis(1), axis(0) + axis(1)]
    )
    found = pool_of([proposals], bank_of(a=axis(0))).choose(2)
    assert [suggestion.proposal for suggestion in found] == [1, 0]
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


def test_proposals_of_another_encoder_are_refused():
    other = Fingerprint("other", "fedcba9876543210", 64, CHANNELS)
    bank = MemoryBank(other)
    bank.add("a", axis(0))
    with pytest.raises(BankError, match="other"):
        pool_of([proposals_of([(4, 4, 20)], [axis(0)])], bank)


def test_an_empty_bank_is_refused():
    with pytest.raises(BankError, match="no class"):
        SuggestionPool(MemoryBank(ENCODER), RECIPE)
