"""Networks from a stranger: refused at once, in our words, whatever their files ask for."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ntt_plugin.engine.networks.checkpoints import load_encoder, load_segmenter
from ntt_plugin.errors import CheckpointError
from tests.engine.networks.weight_files import configure, save

DEEP = "[" * 100_000


def put(config: dict[str, Any], path: str, value: Any) -> None:
    *sections, field = path.split(".")
    for section in sections:
        config = config[section]
    config[field] = value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_hidden_layers", 10_000_000),
        ("num_hidden_layers", -1),
        ("num_hidden_layers", True),
        ("num_hidden_layers", "12"),
        ("num_hidden_layers", [12]),
        ("num_hidden_layers", 10**400),
        ("hidden_size", 10**9),
        ("num_attention_heads", 0),
        ("num_register_tokens", 10**9),
        ("image_size", 10**9),
        ("image_size", [10**9, 10**9]),
        ("patch_size", 0),
        ("mlp_ratio", float("inf")),
        ("layer_norm_eps", float("nan")),
        ("layer_norm_eps", 10**400),
        ("hidden_act", "no such activation"),
        ("hidden_act", ["gelu"]),
        ("hidden_act", json.loads("[" * 500 + "]" * 500)),
    ],
)
def test_an_impossible_value_of_an_encoder_is_named(
    field: str, value: Any, dinov2_folder: Path
) -> None:
    configure(dinov2_folder, **{field: value})
    with pytest.raises(CheckpointError, match=rf"config\.json does not describe.*{field} is"):
        load_encoder(dinov2_folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("vision_config.backbone_config.blocks_per_stage", [1, 1, 10_000_000, 1]),
        ("vision_config.backbone_config.blocks_per_stage", [1] * 1000),
        ("vision_config.backbone_config.blocks_per_stage", "1234"),
        ("vision_config.backbone_config.embed_dim_per_stage", [8, 16, 32]),
        ("vision_config.backbone_config.window_size_per_stage", [0, 4, 4, 4]),
        ("vision_config.backbone_config.image_size", [4096, 4096]),
        ("vision_config.backbone_config.patch_stride", [0, 0]),
        ("vision_config.backbone_config", [1]),
        ("vision_config.backbone_feature_sizes", [[16, 16], [8, 8], [1, 1]]),
        ("vision_config.backbone_channel_list", [8, 16, 32, 64]),
        ("vision_config.num_feature_levels", 10_000_000),
        ("vision_config", []),
        ("prompt_encoder_config.image_size", 10**9),
        ("prompt_encoder_config.num_point_embeddings", 10**9),
        ("prompt_encoder_config", "text"),
        ("mask_decoder_config.num_hidden_layers", 10_000_000),
        ("mask_decoder_config.num_multimask_outputs", 10_000_000),
        ("mask_decoder_config.iou_head_depth", 10_000_000),
        ("mask_decoder_config.attention_downsample_rate", 0),
        ("mask_decoder_config.dynamic_multimask_stability_thresh", float("nan")),
        ("mask_decoder_config", None),
    ],
)
def test_an_impossible_value_of_a_segmenter_is_named(
    path: str, value: Any, sam2_folder: Path
) -> None:
    config = json.loads((sam2_folder / "config.json").read_text())
    put(config, path, value)
    (sam2_folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"config\.json does not describe a SAM 2"):
        load_segmenter(sam2_folder)


def test_a_network_far_larger_than_its_weights_is_not_built(dinov2_folder: Path) -> None:
    configure(dinov2_folder, hidden_size=8192, num_hidden_layers=200, num_attention_heads=64)
    with pytest.raises(CheckpointError, match=r"a network of .* weights, and its files"):
        load_encoder(dinov2_folder)


def test_fields_that_choose_foreign_code_are_not_read(dinov2_folder: Path) -> None:
    plain = load_encoder(dinov2_folder)
    foreign = {
        "attn_implementation": "someone/kernel",
        "_attn_implementation": "someone/kernel",
        "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True},
        "auto_map": {"AutoModel": "modeling.Model"},
        "return_dict": False,
        "out_features": ["no such stage"],
        "torch_dtype": "no such type",
    }
    configure(dinov2_folder, **foreign)
    loaded = load_encoder(dinov2_folder)
    assert loaded.digest == plain.digest
    assert loaded.model.config.to_dict() == plain.model.config.to_dict()


def deep_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"a": ' + DEEP)


def large_config(folder: Path) -> None:
    os.truncate(folder / "config.json", 2**40)


def deep_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": ' + DEEP)


def many_shards(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {str(number): f"{number}.safetensors" for number in range(5000)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def large_weights(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 2**40)


def header(text: str, length: int | None = None) -> Callable[[Path], None]:
    data = text.encode()

    def write(folder: Path) -> None:
        count = len(data) if length is None else length
        (folder / "model.safetensors").write_bytes(count.to_bytes(8, "little") + data + bytes(64))

    return write


def entry(shape: str) -> str:
    return f'{{"x": {{"dtype": "F32", "shape": {shape}, "data_offsets": [0, 64]}}}}'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (deep_config, r"config\.json is nested too deeply"),
        (large_config, r"config\.json has 1,099,511,627,776 bytes"),
        (deep_index, r"index\.json is nested too deeply"),
        (many_shards, "names 5,000 files"),
        (large_weights, "has 1,100 GB"),
        (header("{", 2**62), "its header would have"),
        (header('{"a": ' + DEEP), "truncated or damaged"),
        (header(entry("[1000000, 1000000]")), "more weights than the file can hold"),
        (header(entry("[-4, -4]")), "truncated or damaged"),
        (header(entry('["a"]')), "truncated or damaged"),
        (header(entry("[1e300, 4]")), "truncated or damaged"),
        (header("[1, 2]"), "truncated or damaged"),
        (header('{"x": 3}'), "truncated or damaged"),
    ],
)
def test_files_that_lie_about_their_size_are_refused_unread(
    change: Callable[[Path], None], said: str, dinov2_folder: Path
) -> None:
    change(dinov2_folder)
    with pytest.raises(CheckpointError, match=said):
        load_encoder(dinov2_folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "shard"])
def test_nothing_waits_for_a_pipe_in_a_folder(name: str, dinov2_folder: Path) -> None:
    if name == "shard":
        (dinov2_folder / "model.safetensors").unlink()
        index = {"weight_map": {"x": "shard"}}
        (dinov2_folder / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        (dinov2_folder / name).unlink()
    os.mkfifo(dinov2_folder / name)
    with pytest.raises(CheckpointError, match=r"has no (config|model)|is no file but"):
        load_encoder(dinov2_folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
def test_nothing_waits_for_a_pipe_or_a_device_in_place_of_metas_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights.pt")
    (tmp_path / "device.pt").symlink_to("/dev/zero")
    for name in ("weights.pt", "device.pt"):
        with pytest.raises(CheckpointError, match="but a pipe or a device"):
            load_encoder(tmp_path / name)


@pytest.mark.parametrize("name", ["a/" * 5000, "x" * 300, "~no_such_user_here/x.pt"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="no name that a file can have"):
        load_encoder(name)


def test_a_compressed_archive_is_not_unpacked(tmp_path: Path) -> None:
    plain, packed = save({"x": torch.zeros(10**6)}, tmp_path / "plain.pt"), tmp_path / "packed.pt"
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            new.writestr(item.filename, old.read(item))
    with pytest.raises(CheckpointError, match="is a compressed archive"):
        load_encoder(packed)


def test_a_sparse_file_of_metas_is_not_read(tmp_path: Path) -> None:
    path = save({"x": torch.zeros(3)}, tmp_path / "weights.pt")
    os.truncate(path, 2**40)
    with pytest.raises(CheckpointError, match="has 1,100 GB"):
        load_encoder(path)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.zeros(1).expand(10**6, 10**6), "claims more weights"),
        (torch.zeros(4, 4).to_sparse(), "no tensors: x"),
        (torch.zeros(10**6, 10**6, device="meta"), "no tensors: x"),
    ],
)
def test_tensors_that_are_not_in_the_file_are_refused(
    tensor: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=said):
        load_encoder(save({"x": tensor}, tmp_path / "weights.pt"))


def test_memory_that_runs_out_is_no_damage(
    dinov2_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> Any:
        raise MemoryError

    monkeypatch.setattr("ntt_plugin.engine.networks.weights.load_file", fail)
    with pytest.raises(CheckpointError, match="not enough memory to read"):
        load_encoder(dinov2_folder)
