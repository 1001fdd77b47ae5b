"""The configurations of the tiny networks."""

from __future__ import annotations

from torch import nn
from transformers import Dinov2Config, Sam2Config, Sam2Model

from ..scenes import SCENE_SIZE

_WIDTH = 96


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
            "backbone_feature_sizes": [
                [side, side],
                [side // 2, side // 2],
                [side // 4, side // 4],
            ],
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
