"""Small networks on disk, in the hub's format and in Meta's, for the tests of checkpoints."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2Model,
    Sam2VisionConfig,
)

from ntt_plugin.engine import Recipe, Segmenter

WIDTH = 64


@pytest.fixture(scope="session")
def sam2_parts() -> dict[str, Any]:
    """The sections that the configurations of SAM 2's image and video models share."""
    hiera = Sam2HieraDetConfig(
        hidden_size=8,
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        blocks_per_stage=[1, 1, 2, 1],
        window_size_per_stage=[4, 4, 4, 4],
        global_attention_blocks=[3],
        image_size=[64, 64],
    )
    return {
        "vision_config": Sam2VisionConfig(
            backbone_config=hiera,
            backbone_channel_list=[64, 32, 16, 8],
            backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
            fpn_hidden_size=16,
        ),
        "prompt_encoder_config": {"hidden_size": 16, "image_size": 64},
        "mask_decoder_config": {
            "hidden_size": 16,
            "num_attention_heads": 2,
            "mlp_dim": 32,
            "iou_head_hidden_dim": 16,
        },
    }


@pytest.fixture(scope="session")
def sam2_model(sam2_parts: dict[str, Any]) -> Sam2Model:
    torch.manual_seed(0)
    model = Sam2Model(Sam2Config(**sam2_parts))
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(
        model.shared_image_embedding.positional_embedding
    )
    return model


@pytest.fixture
def sam2_folder(sam2_model: Sam2Model, tmp_path: Path) -> Path:
    sam2_model.save_pretrained(tmp_path / "sam2")
    return tmp_path / "sam2"


@pytest.fixture
def dinov2_folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=1, image_size=42, patch_size=14
    )
    Dinov2Model(config).save_pretrained(tmp_path / "dinov2")
    return tmp_path / "dinov2"


@pytest.fixture
def metas_dinov2() -> dict[str, Tensor]:
    """Random weights by the names and shapes of Meta's DINOv2 files, with one head of 64."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 10, WIDTH),
        "mask_token": (1, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, 14, 14),
        "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
    }
    for i in range(2):
        for name, rows, columns in (
            ("attn.qkv", 3 * WIDTH, WIDTH),
            ("attn.proj", WIDTH, WIDTH),
            ("mlp.fc1", 4 * WIDTH, WIDTH),
            ("mlp.fc2", WIDTH, 4 * WIDTH),
        ):
            shapes[f"blocks.{i}.{name}.weight"] = (rows, columns)
            shapes[f"blocks.{i}.{name}.bias"] = (rows,)
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            shapes[f"blocks.{i}.{name}"] = (WIDTH,)
        shapes[f"blocks.{i}.ls1.gamma"] = shapes[f"blocks.{i}.ls2.gamma"] = (WIDTH,)
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture
def segmenter(sam2_folder: Path, dinov2_folder: Path) -> Segmenter:
    recipe = Recipe(
        name="small",
        segmenter=str(sam2_folder),
        encoder=str(dinov2_folder),
        encoder_size=42,
        grid=4,
        iou_threshold=0.0,
    )
    return Segmenter.from_preset(recipe, device="cpu")
