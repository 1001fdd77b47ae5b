import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    Sam2Model,
)

from ntt_plugin.engine.networks.checkpoints import load_encoder, load_segmenter
from ntt_plugin.errors import CheckpointError
from tests.engine.networks.weight_files import configure, rewrite, save


@pytest.mark.parametrize("load", [load_segmenter, load_encoder])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere/at/all.pt", "no file or folder"),
        ("missing.pth", "no file or folder"),
        ("./missing", "no file or folder"),
        ("../missing", "no file or folder"),
        ("sam3", "hub id such as"),
        ("", "hub id such as"),
    ],
)
def test_an_unknown_name_lists_what_can_be_given(load: Any, name: str, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        load(name)


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(CheckpointError, match="Did you mean facebook/sam2-hiera-large"):
        load_segmenter("sam2-hiera-large")


def test_a_folder_without_config_is_refused(sam2_folder: Path) -> None:
    (sam2_folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        load_segmenter(sam2_folder)


def test_a_folder_without_safetensors_is_refused(sam2_folder: Path) -> None:
    (sam2_folder / "model.safetensors").rename(sam2_folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="Only safetensors"):
        load_segmenter(sam2_folder)


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_config_that_is_no_json_object_is_refused(text: str, sam2_folder: Path) -> None:
    (sam2_folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_segmenter(sam2_folder)


@pytest.mark.parametrize("width", ["wide", -8])
def test_a_config_with_nonsense_in_it_is_refused(width: Any, dinov2_folder: Path) -> None:
    configure(dinov2_folder, hidden_size=width)
    with pytest.raises(CheckpointError, match=r"does not describe a DINOv2|can be built|not fit"):
        load_encoder(dinov2_folder)


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, 0.999])
def test_a_truncated_safetensors_file_is_refused(kept: float, dinov2_folder: Path) -> None:
    path = dinov2_folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if 0 < kept < 1 else int(kept)])
    with pytest.raises(CheckpointError, match=r"model\.safetensors (cannot be read|is empty)"):
        load_encoder(dinov2_folder)


def test_a_missing_shard_is_named(sam2_model: Sam2Model, tmp_path: Path) -> None:
    sam2_model.save_pretrained(tmp_path, max_shard_size="100KB")
    shard = sorted(tmp_path.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(CheckpointError, match=f"{shard.name} is missing"):
        load_segmenter(tmp_path)


def test_an_index_that_points_outside_its_folder_is_refused(dinov2_folder: Path) -> None:
    (dinov2_folder / "model.safetensors").unlink()
    index = {"weight_map": {"layernorm.bias": "../elsewhere.safetensors"}}
    (dinov2_folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="not a file of its own folder"):
        load_encoder(dinov2_folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("layernorm.bias"), "lacks layernorm.bias"),
        (lambda s: s.update(stranger=torch.zeros(3)), "has no place for stranger"),
        (lambda s: s.update({"layernorm.bias": torch.zeros(3)}), "another shape for layernorm"),
        (lambda s: s["layernorm.bias"].fill_(float("nan")), "layernorm.bias holds values"),
    ],
)
def test_a_folder_whose_weights_do_not_fit_is_refused(
    change: Any, said: str, dinov2_folder: Path
) -> None:
    rewrite(dinov2_folder, change)
    with pytest.raises(CheckpointError, match=said):
        load_encoder(dinov2_folder)


def test_folders_in_each_others_place_are_refused(sam2_folder: Path, dinov2_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="'sam2', and a DINOv2 encoder is needed"):
        load_encoder(sam2_folder)
    with pytest.raises(CheckpointError, match="'dinov2', and a SAM 2 segmenter is needed"):
        load_segmenter(dinov2_folder)


def test_a_file_inside_a_folder_is_answered_with_give_the_folder(sam2_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="give the folder"):
        load_segmenter(sam2_folder / "model.safetensors")


def test_metas_files_in_each_others_place_are_refused(
    metas_dinov2: dict[str, Tensor], tmp_path: Path
) -> None:
    dino = save(metas_dinov2, tmp_path / "dino.pth")
    sam2 = save({"model": {"image_encoder.trunk.pos_embed": torch.zeros(1)}}, tmp_path / "sam2.pt")
    with pytest.raises(CheckpointError, match="is DINOv2, and a SAM 2 network is needed"):
        load_segmenter(dino)
    with pytest.raises(CheckpointError, match="is SAM 2, and a DINOv2 network is needed"):
        load_encoder(sam2)


