import dataclasses
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ntt_plugin.engine.bank.memory_bank import Fingerprint, MemoryBank
from ntt_plugin.engine.matching import match as match_module
from ntt_plugin.engine.matching.match import Instances, best_class, match, similarities
from ntt_plugin.engine.proposals.mask_upsampling import UpsampledMasks
from ntt_plugin.engine.proposals.proposals import Proposals, mask_boxes
from ntt_plugin.engine.recipe import Recipe
from ntt_plugin.errors import BankError, RecipeError

CHANNELS = 8
ENCODER = Fingerprint("encoder", "0123456789abcdef", 64, CHANNELS)
RECIPE = Recipe()
SIZE = (120, 160)


def axis(index):
    return F.one_hot(torch.tensor(index), CHANNELS).float()


def bank_of(*features, encoder=ENCODER):
    """One class for each feature: "0", "1", ..."""
    bank = MemoryBank(encoder)
    for label, feature in enumerate(features):
        bank.add(str(label), feature)
    return bank


def proposals_of(squares, features, ious=None, size=SIZE, encoder=ENCODER):
    """Proposals of squares (x, y, side) on a 64 x 64 grid of logits."""
    logits = torch.full((len(squares), 64, 64), -4.0)
    for logit, (x, y, side) in zip(logits, squares, strict=True):
        logit[y : y + side, x : x + side] = 4.0
    ious = torch.linspace(0.95, 0.5, len(squares)) if ious is None else torch.tensor(ious)
    units = F.normalize(torch.stack(features), dim=1)
    boxes = mask_boxes(logits > 0)
    masks = UpsampledMasks(logits, boxes, size)
    return Proposals(ious, units, boxes, masks, size, encoder)


def test_an_instance_carries_label_score_margin_and_proposal_iou():
    feature = axis(0) * 4 + axis(1) * 3
    found = match(proposals_of([(4, 4, 20)], [feature], [0.75]), bank_of(axis(1), axis(0)), RECIPE)
    assert found.labels == ["1"]
    assert np.allclose(found.scores, 0.8)
    assert np.allclose(found.margins, 0.2)
    assert found.proposal_ious.tolist() == [0.75]


def qualities():
    """Three squares that lie apart, with similarity 0.8 each."""
    proposals = proposals_of(
        [(4, 4, 12), (24, 4, 12), (44, 4, 12)], [axis(0) * 4 + axis(1) * 3] * 3, [0.9, 0.64, 1.2]
    )
    return dataclasses.replace(proposals, stability=torch.tensor([0.5, 1.0, 0.8]))


@pytest.mark.parametrize(
    ("exponents", "expected"),
    [
        ({}, [0.8, 0.8, 0.8]),
        ({"iou_exponent": 0.5}, [0.8 * 0.9**0.5, 0.8 * 0.8, 0.8]),
        ({"stability_exponent": 2.0}, [0.8 * 0.25, 0.8, 0.8 * 0.64]),
        ({"iou_exponent": 1.0, "stability_exponent": 1.0}, [0.8 * 0.45, 0.8 * 0.64, 0.8 * 0.8]),
    ],
)
def test_scores_are_weighed_by_predicted_iou_and_stability(exponents, expected):
    found = match(qualities(), bank_of(axis(0), axis(2)), Recipe(**exponents))
    by_place = dict(zip(found.boxes[:, 0].tolist(), found.scores.tolist(), strict=True))
    assert [by_place[left] for left in sorted(by_place)] == pytest.approx(expected)
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    # What the segmenter predicts of the masks and how sure the class is stay as they are.
    assert np.allclose(sorted(found.proposal_ious), [0.64, 0.9, 1.2])
    assert np.allclose(found.margins, 0.8)


def test_a_mask_of_no_stability_is_no_instance():
    proposals = dataclasses.replace(qualities(), stability=torch.tensor([0.0, 1.0, 1.0]))
    found = match(proposals, bank_of(axis(0)), Recipe(stability_exponent=1.0))
    assert len(found) == 2 and len(match(proposals, bank_of(axis(0)), Recipe())) == 3


def test_a_stability_that_was_not_measured_is_told():
    proposals = dataclasses.replace(qualities(), stability=None)
    with pytest.raises(RecipeError, match="stability_exponent"):
        match(proposals, bank_of(axis(0)), Recipe(stability_exponent=1.0))


