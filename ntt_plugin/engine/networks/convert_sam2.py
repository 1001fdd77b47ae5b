"""SAM 2 and SAM 2.1: Meta's key names -> the hub's, and the architecture read from the shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Sam2Config, Sam2HieraDetConfig, Sam2VisionConfig

from ...errors import CheckpointError
from ..rules import list_of, only, real, whole
from .conversion import (
    ACTIVATION,
    EPSILON,
    FLAG,
    SHARE,
    SIDE,
    WIDTH,
    Renaming,
    Rules,
    checked_fields,
    refusal,
    rename,
)
from .weights import shorten

# Two positional encodings share one Gaussian matrix: of the image grid and of the prompts.
IMAGE_MATRIX = "shared_image_embedding.positional_embedding"
PROMPT_MATRIX = "prompt_encoder.shared_embedding.positional_embedding"

# The video model's memory: images are segmented without it (recipe section 3.3).
META_UNUSED = (
    "memory_attention.",
    "memory_encoder.",
    "maskmem_tpos_enc",
    "mask_downsample.",
    "no_mem_pos_enc",
    "no_obj_ptr",
    "no_obj_embed_spatial",
    "obj_ptr_proj.",
    "obj_ptr_tpos_proj.",
)
HUB_UNUSED = (
    "memory_",
    "mask_downsample.",
    "no_memory_positional_encoding",
    "no_object_pointer",
    "occlusion_spatial_embedding_parameter",
    "object_pointer_proj.",
    "temporal_positional_encoding_projection_layer.",
)

_WB = r"\.(weight|bias)"
_TRUNK, _BACKBONE = r"image_encoder\.trunk\.", "vision_encoder.backbone."
_BLOCK, _HUB_BLOCK = _TRUNK + r"blocks\.(\d+)\.", _BACKBONE + r"blocks.\1."
_PROMPT, _DECODER = r"sam_prompt_encoder\.", r"sam_mask_decoder\."
_TRANSFORMER, _HUB_TRANSFORMER = _DECODER + r"transformer\.", "mask_decoder.transformer."
_LAYER, _HUB_LAYER = _TRANSFORMER + r"layers\.(\d+)\.", _HUB_TRANSFORMER + r"layers.\1."
_ATTENTION = _TRANSFORMER + r"(layers\.\d+\.\w+|final_attn_token_to_image)"
_HEAD = _DECODER + r"(iou_prediction_head|pred_obj_score_head|output_hypernetworks_mlps\.\d+)"

# Meta numbers the modules of a sequence, the hub names them.
_MLP = {0: "proj_in", 1: "proj_out"}
_HEAD_MLP = {0: "proj_in", 1: "layers.0", 2: "proj_out"}
_MASK_EMBED = {0: "conv1", 1: "layer_norm1", 3: "conv2", 4: "layer_norm2", 6: "conv3"}
_UPSCALING = {0: "upscale_conv1", 1: "upscale_layer_norm", 3: "upscale_conv2"}


def _numbered(meta: str, hub: str, names: Mapping[int, str]) -> list[Renaming]:
    """Rules for the modules of a sequence: a pattern of Meta's prefix, and the hub's prefix."""
    last = rf".\{re.compile(meta).groups + 1}"
    return [(rf"{meta}\.{number}{_WB}", hub + name + last) for number, name in names.items()]


_RULES: tuple[Renaming, ...] = (
    (r"no_mem_embed", "no_memory_embedding"),
    (_TRUNK + r"(pos_embed|pos_embed_window)", _BACKBONE + r"\1"),
    (_TRUNK + r"patch_embed\.proj" + _WB, _BACKBONE + r"patch_embed.projection.\1"),
    (_BLOCK + r"norm([12])" + _WB, _HUB_BLOCK + r"layer_norm\2.\3"),
    (_BLOCK + r"(attn\.qkv|attn\.proj|proj)" + _WB, _HUB_BLOCK + r"\2.\3"),
    *_numbered(_BLOCK + r"mlp\.layers", _HUB_BLOCK + "mlp.", _MLP),
    (r"image_encoder\.neck\.convs\.(\d+)\.conv" + _WB, r"vision_encoder.neck.convs.\1.\2"),
    (_PROMPT + r"pe_layer\.positional_encoding_gaussian_matrix", PROMPT_MATRIX),
    (_PROMPT + r"(not_a_point_embed|no_mask_embed)\.weight", r"prompt_encoder.\1.weight"),
    (_PROMPT + r"point_embeddings\.(\d+)\.weight", r"prompt_encoder.point_embed.\1"),
    *_numbered(_PROMPT + "mask_downscaling", "prompt_encoder.mask_embed.", _MASK_EMBED),
    (_ATTENTION + r"\.out_proj" + _WB, _HUB_TRANSFORMER + r"\1.o_proj.\2"),
    (_ATTENTION + r"\.([qkv]_proj)" + _WB, _HUB_TRANSFORMER + r"\1.\2.\3"),
    (_LAYER + r"norm([1-4])" + _WB, _HUB_LAYER + r"layer_norm\2.\3"),
    *_numbered(_LAYER + r"mlp\.layers", _HUB_LAYER + "mlp.", _MLP),
    (_TRANSFORMER + "norm_final_attn" + _WB, _HUB_TRANSFORMER + r"layer_norm_final_attn.\1"),
    (_DECODER + r"(iou_token|mask_tokens|obj_score_token)\.weight", r"mask_decoder.\1.weight"),
    *_numbered(_DECODER + "output_upscaling", "mask_decoder.", _UPSCALING),
    (_DECODER + r"(conv_s[01])" + _WB, r"mask_decoder.\1.\2"),
    *_numbered(_HEAD + r"\.layers", r"mask_decoder.\1.", _HEAD_MLP),
)

_STAGES = 8
_COUNT = whole(1, 1024)
_BACKBONE_FIELDS: Rules = {
    "hidden_size": WIDTH,
    "num_attention_heads": _COUNT,
    "num_channels": whole(3, 3),
    "image_size": list_of(SIDE, 2),
    "patch_kernel_size": only([7, 7]),
    "patch_stride": only([4, 4]),
    "patch_padding": only([3, 3]),
    "query_stride": only([2, 2]),
    "window_positional_embedding_background_size": list_of(_COUNT, 2),
    "num_query_pool_stages": whole(0, _STAGES),
    "blocks_per_stage": list_of(whole(1, 128), _STAGES),
    "embed_dim_per_stage": list_of(WIDTH, _STAGES),
    "num_attention_heads_per_stage": list_of(_COUNT, _STAGES),
    "window_size_per_stage": list_of(_COUNT, _STAGES),
    "global_attention_blocks": list_of(whole(0, 1023), 1024),
    "mlp_ratio": real(0.01, 64),
    "hidden_act": ACTIVATION,
    "layer_norm_eps": EPSILON,
}
_VISION: Rules = {
    "backbone_channel_list": list_of(WIDTH, _STAGES),
    "backbone_feature_sizes": list_of(list_of(_COUNT, 2), 3),
    "fpn_hidden_size": WIDTH,
    "fpn_kernel_size": only(1),
    "fpn_stride": only(1),
    "fpn_padding": only(0),
    "fpn_top_down_levels": list_of(whole(0, _STAGES), _STAGES),
    "num_feature_levels": only(3),
    "hidden_act": ACTIVATION,
    "layer_norm_eps": EPSILON,
}
_PROMPT_ENCODER: Rules = {
    "hidden_size": WIDTH,
    "image_size": SIDE,
    "patch_size": only(16),
    "mask_input_channels": _COUNT,
    "num_point_embeddings": whole(4, 64),
    "hidden_act": ACTIVATION,
    "layer_norm_eps": EPSILON,
    "scale": only(1),
}
_MASK_DECODER: Rules = {
    "hidden_size": WIDTH,
    "hidden_act": ACTIVATION,
    "mlp_dim": whole(1, 65_536),
    "num_hidden_layers": whole(1, 32),
    "num_attention_heads": _COUNT,
    "attention_downsample_rate": whole(1, 64),
    "num_multimask_outputs": whole(1, 16),
    "iou_head_depth": whole(2, 16),
    "iou_head_hidden_dim": WIDTH,
    "dynamic_multimask_via_stability": FLAG,
    "dynamic_multimask_stability_delta": real(0, 1e6),
    "dynamic_multimask_stability_thresh": SHARE,
}


@dataclass(frozen=True)
class HieraTraits:
    """Architecture of a SAM 2 network that its tensors' shapes do not show.

    Attributes:
        heads: attention heads of the first stage; each later stage has twice as many.
        windows: attention window of each stage, in tokens.
        global_blocks: blocks that attend to the whole image.
        image_size: side of the square input, in pixels; a multiple of 32.
        decoder_heads: attention heads of the mask decoder.
    """

    heads: int
    windows: tuple[int, ...]
    global_blocks: tuple[int, ...]
    image_size: int = 1024
    decoder_heads: int = 8


# By the first stage's channels and the blocks of each stage; SAM 2.0 and 2.1 are alike.
PUBLISHED: dict[tuple[int, tuple[int, ...]], HieraTraits] = {
    (96, (1, 2, 7, 2)): HieraTraits(1, (8, 4, 14, 7), (5, 7, 9)),
    (96, (1, 2, 11, 2)): HieraTraits(1, (8, 4, 14, 7), (7, 10, 13)),
    (112, (2, 3, 16, 3)): HieraTraits(2, (8, 4, 14, 7), (12, 16, 20)),
    (144, (2, 6, 36, 4)): HieraTraits(2, (8, 4, 16, 8), (23, 33, 43)),
}


def from_meta(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Meta's SAM 2 weights by the hub's names, without the video model's memory.

    Raises:
        CheckpointError: a key is unknown, or a point embedding is missing.
    """
    renamed = rename(state, _RULES, META_UNUSED, where)
    names = [f"prompt_encoder.point_embed.{i}" for i in range(4)]
    missing = [name for name in names if name not in renamed]
    if missing:
        raise CheckpointError(f"{where} lacks weights: {shorten(missing)}. Download it again.")
    if len({renamed[name].shape for name in names}) > 1:
        raise CheckpointError(
            f"{where}: the point embeddings differ in shape, so it is no SAM 2. Download it again."
        )
    renamed["prompt_encoder.point_embed.weight"] = torch.cat([renamed.pop(name) for name in names])
    return renamed


