"""Full-size networks with random weights, for measuring where the published weights are not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2Model,
    Sam2VisionConfig,
)

from ntt_plugin.engine import Fingerprint, Recipe, Segmenter
from ntt_plugin.engine.device.device import resolve_device, resolve_dtype
from ntt_plugin.engine.networks.checkpoints import load_encoder, load_segmenter
from ntt_plugin.engine.networks.encoder import PatchEncoder
from ntt_plugin.engine.networks.mask_proposer import MaskProposer

HIERA: dict[str, dict[str, Any]] = {
    "large": {
        "hidden_size": 144,
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 6, 36, 4],
        "window_size_per_stage": [8, 4, 16, 8],
        "global_attention_blocks": [23, 33, 43],
    },
    "small": {
        "hidden_size": 96,
        "embed_dim_per_stage": [96, 192, 384, 768],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "blocks_per_stage": [1, 2, 11, 2],
        "window_size_per_stage": [8, 4, 14, 7],
        "global_attention_blocks": [7, 10, 13],
    },
}
DINOV2 = {
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
}


def build_segmenter(
    recipe: Recipe, device: str | None, *, weights: bool, compile: bool
) -> tuple[Segmenter, Sam2Model, nn.Module]:
    """A segmenter and the two networks in it.

    Args:
        recipe: of a preset.
        device: where it runs; the best there is if None.
        weights: load the recipe's weights; else networks of its sizes with random ones. The
            bundled networks are always loaded.
        compile: as for ``Segmenter.from_preset``.
    """
    place = resolve_device(device)
    dtype = resolve_dtype(recipe.precision, place)
    if weights or recipe.segmenter == "tiny":
        segmenter: Any = load_segmenter(recipe.segmenter).model
        encoder: Any = load_encoder(recipe.encoder).model
    else:
        torch.manual_seed(0)
        segmenter, encoder = random_sam2(recipe.segmenter), random_dinov2(recipe)
    fingerprint = Fingerprint(
        recipe.encoder, "0" * 64, recipe.encoder_size, encoder.config.hidden_size, 0.2
    )
    built = Segmenter(
        replace(recipe, precision=str(dtype).removeprefix("torch.")),
        PatchEncoder(encoder, fingerprint, place, dtype, compile=compile),
        MaskProposer(segmenter, place, dtype, compile=compile),
        place,
    )
    return built, segmenter, encoder


def random_sam2(name: str) -> Sam2Model:
    """A SAM 2 of a published size, by its hub id."""
    traits = HIERA[name.rsplit("-", 1)[-1]]
    hiera = Sam2HieraDetConfig(window_positional_embedding_background_size=[7, 7], **traits)
    vision = Sam2VisionConfig(
        backbone_config=hiera, backbone_channel_list=traits["embed_dim_per_stage"][::-1]
    )
    model = Sam2Model._from_config(Sam2Config(vision_config=vision)).eval().requires_grad_(False)
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(
        model.shared_image_embedding.positional_embedding
    )
    # As drawn, masks hardly differ from point to point: larger weights give them shapes.
    for parameter_name, weight in model.mask_decoder.named_parameters():
        if weight.ndim > 1 and "token" not in parameter_name:
            weight.copy_(0.8 / weight[0].numel() ** 0.5 * torch.randn(weight.shape))
    return model


def random_dinov2(recipe: Recipe) -> Dinov2Model:
    """A DINOv2 of a published size, by its hub id."""
    config = Dinov2Config(
        image_size=518, patch_size=14, **DINOV2[recipe.encoder.rsplit("-", 1)[-1]]
    )
    return Dinov2Model._from_config(config).eval().requires_grad_(False)