def test_with_one_class_the_margin_is_the_similarity():
    found = match(proposals_of([(4, 4, 20)], [axis(0) + axis(1)]), bank_of(axis(0)), RECIPE)
    assert np.allclose(found.margins, 0.5**0.5)


def test_boxes_are_pixel_tight_and_exclusive_and_masks_cropped_to_them():
    squares = [(4, 4, 20), (30, 30, 30)]
    found = match(proposals_of(squares, [axis(0), axis(1)]), bank_of(axis(0), axis(1)), RECIPE)
    for index, (x1, y1, x2, y2) in enumerate(found.boxes.tolist()):
        ys, xs = np.nonzero(found.full_mask(index))
        assert (x1, y1, x2, y2) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert found.masks[index].shape == (y2 - y1, x2 - x1)
        assert found.masks[index].dtype == bool
    assert found.full_mask(0).shape == SIZE


def test_equal_classes_go_to_the_first():
    found = match(proposals_of([(4, 4, 20)], [axis(0)]), bank_of(axis(0), axis(0)), RECIPE)
    assert (found.labels, found.margins.tolist()) == (["0"], [0])


@pytest.mark.parametrize("classes", [2, 80, 1203])
def test_the_first_of_many_equals_wins(classes):
    similarity = np.zeros((5, classes), np.float32)
    labels, _, margins = best_class(similarity)
    assert labels.tolist() == [0] * 5 and margins.tolist() == [0] * 5
    similarity[:, classes // 2 :] = 0.5
    assert best_class(similarity)[0].tolist() == [classes // 2] * 5


@pytest.mark.parametrize("cached", [True, False])
def test_free_cores_are_counted_only_where_masks_are_to_be_made(cached, monkeypatch):
    counted = []
    monkeypatch.setattr(match_module, "threads_by_load", lambda: nullcontext(counted.append(1)))
    proposals = proposals_of([(2, 2, 8)], [axis(0)])
    match(proposals.with_masks_made() if cached else proposals, bank_of(axis(0)), Recipe())
    assert bool(counted) == (not cached)


def test_no_proposal_gives_no_instance():
    none = Proposals.from_logits(
        torch.zeros(0, 64, 64), torch.zeros(0), torch.randn(CHANNELS, 4, 4), SIZE, ENCODER
    )
    found = match(none, bank_of(axis(0)), RECIPE)
    assert len(found) == 0 and found.boxes.shape == (0, 4) and found.image_size == SIZE


def test_similarity_zero_is_no_instance():
    found = match(proposals_of([(4, 4, 20)], [-axis(0)]), bank_of(axis(0)), RECIPE)
    assert len(found) == 0 and found.scores.dtype == np.float32


def test_similarity_zero_takes_part_in_nms_before_it_goes():
    squares = [(4, 4, 20), (4, 4, 19)]
    rivals = [-axis(0), axis(0)]
    assert len(match(proposals_of(squares, rivals), bank_of(axis(0)), RECIPE)) == 0


def test_nms_goes_by_predicted_iou_and_not_by_score():
    squares, rivals = [(4, 4, 20), (4, 4, 19)], [axis(0) + axis(1), axis(0)]
    found = match(proposals_of(squares, rivals, [0.9, 0.6]), bank_of(axis(0)), RECIPE)
    assert np.allclose(found.scores, [0.5**0.5])


def test_candidates_are_capped_by_predicted_iou_before_scores_count():
    squares = [(0, 0, 8), (20, 0, 8), (40, 0, 8)]
    features = [axis(0) + axis(1), axis(0) + axis(1) * 0.5, axis(0)]
    recipe = Recipe(max_instances=1, candidate_factor=2)
    found = match(proposals_of(squares, features, [0.9, 0.8, 0.7]), bank_of(axis(0)), recipe)
    assert np.allclose(found.scores, [1 / 1.25**0.5])


def test_proposals_of_similarity_zero_use_up_the_cap():
    squares = [(0, 0, 8), (20, 0, 8), (40, 0, 8)]
    recipe = Recipe(max_instances=1, candidate_factor=2)
    found = match(proposals_of(squares, [-axis(0), -axis(0), axis(0)]), bank_of(axis(0)), recipe)
    assert len(found) == 0


def test_a_covered_mask_loses_by_the_square_root_of_what_is_left():
    # 10 x 10 on the corner of a better 20 x 20, a quarter of it inside.
    proposals = proposals_of([(0, 0, 20), (15, 15, 10)], [axis(0), axis(0)], size=(64, 64))
    found = match(proposals, bank_of(axis(0)), RECIPE)
    assert np.allclose(found.scores, [1, (1 - 0.25) ** 0.5], atol=1e-6)


def test_diffusion_takes_the_place_of_the_decay():
    # 10 x 10, a quarter of it on a better 20 x 20. By hand: pi is 0.7 * 0.25 plus 0.3 times the
    # better one's, whose own is 0.
    proposals = proposals_of([(0, 0, 20), (15, 15, 10)], [axis(0), axis(0)], size=(64, 64))
    found = match(proposals, bank_of(axis(0)), Recipe(rescoring="diffusion"))
    assert np.allclose(found.scores, [1, (1 - 0.175) ** 0.5], atol=1e-6)


def test_without_an_exponent_no_rescoring_changes_a_score():
    proposals = proposals_of([(0, 0, 30), (5, 5, 10)], [axis(0), axis(0)])
    for rescoring in ("decay", "diffusion"):
        recipe = Recipe(rescoring=rescoring, merge_exponent=0)
        assert match(proposals, bank_of(axis(0)), recipe).scores.tolist() == [1, 1]


def test_a_nested_mask_of_equal_feature_falls_to_zero_and_comes_last():
    proposals = proposals_of([(0, 0, 30), (5, 5, 10), (40, 40, 10)], [axis(0)] * 3)
    found = match(proposals, bank_of(axis(0)), RECIPE)
    assert np.isfinite(found.scores).all()
    assert np.allclose(found.scores, [1, 1, 0], atol=1e-3)


def test_a_cosine_rounded_above_one_gives_a_score_of_zero_and_no_nan():
    # Rounding gives unit vectors products a little above 1.
    feature = axis(0) * 1.0001
    proposals = proposals_of([(0, 0, 30), (5, 5, 10)], [feature, feature])
    proposals.features[:] = feature
    scores = match(proposals, bank_of(axis(0)), RECIPE).scores
    assert np.allclose(scores, [1.0001, 0])


def test_masks_of_other_labels_do_not_cover():
    proposals = proposals_of([(0, 0, 30), (5, 5, 10)], [axis(0), axis(1)])
    assert np.allclose(match(proposals, bank_of(axis(0), axis(1)), RECIPE).scores, [1, 1])


def test_a_merge_exponent_of_zero_leaves_scores_alone():
    proposals = proposals_of([(0, 0, 30), (5, 5, 10)], [axis(0), axis(0)])
    recipe = Recipe(merge_exponent=0)
    assert np.allclose(match(proposals, bank_of(axis(0)), recipe).scores, [1, 1])


def test_instances_are_the_best_by_score_over_all_labels():
    squares = [(0, 0, 8), (20, 0, 8), (40, 0, 8), (0, 20, 8)]
    features = [axis(0) + axis(2) * s for s in (0.9, 0.1)] + [
        axis(1) + axis(2) * s for s in (0.5, 0.3)
    ]
    proposals = proposals_of(squares, features)
    found = match(proposals, bank_of(axis(0), axis(1)), Recipe(max_instances=3))
    assert found.labels == ["0", "1", "1"]
    assert np.allclose(found.scores, [1 / (1 + s * s) ** 0.5 for s in (0.1, 0.3, 0.5)])
    assert np.allclose(found.proposal_ious, proposals.ious[[1, 3, 2]])


def test_equal_scores_keep_the_order_of_predicted_iou_across_labels():
    squares = [(0, 0, 8), (20, 0, 8), (40, 0, 8)]
    features = [axis(1), axis(0), axis(1)]
    found = match(
        proposals_of(squares, features, [0.6, 0.9, 0.7]), bank_of(axis(0), axis(1)), RECIPE
    )
    assert np.allclose(found.proposal_ious, [0.9, 0.7, 0.6])


def test_a_mask_that_vanishes_at_the_images_size_is_dropped():
    proposals = proposals_of([(30, 30, 1), (0, 0, 20)], [axis(0), axis(0)], size=(8, 8))
    assert len(match(proposals, bank_of(axis(0)), RECIPE)) == 1


def test_the_reference_named_is_the_most_similar_of_the_class():
    bank = bank_of(torch.stack([axis(0), axis(1), axis(2)]), axis(3))
    found = match(proposals_of([(4, 4, 20)], [axis(0) + 2 * axis(1)]), bank, RECIPE)
    assert found.references == [bank.references("0")[1].id]


def test_classes_with_unequal_shots_count_by_their_means():
    bank = bank_of(torch.stack([axis(0)] * 5 + [axis(1)]), axis(1))
    found = match(proposals_of([(4, 4, 20)], [axis(1) * 2 + axis(0)]), bank, RECIPE)
    assert found.labels == ["1"]
    assert np.allclose(found.margins, (2 - 7 / 26**0.5) / 5**0.5)


def test_a_class_of_1203_is_found():
    features = F.normalize(torch.randn(1203, CHANNELS, generator=torch.Generator()), dim=1)
    proposals = proposals_of([(4, 4, 20), (40, 40, 10)], [features[1200], features[7]])
    found = match(proposals, bank_of(*features), RECIPE)
    assert sorted(found.labels) == ["1200", "7"]


def test_negatives_hold_a_similarity_down_as_the_recipe_says():
    bank = bank_of(axis(0), axis(1))
    bank.add_negatives("0", torch.stack([axis(2), 3 * axis(0) + 4 * axis(2)]))
    feature = F.normalize(axis(0) + axis(2), dim=0)
    positive, negative = 0.5**0.5, (0.6 + 0.8) * 0.5**0.5
    expected = positive * np.exp(-(negative - positive) / 0.8)
    assert np.allclose(similarities(feature[None].numpy(), bank, 0.8), [[expected, 0]])


def test_a_negative_less_similar_than_the_class_changes_nothing():
    bank = bank_of(axis(0))
    bank.add_negatives("0", axis(1))
    assert np.allclose(similarities(axis(0)[None].numpy(), bank, 0.8), [[1]])


def test_an_opposite_negative_counts_as_zero():
    bank = bank_of(axis(1))
    bank.add_negatives("0", -axis(0))
    feature = F.normalize(axis(0) - axis(1), dim=0)
    assert similarities(feature[None].numpy(), bank, 0.8).item() == 0


def test_a_negative_can_hand_a_proposal_to_another_class():
    feature = 2 * axis(0) + axis(1)
    bank = bank_of(axis(0), axis(1))
    proposals = proposals_of([(4, 4, 20)], [feature])
    assert match(proposals, bank, RECIPE).labels == ["0"]
    bank.add_negatives("0", feature)
    assert match(proposals, bank, Recipe(negative_sigma=0.1)).labels == ["1"]


def test_the_recipes_nms_threshold_is_used():
    squares = [(4, 4, 20), (4, 4, 16)]
    proposals = proposals_of(squares, [axis(0), axis(0) + axis(1)])
    assert len(match(proposals, bank_of(axis(0)), RECIPE)) == 1
    assert len(match(proposals, bank_of(axis(0)), Recipe(nms_iou=0.9))) == 2


def test_a_proposal_with_a_feature_that_is_no_number_is_left_out():
    proposals = proposals_of([(4, 4, 20), (40, 40, 10)], [axis(0), axis(0)])
    proposals.features[0] = float("nan")
    assert len(match(proposals, bank_of(axis(0), axis(1)), RECIPE)) == 1


def test_an_empty_bank_is_refused():
    with pytest.raises(BankError, match="no class"):
        match(proposals_of([(4, 4, 20)], [axis(0)]), MemoryBank(ENCODER), RECIPE)


def test_proposals_of_another_encoder_are_refused_with_both_names():
    other = dataclasses.replace(ENCODER, name="other", digest="f")
    with pytest.raises(BankError, match=r"encoder.*other"):
        match(proposals_of([(4, 4, 20)], [axis(0)], encoder=other), bank_of(axis(0)), RECIPE)


def test_proposals_without_a_fingerprint_must_fit_in_channels():
    bank = bank_of(torch.ones(5), encoder=dataclasses.replace(ENCODER, channels=5))
    with pytest.raises(BankError, match=r"8 channels.*5"):
        match(proposals_of([(4, 4, 20)], [axis(0)], encoder=None), bank, RECIPE)


def test_no_instance_has_every_field():
    none = Instances.empty((3, 4))
    assert (len(none), none.boxes.shape, none.image_size) == (0, (0, 4), (3, 4))
