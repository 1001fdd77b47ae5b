"""Where the tiny DINOv2 starts: its attention looks at neighbours, as a convolution would.

A transformer that starts from noise must first find out what a picture is. On two cores there is
no time for that: after 1,700 steps it still told shapes apart no better than by chance.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Dinov2Model

_WAVES = torch.logspace(-0.7, 0.25, 8)
# A sine and a cosine of rows and of columns for each wave.
_POSITION_WIDTH = 4 * len(_WAVES)
_SHARPNESS = 1.1
_POSITION_STRENGTH = 1.5
# Layers start as small corrections, or deep ones would no longer see the places.
_CORRECTION = 0.4


@torch.no_grad()
def see_like_a_convolution(network: Dinov2Model) -> None:
    """Set patch filters, positions and attention of a fresh network to something useful.

    Patches are seen through the lowest waves of a cosine transform. The last channels hold each
    patch's place, and all heads but one of each layer look at a neighbour in a direction of
    their own, further away in deeper layers; the last head looks at what is alike.
    """
    config = network.config
    grid = config.image_size // config.patch_size
    width, heads = config.hidden_size, config.num_attention_heads
    projection = network.embeddings.patch_embeddings.projection
    projection.weight.zero_()
    filters = _cosine_filters(config.patch_size, width - _POSITION_WIDTH)
    projection.weight[: len(filters)] = filters
    network.embeddings.position_embeddings.zero_()
    network.embeddings.position_embeddings[0, 1:, -_POSITION_WIDTH:] = (
        _POSITION_STRENGTH * _positions(grid)
    )
    for depth, layer in enumerate(network.encoder.layer):
        attention = layer.attention
        attention.k_proj.weight.copy_(attention.q_proj.weight)
        attention.o_proj.weight.mul_(_CORRECTION)
        layer.mlp.fc2.weight.mul_(_CORRECTION)
        reach = 1 + depth // 2
        sides = ((0, 1), (1, 0), (0, -1), (-1, 0))
        corners = ((1, 1), (1, -1), (-1, -1), (-1, 1))
        for head, (down, right) in enumerate((sides, corners)[depth % 2][: heads - 1]):
            rows = slice(head * _POSITION_WIDTH, (head + 1) * _POSITION_WIDTH)
            for place, shift in (
                (attention.q_proj, (reach * down, reach * right)),
                (attention.k_proj, (0, 0)),
            ):
                place.weight[rows] = 0
                place.weight[rows, -_POSITION_WIDTH:] = _SHARPNESS * _shift_matrix(*shift)


def _positions(grid: int) -> Tensor:
    """Waves over rows and columns, (grid * grid, _POSITION_WIDTH)."""
    angles = torch.arange(grid)[:, None] * _WAVES
    line = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
    rows = line[:, None].expand(grid, grid, -1)
    columns = line[None].expand(grid, grid, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


def _shift_matrix(down: int, right: int) -> Tensor:
    """The matrix that turns a place's waves into those of the place ``down`` and ``right``."""
    turns = []
    for step in (down, right):
        for wave in _WAVES:
            cos, sin = (wave * step).cos(), (wave * step).sin()
            turns.append(torch.tensor([[cos, sin], [-sin, cos]]))
    return torch.block_diag(*turns)


def _cosine_filters(patch: int, count: int) -> Tensor:
    """Patch filters (count, 3, patch, patch) that see brightness and colour contrasts.

    The lowest waves of a two-dimensional cosine transform, of brightness and of two colour
    contrasts; higher ones are lifted, since pictures hold less of them.
    """
    places = (torch.arange(patch) + 0.5) * torch.pi / patch
    waves = functional.normalize(torch.stack([(places * rate).cos() for rate in range(patch)]))
    contrasts = functional.normalize(torch.tensor([[1.0, 1, 1], [1, -1, 0], [1, 1, -2]]))
    order = sorted(
        ((u, v, c) for u in range(patch) for v in range(patch) for c in range(3)),
        key=lambda key: (key[0] ** 2 + key[1] ** 2) * (1 if key[2] == 0 else 2.5),
    )
    return torch.stack(
        [
            (1 + u + v) / 8 * contrasts[c][:, None, None] * (waves[u][:, None] * waves[v])
            for u, v, c in order[:count]
        ]
    )