def share_positional_matrix(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Give both positional encodings the checkpoint's matrix (recipe section 8).

    Files hold it once (Meta's) or twice (the hub's); a copy that is left out would be filled
    with random numbers on loading.

    Raises:
        CheckpointError: neither copy is there, or the two differ.
    """
    copies = [state[name] for name in (PROMPT_MATRIX, IMAGE_MATRIX) if name in state]
    if not copies:
        raise CheckpointError(f"{where} lacks the weight {PROMPT_MATRIX}. Download it again.")
    if not torch.equal(copies[0], copies[-1]):
        raise CheckpointError(
            f"{where}: {PROMPT_MATRIX} and {IMAGE_MATRIX} differ, though points and image must be"
            " encoded alike. The model was saved or trained wrongly: write it again."
        )
    return {**state, PROMPT_MATRIX: copies[0], IMAGE_MATRIX: copies[0].clone()}


def infer_config(
    state: Mapping[str, Tensor], where: str, traits: HieraTraits | None = None
) -> Sam2Config:
    """The architecture of a SAM 2 checkpoint, from its tensors' shapes.

    Args:
        state: tensors by the hub's names.
        where: the file, for errors.
        traits: what shapes do not show; None looks up the published sizes.

    Raises:
        CheckpointError: a tensor that tells the architecture is missing, or it is none of the
            published sizes and `traits` is not given.
    """
    try:
        return _infer(state, where, traits)
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{where} lacks weights of SAM 2 that tell its size ({error}): the file is incomplete,"
            " download it again."
        ) from error


def _infer(state: Mapping[str, Tensor], where: str, traits: HieraTraits | None) -> Sam2Config:
    channels, blocks = _stages(state)
    traits = traits or PUBLISHED.get((channels[0], blocks))
    if traits is None:
        sizes = "; ".join(f"{dim} channels, blocks {stages}" for dim, stages in PUBLISHED)
        raise CheckpointError(
            f"{where} is a SAM 2 of {channels[0]} channels and blocks {blocks}, none of the"
            f" published sizes ({sizes}). Save it in the hub's format with its config.json and give"
            " that folder."
        )
    first_block = _BACKBONE + "blocks.0."
    hidden = state["mask_decoder.iou_token.weight"].shape[1]
    layer = "mask_decoder.transformer.layers.0."
    side = traits.image_size
    backbone = Sam2HieraDetConfig(
        hidden_size=channels[0],
        image_size=[side, side],
        window_positional_embedding_background_size=list(state[_BACKBONE + "pos_embed"].shape[2:]),
        blocks_per_stage=list(blocks),
        embed_dim_per_stage=list(channels),
        num_attention_heads_per_stage=[traits.heads * 2**i for i in range(len(blocks))],
        num_query_pool_stages=len(blocks) - 1,
        window_size_per_stage=list(traits.windows),
        global_attention_blocks=list(traits.global_blocks),
        mlp_ratio=state[first_block + "mlp.proj_in.weight"].shape[0] / channels[0],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=list(reversed(channels)),
        backbone_feature_sizes=[[side // stride, side // stride] for stride in (4, 8, 16)],
        fpn_hidden_size=state["vision_encoder.neck.convs.0.weight"].shape[0],
    )
    prompt = {
        "hidden_size": hidden,
        "image_size": side,
        "mask_input_channels": state["prompt_encoder.mask_embed.conv3.weight"].shape[1],
        "num_point_embeddings": state["prompt_encoder.point_embed.weight"].shape[0],
    }
    narrow = state[layer + "cross_attn_token_to_image.q_proj.weight"].shape[0]
    decoder = {
        "hidden_size": hidden,
        "mlp_dim": state[layer + "mlp.proj_in.weight"].shape[0],
        "num_attention_heads": traits.decoder_heads,
        "attention_downsample_rate": hidden // narrow,
        "num_multimask_outputs": state["mask_decoder.mask_tokens.weight"].shape[0] - 1,
        "iou_head_hidden_dim": state["mask_decoder.iou_prediction_head.proj_in.weight"].shape[0],
    }
    return Sam2Config(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder
    )


def _stages(state: Mapping[str, Tensor]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Channels and number of blocks of each stage; a block that widens begins a new one."""
    channels: list[int] = []
    blocks: list[int] = []
    index = 0
    while (out := state.get(f"{_BACKBONE}blocks.{index}.attn.proj.weight")) is not None:
        if not channels or out.shape[0] != channels[-1]:
            channels.append(out.shape[0])
            blocks.append(0)
        blocks[-1] += 1
        index += 1
    if not channels:
        raise KeyError(f"{_BACKBONE}blocks.0.attn.proj.weight")
    return tuple(channels), tuple(blocks)


def config_from_hub(config: Mapping[str, Any], where: str) -> Sam2Config:
    """The image model's configuration from a hub folder's `config.json`.

    Meta's folders describe the video model (`model_type` "sam2_video"); its three parts that the
    image model has too are the same.

    Raises:
        CheckpointError: the file describes another architecture or no valid one.
    """
    parts = {"vision_config": _VISION, "prompt_encoder_config": _PROMPT_ENCODER}
    parts["mask_decoder_config"] = _MASK_DECODER
    vision, prompt, decoder = (
        checked_fields(config.get(part), rules, "SAM 2", where, part)
        for part, rules in parts.items()
    )
    name = "vision_config.backbone_config"
    backbone = checked_fields(
        config["vision_config"].get("backbone_config"), _BACKBONE_FIELDS, "SAM 2", where, name
    )
    try:
        found = Sam2Config(
            vision_config=Sam2VisionConfig(
                backbone_config=Sam2HieraDetConfig(**backbone), **vision
            ),
            prompt_encoder_config=prompt,
            mask_decoder_config=decoder,
        )
    # transformers checks each field and raises its own kinds of error.
    except Exception as error:
        raise refusal("SAM 2", where, str(error)) from error
    if problem := _contradiction(found):
        raise refusal("SAM 2", where, problem)
    return found


def _contradiction(config: Any) -> str:
    """Description of two contradictory fields; empty if there are none."""
    backbone, vision = config.vision_config.backbone_config, config.vision_config
    side = config.prompt_encoder_config.image_size
    sizes = [[side // stride, side // stride] for stride in (4, 8, 16)]
    stages = len(backbone.blocks_per_stage)
    if backbone.image_size != [side, side] or side % 32:
        return f"the image sizes {backbone.image_size} and {side} are no two equal multiples of 32"
    if vision.backbone_feature_sizes != sizes:
        return f"backbone_feature_sizes must be {sizes} for images of {side} pixels"
    for field in ("embed_dim_per_stage", "num_attention_heads_per_stage", "window_size_per_stage"):
        if len(getattr(backbone, field)) != stages:
            return f"{field} and blocks_per_stage have different lengths"
    if list(reversed(vision.backbone_channel_list)) != backbone.embed_dim_per_stage:
        return "backbone_channel_list is not embed_dim_per_stage reversed"
    return ""
