import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    Sam2Model,
    Sam2VideoConfig,
    Sam2VideoMaskDecoderConfig,
    Sam2VideoModel,
    Sam2VideoPromptEncoderConfig,
)

from ntt_plugin.engine.networks.checkpoints import LoadedModel, load_encoder, load_segmenter
from ntt_plugin.errors import CheckpointError
from tests.engine.networks.weight_files import configure, rewrite, save


def same_weights(loaded: LoadedModel, expected: torch.nn.Module) -> bool:
    ours, theirs = loaded.model.state_dict(), expected.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in theirs)


# ---- folders in the hub's format


def test_a_sam2_folder_keeps_every_weight(sam2_folder: Path, sam2_model: Sam2Model) -> None:
    assert same_weights(load_segmenter(sam2_folder), sam2_model)


def test_a_loaded_network_is_ready_to_run(dinov2_folder: Path) -> None:
    loaded = load_encoder(str(dinov2_folder))
    assert loaded.name == str(dinov2_folder)
    assert isinstance(loaded.model, Dinov2Model) and not loaded.model.training
    for parameter in loaded.model.parameters():
        assert parameter.dtype == torch.float32 and not parameter.requires_grad
        assert parameter.device.type == "cpu"


def test_float16_on_disk_is_float32_in_memory(dinov2_folder: Path) -> None:
    full = load_file(dinov2_folder / "model.safetensors")
    rewrite(dinov2_folder, lambda s: s.update({k: v.half() for k, v in s.items()}))
    configure(dinov2_folder, dtype="float16")
    norm = load_encoder(dinov2_folder).model.state_dict()["embeddings.cls_token"]
    assert norm.dtype == torch.float32
    assert torch.equal(norm, full["embeddings.cls_token"].half().float())


def test_a_sharded_folder_equals_the_whole_one(sam2_model: Sam2Model, tmp_path: Path) -> None:
    sam2_model.save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    assert (tmp_path / "shards" / "model.safetensors.index.json").is_file()
    assert same_weights(load_segmenter(tmp_path / "shards"), sam2_model)


def test_a_folder_with_registers_gives_the_model_with_registers(tmp_path: Path) -> None:
    config = Dinov2WithRegistersConfig(
        hidden_size=64, num_hidden_layers=1, num_attention_heads=1, image_size=42
    )
    model = Dinov2WithRegistersModel(config)
    model.save_pretrained(tmp_path)
    loaded = load_encoder(tmp_path)
    assert isinstance(loaded.model, Dinov2WithRegistersModel) and same_weights(loaded, model)


def test_metas_hub_folders_describe_the_video_model(
    sam2_parts: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config = Sam2VideoConfig(
        vision_config=sam2_parts["vision_config"],
        prompt_encoder_config=Sam2VideoPromptEncoderConfig(**sam2_parts["prompt_encoder_config"]),
        mask_decoder_config=Sam2VideoMaskDecoderConfig(**sam2_parts["mask_decoder_config"]),
        memory_attention_hidden_size=16,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=16,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=16,
        memory_encoder_output_channels=8,
        mask_downsampler_embed_dim=16,
        memory_fuser_embed_dim=16,
        memory_fuser_intermediate_dim=16,
    )
    video = Sam2VideoModel(config)
    video.prompt_encoder.shared_embedding.positional_embedding.copy_(
        video.shared_image_embedding.positional_embedding
    )
    video.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "sam2_video"
    loaded = load_segmenter(tmp_path).model
    theirs = video.state_dict()
    assert isinstance(loaded, Sam2Model)
    assert loaded.config.vision_config.backbone_config.embed_dim_per_stage == [8, 16, 32, 64]
    assert all(torch.equal(v, theirs[k]) for k, v in loaded.state_dict().items())


IMAGE = "shared_image_embedding.positional_embedding"
PROMPT = "prompt_encoder.shared_embedding.positional_embedding"


@pytest.mark.parametrize("left_out", [IMAGE, PROMPT])
def test_both_positional_matrices_hold_the_files(
    left_out: str, sam2_folder: Path, sam2_model: Sam2Model
) -> None:
    expected = sam2_model.shared_image_embedding.positional_embedding
    rewrite(sam2_folder, lambda state: state.pop(left_out))
    loaded = load_segmenter(sam2_folder).model
    assert torch.equal(loaded.shared_image_embedding.positional_embedding, expected)
    assert torch.equal(loaded.prompt_encoder.shared_embedding.positional_embedding, expected)


def test_two_different_positional_matrices_are_refused(sam2_folder: Path) -> None:
    rewrite(sam2_folder, lambda state: state[IMAGE].add_(1))
    with pytest.raises(CheckpointError, match="differ"):
        load_segmenter(sam2_folder)


def test_tiny_is_bundled() -> None:
    assert isinstance(load_segmenter("tiny").model, Sam2Model)
    assert isinstance(load_encoder("tiny").model, Dinov2Model | Dinov2WithRegistersModel)


# ---- digests


def test_the_digest_does_not_depend_on_the_format(
    metas_dinov2: dict[str, Tensor], tmp_path: Path
) -> None:
    from_meta = load_encoder(save(metas_dinov2, tmp_path / "dinov2.pth"))
    from_meta.model.save_pretrained(tmp_path / "folder")
    assert load_encoder(tmp_path / "folder").digest == from_meta.digest


def test_the_digest_tells_one_changed_weight(dinov2_folder: Path) -> None:
    before = load_encoder(dinov2_folder).digest
    rewrite(dinov2_folder, lambda state: state["layernorm.bias"][3].add_(1e-6))
    assert load_encoder(dinov2_folder).digest != before
