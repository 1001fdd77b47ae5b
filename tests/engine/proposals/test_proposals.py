import numpy as np
import pytest
import torch

from ntt_plugin.engine.proposals.feature_pooling import pool_features
from ntt_plugin.engine.proposals.proposals import Proposals, mask_boxes


def test_boxes_are_the_smallest_and_largest_index():
    masks = torch.rand(40, 20, 20, generator=torch.Generator().manual_seed(0)) > 0.98
    masks[:, 7, 3] = True
    for mask, box in zip(masks.numpy(), mask_boxes(masks).tolist(), strict=True):
        ys, xs = np.nonzero(mask)
        assert box == [xs.min(), ys.min(), xs.max(), ys.max()]


def test_empty_masks_are_dropped_with_all_that_is_theirs():
    logits = torch.randn(4, 16, 16)
    logits[[1, 3]] = -1
    features = torch.randn(8, 4, 4)
    found = Proposals.from_logits(logits, torch.tensor([0.1, 0.2, 0.3, 0.4]), features, (9, 9))
    assert len(found) == 2
    assert found.ious.tolist() == torch.tensor([0.1, 0.3]).tolist()
    assert torch.equal(found.masks.logits, logits[[0, 2]])
    assert torch.allclose(found.features, pool_features(features, logits[[0, 2]] > 0))
    assert found.boxes.shape == (2, 4)


def test_a_logit_of_zero_is_outside():
    logits = torch.zeros(1, 4, 4)
    logits[0, 2, 1] = 0.5
    found = Proposals.from_logits(logits, torch.ones(1), torch.randn(8, 2, 2), (9, 9))
    assert (found.masks.logits > 0).sum() == 1 and found.boxes.tolist() == [[1, 2, 1, 2]]


def test_no_proposal_is_an_ordinary_case():
    found = Proposals.from_logits(
        torch.zeros(0, 16, 16), torch.zeros(0), torch.randn(8, 4, 4), (9, 9)
    )
    assert (len(found), found.features.shape, found.boxes.shape) == (0, (0, 8), (0, 4))


def test_only_empty_masks_are_no_proposal():
    found = Proposals.from_logits(
        torch.full((3, 16, 16), -1.0), torch.ones(3), torch.randn(8, 4, 4), (9, 9)
    )
    assert len(found) == 0


def test_near_duplicates_are_dropped_with_all_that_is_theirs():
    logits = torch.full((3, 20, 20), -1.0)
    logits[0, 2:12, 2:12] = logits[2, 2:12, 2:12] = logits[1, 14:18, 3:9] = 1
    logits[2, 11, 11] = -1
    ious, features = torch.tensor([0.6, 0.7, 0.8]), torch.randn(8, 4, 4)
    found = Proposals.from_logits(logits, ious, features, (40, 40), duplicate_iou=0.9)
    assert torch.equal(found.ious, ious[1:])
    assert torch.equal(found.masks.logits, logits[1:])
    assert torch.allclose(found.features, pool_features(features, logits[1:] > 0))
    assert found.boxes.tolist() == [[3, 14, 8, 17], [2, 2, 11, 11]]
    assert len(Proposals.from_logits(logits, ious, features, (40, 40))) == 3


def test_stability_is_the_iou_of_two_cuts():
    logits = torch.randn(5, 30, 30, generator=torch.Generator().manual_seed(0)) * 3
    logits[1] = -1
    ious, patches = torch.linspace(0.5, 0.9, 5), torch.randn(8, 4, 4)
    found = Proposals.from_logits(logits, ious, patches, (40, 40), with_stability=True)
    expected = []
    for mask in logits[[0, 2, 3, 4]].numpy():
        inner, outer = mask > 1, mask > -1
        expected.append((inner & outer).sum() / (inner | outer).sum())
    assert found.stability.tolist() == pytest.approx(expected)
    assert Proposals.from_logits(logits, ious, patches, (40, 40)).stability is None


def test_masks_are_made_as_often_as_they_are_asked_for():
    logits = torch.full((2, 8, 8), -1.0)
    logits[0, 2:5, 1:7] = logits[1, 0, 0] = 1
    masks = Proposals.from_logits(logits, torch.ones(2), torch.randn(8, 4, 4), (8, 8)).masks
    for _ in range(2):
        assert np.array_equal(masks[0].unpack(), np.ones((3, 6), bool))
        assert masks[0].box == (1, 2, 7, 5)
        assert masks[1].area == 1
    assert len(masks) == 2


def test_made_masks_are_those_that_are_made_when_asked_for():
    logits = torch.full((3, 16, 16), -1.0)
    logits[0, 3:9, 2:12] = 1
    # A line this thin is lost at a quarter of the size.
    logits[1, 5, 4:6] = 1e-3
    logits[2, :, 8:] = 2
    found = Proposals.from_logits(logits, torch.ones(3), torch.randn(8, 4, 4), (4, 60))
    made = found.with_masks_made()
    assert len(made.masks) == 3
    assert [made.masks[index] is None for index in range(3)] == [False, True, False]
    for index in (0, 2):
        assert made.masks[index] is made.masks[index]
        assert made.masks[index].box == found.masks[index].box
        assert np.array_equal(made.masks[index].unpack(), found.masks[index].unpack())
    assert made.ious is found.ious and made.features is found.features
