"""DINOv2: Meta's key names -> the hub's, and the architecture read from the shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import Dinov2Config, Dinov2WithRegistersConfig

from ...errors import CheckpointError
from ..rules import real, whole
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

_WB = r"\.(weight|bias)"
_BLOCK, _LAYER = r"blocks\.(\d+)\.", r"encoder.layer.\1."

_RULES: tuple[Renaming, ...] = (
    (r"(cls_token|mask_token|register_tokens)", r"embeddings.\1"),
    (r"pos_embed", "embeddings.position_embeddings"),
    (r"patch_embed\.proj" + _WB, r"embeddings.patch_embeddings.projection.\1"),
    (_BLOCK + r"(norm[12]|mlp\.fc[12])" + _WB, _LAYER + r"\2.\3"),
    (_BLOCK + r"attn\.proj" + _WB, _LAYER + r"attention.output.dense.\2"),
    (_BLOCK + r"attn\.(query|key|value)" + _WB, _LAYER + r"attention.attention.\2.\3"),
    (_BLOCK + r"ls([12])\.gamma", _LAYER + r"layer_scale\2.lambda1"),
    (_BLOCK + r"mlp\.w12" + _WB, _LAYER + r"mlp.weights_in.\2"),
    (_BLOCK + r"mlp\.w3" + _WB, _LAYER + r"mlp.weights_out.\2"),
    (r"norm" + _WB, r"layernorm.\1"),
)

_FIELDS: Rules = {
    "hidden_size": WIDTH,
    "num_hidden_layers": whole(1, 256),
    "num_attention_heads": whole(1, 256),
    "mlp_ratio": whole(1, 64),
    "hidden_act": ACTIVATION,
    "hidden_dropout_prob": SHARE,
    "attention_probs_dropout_prob": SHARE,
    "layer_norm_eps": EPSILON,
    "image_size": SIDE,
    "patch_size": whole(1, 256),
    "num_channels": whole(3, 3),
    "qkv_bias": FLAG,
    "layerscale_value": real(-1e6, 1e6),
    "drop_path_rate": SHARE,
    "use_swiglu_ffn": FLAG,
    "use_mask_token": FLAG,
    "num_register_tokens": whole(0, 1024),
}

# Every published DINOv2 has attention heads of 64 channels, which no shape shows.
_HEAD_CHANNELS = 64


def from_meta(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Meta's DINOv2 weights by the hub's names, the fused qkv split in three.

    Raises:
        CheckpointError: a key is unknown.
    """
    split: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if ".attn.qkv." not in key or tensor.ndim == 0 or tensor.shape[0] % 3:
            split[key] = tensor
            continue
        for part, rows in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            split[key.replace("qkv", part)] = rows
    return rename(split, _RULES, (), where)


def infer_config(
    state: Mapping[str, Tensor], where: str, heads: int | None = None
) -> Dinov2Config | Dinov2WithRegistersConfig:
    """The architecture of a DINOv2 checkpoint, from its tensors' shapes.

    Args:
        state: tensors by the hub's names.
        where: the file, for errors.
        heads: attention heads; None takes heads of 64 channels, as in every published size.

    Raises:
        CheckpointError: a tensor that tells the architecture is missing, or the shapes fit no
            DINOv2.
    """
    layer = "encoder.layer.0."
    try:
        width, _, patch, _ = state["embeddings.patch_embeddings.projection.weight"].shape
        positions = state["embeddings.position_embeddings"].shape[1] - 1
        swiglu = layer + "mlp.weights_in.weight" in state
        wide = state[layer + ("mlp.weights_in.weight" if swiglu else "mlp.fc1.weight")].shape[0]
    except (KeyError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"{where} lacks weights of DINOv2 that tell its size ({error}): the file is incomplete,"
            " download it again."
        ) from error
    grid = math.isqrt(positions)
    heads = heads or width // _HEAD_CHANNELS
    ratio = _swiglu_ratio(width, wide // 2) if swiglu else wide // width
    if grid * grid != positions or heads == 0 or width % heads:
        raise CheckpointError(
            f"{where}: {positions} positions and {width} channels fit no DINOv2."
            " Save it in the hub's format with its config.json and give that folder."
        )
    common: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": 1 + max(_layer_of(key) for key in state),
        "num_attention_heads": heads,
        "mlp_ratio": ratio,
        "image_size": grid * patch,
        "patch_size": patch,
        "qkv_bias": layer + "attention.attention.query.bias" in state,
        "use_swiglu_ffn": swiglu,
    }
    registers = state.get("embeddings.register_tokens")
    if registers is None:
        return Dinov2Config(**common)
    return Dinov2WithRegistersConfig(num_register_tokens=registers.shape[1], **common)


def config_from_hub(
    config: Mapping[str, Any], where: str
) -> Dinov2Config | Dinov2WithRegistersConfig:
    """The configuration from a hub folder's `config.json`.

    Raises:
        CheckpointError: the file describes no valid DINOv2.
    """
    registers = config["model_type"] == "dinov2_with_registers"
    fields = checked_fields(config, _FIELDS, "DINOv2", where)
    try:
        return Dinov2WithRegistersConfig(**fields) if registers else Dinov2Config(**fields)
    # transformers checks each field and raises its own kinds of error.
    except Exception as error:
        raise refusal("DINOv2", where, str(error)) from error


def _layer_of(key: str) -> int:
    return int(key.split(".")[2]) if key.startswith("encoder.layer.") else -1


def _swiglu_ratio(width: int, hidden: int) -> int:
    """The MLP ratio whose two thirds, rounded up to a multiple of 8, give `hidden`; 0 if none."""
    for ratio in range(1, 17):
        if (int(width * ratio * 2 / 3) + 7) // 8 * 8 == hidden:
            return ratio
    return 0
