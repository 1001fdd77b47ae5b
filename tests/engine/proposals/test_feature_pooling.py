import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from ntt_plugin.engine.proposals.feature_pooling import pool_features, resize_matrix


@pytest.mark.parametrize(
    ("source", "target"),
    [(37, 256), (16, 56), (256, 640), (256, 100), (256, 3), (256, 1), (37, 20), (1, 5), (2, 1)],
)
def test_the_matrix_resizes_as_pillow_does(source, target):
    # Pillow's bilinear filter is antialiased too; its coefficients are computed on their own.
    signal = np.random.default_rng(0).random(source, dtype=np.float32)
    column = np.repeat(signal[:, None], 4, axis=1)
    resized = Image.fromarray(column).resize((4, target), Image.Resampling.BILINEAR)
    ours = resize_matrix(source, target).numpy() @ signal
    assert np.allclose(ours, np.asarray(resized)[:, 0], atol=1e-5)


def by_upsampling(features, masks):
    """The recipe's own words: upsample, average over the mask's pixels, normalise."""
    full = F.interpolate(
        features[None], masks.shape[-2:], mode="bilinear", antialias=True, align_corners=False
    )[0]
    return torch.stack([F.normalize(full[:, mask].mean(dim=1), dim=0) for mask in masks])


@pytest.mark.parametrize(("grid", "side"), [(37, 256), (16, 56), (5, 64), (16, 16), (20, 12)])
def test_pooling_equals_upsampling_first(grid, side):
    torch.manual_seed(0)
    features = torch.randn(24, grid, grid)
    masks = torch.rand(70, side, side) > torch.rand(70, 1, 1)
    masks[:, 0, 0] = True
    difference = pool_features(features, masks) - by_upsampling(features, masks)
    assert difference.abs().max() < 2e-6


def test_one_pixel_at_a_corner_takes_the_corner_patch():
    features = torch.randn(8, 4, 4)
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[0, -1, -1] = True
    expected = F.normalize(features[:, -1, -1], dim=0)
    assert torch.allclose(pool_features(features, mask)[0], expected, atol=1e-6)


def test_features_have_unit_length():
    pooled = pool_features(torch.randn(8, 4, 4), torch.rand(3, 16, 16) > 0.5)
    assert torch.allclose(pooled.norm(dim=1), torch.ones(3))


def test_an_empty_mask_gives_a_zero_row():
    masks = torch.zeros(2, 16, 16, dtype=torch.bool)
    masks[1] = True
    pooled = pool_features(torch.randn(8, 4, 4), masks)
    assert (pooled[0] == 0).all() and (pooled[1] != 0).any()


def test_no_mask_gives_no_row():
    assert pool_features(torch.randn(8, 4, 4), torch.zeros(0, 16, 16).bool()).shape == (0, 8)