@pytest.mark.parametrize("damaged", ["pos_embed", "blocks.0.mlp.fc1.weight"])
def test_a_dinov2_file_with_a_tensor_of_another_rank_is_refused(
    damaged: str, tmp_path: Path
) -> None:
    state = {
        "cls_token": torch.zeros(1, 1, 64),
        "patch_embed.proj.weight": torch.zeros(64, 3, 14, 14),
        "pos_embed": torch.zeros(1, 10, 64),
        "blocks.0.mlp.fc1.weight": torch.zeros(256, 64),
        damaged: torch.zeros(()),
    }
    with pytest.raises(CheckpointError, match="tell its size"):
        load_encoder(save(state, tmp_path / "dinov2.pth"))


def test_a_sam2_file_whose_point_embeddings_differ_is_refused(tmp_path: Path) -> None:
    state = {
        f"sam_prompt_encoder.point_embeddings.{i}.weight": torch.zeros(1, 3 + i) for i in range(4)
    }
    state["image_encoder.trunk.pos_embed"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match="point embeddings differ"):
        load_segmenter(save(state, tmp_path / "sam.pt"))


def test_a_sam1_file_is_named(tmp_path: Path) -> None:
    sam1 = {"image_encoder.patch_embed.proj.weight": torch.zeros(4, 3, 16, 16)}
    with pytest.raises(CheckpointError, match="is SAM 1, and a SAM 2"):
        load_segmenter(save(sam1, tmp_path / "sam_vit_b.pth"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("blocks.1.ls2.gamma"), "lacks encoder.layer.1.layer_scale2"),
        (lambda s: s.update({"head.weight": torch.zeros(2)}), "no place for: head.weight"),
        (lambda s: s.update({"norm.bias": torch.zeros(3)}), "another shape for layernorm.bias"),
        (lambda s: s.update({"blocks.0.attn.qkv.bias": torch.zeros(4)}), "attn.qkv.bias"),
        (lambda s: s.update({"pos_embed": torch.zeros(1, 12, 64)}), "fit no DINOv2"),
        (lambda s: s.pop("pos_embed"), "position_embeddings"),
    ],
)
def test_metas_keys_are_all_accounted_for(
    change: Any, said: str, metas_dinov2: dict[str, Tensor], tmp_path: Path
) -> None:
    state = metas_dinov2
    change(state)
    with pytest.raises(CheckpointError, match=said):
        load_encoder(save(state, tmp_path / "dino.pth"))


def test_a_sam2_file_cut_down_to_one_key_is_refused(tmp_path: Path) -> None:
    state = {"image_encoder.trunk.pos_embed": torch.zeros(1, 8, 7, 7)}
    with pytest.raises(CheckpointError, match="lacks weights"):
        load_segmenter(save({"model": state}, tmp_path / "sam2.pt"))


@pytest.mark.parametrize("kept", [0, 10, 0.3, 0.95])
def test_a_truncated_file_of_metas_is_refused(
    kept: float, metas_dinov2: dict[str, Tensor], tmp_path: Path
) -> None:
    path = save(metas_dinov2, tmp_path / "dino.pth")
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if 0 < kept < 1 else int(kept)])
    with pytest.raises(CheckpointError, match=r"is empty|truncated or damaged"):
        load_encoder(path)


class Payload:
    """What a foreign pickle would run when it is opened."""

    ran = False

    def __reduce__(self) -> Any:
        return (setattr, (Payload, "ran", True))


@pytest.mark.parametrize("by_torch", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(by_torch: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    content = {"model": {"cls_token": Payload()}}
    if by_torch:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(CheckpointError, match="would run code"):
        load_encoder(path)
    assert not Payload.ran


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "no dictionary of weights"),
        ({}, "no dictionary of weights"),
        ({"cls_token": torch.zeros(1), "epoch": 3}, "no tensors: epoch"),
        ({"model": {"a": torch.zeros(1)}, "teacher": {}}, "more than a network.*teacher"),
    ],
)
def test_a_file_with_anything_but_weights_is_refused(
    content: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=said):
        load_encoder(save(content, tmp_path / "weights.pt"))
