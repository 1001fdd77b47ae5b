"""The tiny networks before training: their configurations, and weights to start from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Dinov2Config, Dinov2Model, Sam2Config, Sam2Model

from ..scenes import SCENE_SIZE

_WIDTH = 96

# The encoder starts with waves that code a place: a sine and a cosine of rows and of columns each.
_WAVES = torch.logspace(-0.7, 0.25, 8)
_POSITION_WIDTH = 4 * len(_WAVES)
_SHARPNESS = 1.1
_POSITION_STRENGTH = 1.5
# Layers start as small corrections, or deep ones would no longer see the places.
_CORRECTION = 0.4


def segmenter_config() -> Sam2Config:
    """A SAM 2 of 1.6 M parameters that reads whole scenes at 256 x 256."""
    stages = [32, 64, 128, 192]
    side = SCENE_SIZE // 4
    return Sam2Config(
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": stages[0],
                "num_attention_heads": 1,
                "image_size": [SCENE_SIZE, SCENE_SIZE],
                "blocks_per_stage": [1, 2, 4, 1],
                "embed_dim_per_stage": stages,
                "num_attention_heads_per_stage": [1, 2, 4, 6],
                "window_size_per_stage": [8, 4, 8, 4],
                "global_attention_blocks": [4, 6],
                "mlp_ratio": 3.0,
            },
            "backbone_channel_list": stages[::-1],
            "backbone_feature_sizes": [[side // step] * 2 for step in (1, 2, 4)],
            "fpn_hidden_size": _WIDTH,
        },
        prompt_encoder_config={"hidden_size": _WIDTH, "image_size": SCENE_SIZE},
        mask_decoder_config={
            "hidden_size": _WIDTH,
            "mlp_dim": 256,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": 96,
        },
    )


def encoder_config() -> Dinov2Config:
    """A DINOv2 of 1.8 M parameters with 16 x 16 patches of 14 pixels."""
    return Dinov2Config(
        hidden_size=160,
        num_hidden_layers=6,
        num_attention_heads=5,
        mlp_ratio=3,
        image_size=224,
        patch_size=14,
    )


def start_afresh(network: nn.Module) -> None:
    """Give a small network weights whose spread fits its widths.

    The fixed spread of 0.02 that large networks start with starves narrow layers: with it the
    segmenter needed more than twice the steps to fit one batch.
    """
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.5)


def look_where_prompted(network: Sam2Model) -> None:
    """Let the decoder's cross-attention start by looking at the prompt's own place.

    With one and the same matrix for queries and keys, a point's positional code matches that of
    the image patches around it, which random matrices would have to find first. And image
    features start out smaller than the positional codes that are added to them: larger ones
    drown the point, and the network learns to answer every point alike.
    """
    for layer in network.vision_encoder.neck.convs:
        layer.weight.data.mul_(0.1)
    network.prompt_encoder.no_mask_embed.weight.data.zero_()
    for name, module in network.mask_decoder.named_modules():
        if name.endswith(("token_to_image", "image_to_token")):
            module.q_proj.weight.data.mul_(1.5)
            module.k_proj.weight.data.copy_(module.q_proj.weight.data)


@torch.no_grad()
def see_like_a_convolution(network: Dinov2Model) -> None:
    """Set patch filters, positions and attention of a fresh network to something useful.

    From random weights it told shapes apart no better than by chance after 1,700 steps. Here
    patches are seen through the lowest waves of a cosine transform. The last channels hold each
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
