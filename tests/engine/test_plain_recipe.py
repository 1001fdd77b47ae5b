"""The engine against the plain recipe that the benchmarks measure it beside."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import plain
from benchmarks.candidates import made_up_bank, made_up_proposals
from ntt_plugin.demo.streams import scoring_scene
from ntt_plugin.engine import Proposals, Segmenter, match
from ntt_plugin.engine.proposals.feature_pooling import pool_features


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.from_preset("tiny", device="cpu", grid=8)


@pytest.fixture(scope="module")
def features(segmenter: Segmenter) -> list[Tensor]:
    pixels, _ = segmenter._input(scoring_scene(0).image)
    return segmenter._proposer.embed(pixels)


@pytest.mark.parametrize("threshold", [-1.0, 0.4])
def test_the_bundled_networks_masks_are_the_plain_ones(
    segmenter: Segmenter, features: list[Tensor], threshold: float
) -> None:
    proposer = segmenter._proposer
    logits, ious = plain.best_masks(proposer._model, features, 8, threshold)
    ours, our_ious = proposer.best_masks(features, 8, 64, threshold)
    assert len(ours) == len(logits) > 5
    torch.testing.assert_close(our_ious, ious, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours, logits, atol=1e-4, rtol=0)
    decided = logits.abs() > 1e-4
    assert torch.equal((ours > 0)[decided], (logits > 0)[decided])


def test_pooling_on_the_patch_grid_is_pooling_at_the_masks_resolution(
    segmenter: Segmenter,
) -> None:
    grid = torch.randn(24, 16, 16, generator=torch.Generator().manual_seed(0))
    masks = made_up_proposals(30, 64, segmenter.device)[0] > 0
    ours = pool_features(grid, masks)
    torch.testing.assert_close(ours, plain.pool(grid, masks), atol=1e-5, rtol=0)


def test_matching_gives_the_plain_instances(segmenter: Segmenter) -> None:
    fingerprint = replace(segmenter.fingerprint, channels=24)
    grid = torch.randn(24, 16, 16, generator=torch.Generator().manual_seed(1)) + 0.3
    logits, ious = made_up_proposals(60, 64, segmenter.device)
    proposals = Proposals.from_logits(logits, ious, grid, (120, 150), fingerprint)
    bank = made_up_bank(fingerprint, proposals.features, classes=3)
    masks, scores = plain.match(proposals, bank, segmenter.recipe)
    instances = match(proposals, bank, segmenter.recipe)
    assert len(instances) == len(scores) > 10
    np.testing.assert_allclose(instances.scores, scores.numpy(), atol=1e-5)
    for index, mask in enumerate(masks.numpy()):
        assert np.array_equal(instances.full_mask(index), mask)
