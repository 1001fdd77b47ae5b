"""Our SAM 2 against Meta's own code: the same weights, written as Meta's file and loaded by ours.

The PyPI package `sam2` is installed for the tests without its dependencies. Of it, `sam2.modeling`
is used, which needs no torchvision; it imports hydra (to find YAML files, not used here) and iopath
(to open files on Meta's storage, not used either): where they are missing, stand-ins serve.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import Sam2Model

from ntt_plugin.engine.networks import convert_sam2
from ntt_plugin.engine.networks.checkpoints import load_segmenter
from ntt_plugin.engine.networks.convert_sam2 import HieraTraits
from ntt_plugin.engine.networks.mask_proposer import MaskProposer

Close = Callable[..., None]

VERSIONS = ("2.0", "2.1")
TRAITS = HieraTraits(heads=1, windows=(8, 4, 4, 4), global_blocks=(2,), image_size=128)
SMALL = {
    "embed_dim": 16,
    "num_heads": 1,
    "stages": (1, 2, 2, 1),
    "window_spec": (8, 4, 4, 4),
    "global_att_blocks": (2,),
    "window_pos_embed_bkg_spatial_size": (7, 7),
}
# Meta's YAML files, word for word (`sam2/configs`); the same in 2.0 and 2.1.
PUBLISHED = {
    "tiny": {
        "embed_dim": 96,
        "num_heads": 1,
        "stages": (1, 2, 7, 2),
        "global_att_blocks": (5, 7, 9),
        "window_pos_embed_bkg_spatial_size": (7, 7),
    },
    "small": {
        "embed_dim": 96,
        "num_heads": 1,
        "stages": (1, 2, 11, 2),
        "global_att_blocks": (7, 10, 13),
        "window_pos_embed_bkg_spatial_size": (7, 7),
    },
    "base_plus": {"embed_dim": 112, "num_heads": 2},
    "large": {
        "embed_dim": 144,
        "num_heads": 2,
        "stages": (2, 6, 36, 4),
        "global_att_blocks": (23, 33, 43),
        "window_pos_embed_bkg_spatial_size": (7, 7),
        "window_spec": (8, 4, 16, 8),
    },
}


@pytest.fixture(scope="module", autouse=True)
def metas_package() -> Iterator[None]:
    if importlib.util.find_spec("sam2") is None:
        pytest.skip("Meta's sam2 is not installed: pip install --no-deps sam2 (make test does it)")
    stand_ins = {
        "hydra": ("hydra", "hydra.core", "hydra.core.global_hydra"),
        "iopath": ("iopath", "iopath.common", "iopath.common.file_io"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for package, modules in stand_ins.items():
            if importlib.util.find_spec(package) is None:
                for module in modules:
                    patch.setitem(sys.modules, module, MagicMock())
        importlib.import_module("sam2.modeling.sam2_base")
        yield


def metas_model(version: str, trunk: dict[str, Any], width: int, image_size: int) -> nn.Module:
    """Meta's `SAM2Base`, put together as its YAML files say."""
    from sam2.modeling.backbones.hieradet import Hiera
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
    from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
    from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
    from sam2.modeling.position_encoding import PositionEmbeddingSine
    from sam2.modeling.sam.transformer import RoPEAttention
    from sam2.modeling.sam2_base import SAM2Base

    attention = {"embedding_dim": width, "num_heads": 1, "downsample_rate": 1, "dropout": 0.1}
    layer = MemoryAttentionLayer(
        activation="relu",
        d_model=width,
        dim_feedforward=2048,
        dropout=0.1,
        pos_enc_at_attn=False,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        self_attention=RoPEAttention(**attention),
        cross_attention=RoPEAttention(rope_k_repeat=True, kv_in_dim=width // 4, **attention),
    )
    hiera = Hiera(**trunk)
    newer = version == "2.1"
    return SAM2Base(
        image_encoder=ImageEncoder(
            scalp=1,
            trunk=hiera,
            neck=FpnNeck(
                position_encoding=PositionEmbeddingSine(num_pos_feats=width),
                d_model=width,
                backbone_channel_list=hiera.channel_list,
                fpn_top_down_levels=[2, 3],
                fpn_interp_model="nearest",
            ),
        ),
        memory_attention=MemoryAttention(width, pos_enc_at_input=True, layer=layer, num_layers=4),
        memory_encoder=MemoryEncoder(
            in_dim=width,
            out_dim=width // 4,
            position_encoding=PositionEmbeddingSine(num_pos_feats=width // 4),
            mask_downsampler=MaskDownSampler(width, kernel_size=3, stride=2, padding=1),
            fuser=Fuser(CXBlock(width, kernel_size=7, padding=3), num_layers=2),
        ),
        image_size=image_size,
        directly_add_no_mem_embed=True,
        use_high_res_features_in_sam=True,
        iou_prediction_use_sigmoid=True,
        use_obj_ptrs_in_encoder=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        fixed_no_obj_ptr=True,
        use_multimask_token_for_obj_ptr=True,
        use_mlp_for_obj_ptr_proj=True,
        add_tpos_enc_to_obj_ptrs=newer,
        proj_tpos_enc_in_obj_ptrs=newer,
        no_obj_embed_spatial=newer,
        # As `build_sam2` adds to every YAML file.
        sam_mask_decoder_extra_args={
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        },
    ).eval()


def small_model(version: str, seed: int = 0) -> nn.Module:
    """A small network of Meta's with every weight random, none left at zero or one."""
    torch.manual_seed(seed)
    model = metas_model(version, SMALL, width=32, image_size=TRAITS.image_size)
    for name, tensor in model.state_dict().items():
        if "gaussian" not in name:
            spread = 1.0 / tensor[0].numel() ** 0.5 if tensor.ndim > 1 else 0.3
            shift = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            tensor.copy_(shift + spread * torch.randn_like(tensor))
    return model


def metas_masks(
    model: Any, image: Tensor, points: Tensor, labels: list[int], multimask: bool
) -> tuple[Tensor, Tensor]:
    """Meta's decoder on the neck's own features, without the no-memory embedding (recipe 3.3).

    Args:
        model: `SAM2Base`.
        image: (3, R, R) in [0, 1].
        points: prompts of some points each, (n, p, 2); boxes are pairs of corners.
        labels: of the p points; 1 inside, 2 and 3 a box's corners.
        multimask: three masks for each prompt, or one.

    Returns:
        Logits (n, k, m, m) and predicted IoUs (n, k).
    """
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.inference_mode():
        features = model.forward_image(((image - mean) / std)[None])["backbone_fpn"]
        sparse, dense = model.sam_prompt_encoder(
            points=(points, torch.tensor([labels]).expand(len(points), -1)), boxes=None, masks=None
        )
        logits, ious, _, _ = model.sam_mask_decoder(
            image_embeddings=features[2],
            image_pe=model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            repeat_image=True,
            high_res_features=features[:2],
        )
    return logits, ious


def loaded(model: nn.Module, folder: Path) -> MaskProposer:
    """Our proposer on a network of Meta's, by way of a file as Meta writes it."""
    torch.save({"model": model.state_dict()}, folder / "sam.pt")
    ours = load_segmenter(folder / "sam.pt", traits=TRAITS).model
    assert isinstance(ours, Sam2Model)
    return MaskProposer(ours, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("version", VERSIONS)
def test_point_masks_equal_metas(version: str, tmp_path: Path, close: Close) -> None:
    metas = small_model(version)
    image = torch.rand(3, 128, 128)
    logits, ious = loaded(metas, tmp_path).propose(image, 5, point_batch=7, iou_threshold=-1.0)
    line = [i * 127 / 4 + 0.5 for i in range(5)]
    points = torch.tensor([[[x, y]] for x in line for y in line])
    all_logits, all_ious = metas_masks(metas, image, points, [1], multimask=True)
    assert all_logits.std() > 0.1 and all_ious.std() > 0.01
    assert all_ious.sort().values.diff().min() > 1e-5  # the best of three is no draw
    close(f"SAM {version} predicted IoUs", ious, all_ious.max(dim=1).values)
    close(f"SAM {version} logits", logits, all_logits[range(25), all_ious.argmax(dim=1)])


@pytest.mark.parametrize("version", VERSIONS)
def test_box_masks_equal_metas(version: str, tmp_path: Path, close: Close) -> None:
    metas = small_model(version, seed=2)
    image = torch.rand(3, 128, 128)
    corners = (torch.rand(6, 2, 2) * 128).sort(dim=1).values
    logits, ious = loaded(metas, tmp_path).masks_from_boxes(image, corners.flatten(1), batch=4)
    expected_logits, expected_ious = metas_masks(metas, image, corners, [2, 3], multimask=False)
    close(f"SAM {version} logits of boxes", logits, expected_logits[:, 0])
    close(f"SAM {version} predicted IoUs of boxes", ious, expected_ious[:, 0])


class _LinspaceOnCpu(TorchFunctionMode):
    """Meta's Hiera reads numbers out of a `linspace`, which the meta device cannot give."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", PUBLISHED)
def test_every_published_size_has_a_place_for_each_weight(version: str, size: str) -> None:
    with torch.device("meta"), _LinspaceOnCpu():
        metas = metas_model(version, PUBLISHED[size], width=256, image_size=1024)
        state = convert_sam2.from_meta(metas.state_dict(), size)
        config = convert_sam2.infer_config(state, size)
        ours = Sam2Model(config)
    wanted = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    wanted.pop(convert_sam2.IMAGE_MATRIX)
    assert {name: tensor.shape for name, tensor in state.items()} == wanted
    hiera = config.vision_config.backbone_config
    trunk = metas.image_encoder.trunk
    assert hiera.num_attention_heads_per_stage == [
        trunk.blocks[end].attn.num_heads for end in trunk.stage_ends
    ]
    blocks = ours.vision_encoder.backbone.blocks
    assert [b.window_size for b in blocks] == [b.window_size for b in trunk.blocks]
