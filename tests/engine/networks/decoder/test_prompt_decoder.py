"""The folded mask decoder against the stock one of `transformers`, at the published size."""

import copy

import pytest
import torch
from torch import Tensor
from transformers import (
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2Model,
    Sam2VisionConfig,
)

from ntt_plugin.engine.networks.decoder.prompt_decoder import PromptDecoder
from ntt_plugin.engine.networks.mask_proposer import grid_points

CPU = torch.device("cpu")
POINTS = grid_points(32, 1024)[37::255]
BOXES = torch.tensor([[10.0, 20.0, 300.0, 400.0], [500.0, 0.0, 1024.0, 900.0]])


def full_size(seed: int) -> Sam2Model:
    """The published mask decoder with random weights, behind a trunk that is never run.

    Of a size at which the plain decoder in float32 is within 1e-5 of itself in float64: larger
    weights make attention so sharp that rounding alone moves its logits by more than 1e-4.
    """
    trunk = Sam2HieraDetConfig(
        hidden_size=8,
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        blocks_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[8, 4, 4, 4],
        global_attention_blocks=[],
    )
    vision = Sam2VisionConfig(backbone_config=trunk, backbone_channel_list=[64, 32, 16, 8])
    torch.manual_seed(seed)
    model = Sam2Model(Sam2Config(vision_config=vision)).eval().requires_grad_(False)
    for name, weight in model.mask_decoder.named_parameters():
        spread = 0.8 / weight[0].numel() ** 0.5 if weight.ndim > 1 and "token" not in name else 0.1
        shift = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        weight.copy_(shift + spread * torch.randn(weight.shape))
    return model


@pytest.fixture(scope="module")
def model() -> Sam2Model:
    return full_size(0)


@pytest.fixture(scope="module")
def decoder(model: Sam2Model) -> PromptDecoder:
    return PromptDecoder(copy.deepcopy(model), CPU, torch.float32)


@pytest.fixture(scope="module")
def features() -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    shapes = [(1, 32, 256, 256), (1, 64, 128, 128), (1, 256, 64, 64)]
    return [0.5 * torch.randn(shape, generator=generator) for shape in shapes]


def plain(
    model: Sam2Model, features: list[Tensor], multimask: bool, dtype: torch.dtype, **prompts: Tensor
) -> tuple[Tensor, Tensor]:
    """The stock decoder's logits (n, k, m, m) and IoUs (n, k) for prompts of one image."""
    points, boxes = prompts.get("points"), prompts.get("boxes")
    if points is not None:
        labels = torch.ones(1, len(points), 1, dtype=torch.int32)
        sparse, dense = model.prompt_encoder(points[None, :, None], labels, None, None)
    else:
        sparse, dense = model.prompt_encoder(None, None, boxes[None], None)
    decoder = copy.deepcopy(model.mask_decoder).to(dtype)
    logits, ious, _, _ = decoder(
        image_embeddings=features[-1].to(dtype),
        image_positional_embeddings=model.get_image_wide_positional_embeddings().to(dtype),
        sparse_prompt_embeddings=sparse.to(dtype),
        dense_prompt_embeddings=dense.to(dtype),
        multimask_output=multimask,
        high_resolution_features=[level.to(dtype) for level in features[:-1]],
    )
    return logits[0], ious[0]


def best(logits: Tensor, ious: Tensor) -> tuple[Tensor, Tensor]:
    rows = torch.arange(len(ious))
    return logits[rows, ious.argmax(dim=1)], ious.amax(dim=1)


@torch.inference_mode()
def test_point_masks_are_the_plain_decoders(
    model: Sam2Model, decoder: PromptDecoder, features: list[Tensor]
) -> None:
    logits, ious = best(*plain(model, features, True, torch.float32, points=POINTS))
    exact, _ = best(*plain(model, features, True, torch.float64, points=POINTS))
    assert (logits - exact).abs().max() < 2e-5, "the test's network is too sensitive"
    assert logits.std() > 0.05 and (logits - logits[0]).abs().max() > 0.1

    image = decoder.prepare(features)
    attended = decoder.attend_points(image, POINTS)
    ours = decoder.draw(image, attended, torch.arange(len(POINTS)))[:, 0]

    torch.testing.assert_close(attended.ious[:, 0], ious, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours, logits, atol=1e-4, rtol=0)
    decided = exact.abs() > 2e-5
    assert torch.equal((ours > 0)[decided], (logits > 0)[decided])
    assert decided.float().mean() > 0.999


@torch.inference_mode()
def test_box_masks_are_the_plain_decoders(
    model: Sam2Model, decoder: PromptDecoder, features: list[Tensor]
) -> None:
    logits, ious = plain(model, features, False, torch.float32, boxes=BOXES)
    image = decoder.prepare(features)
    attended = decoder.attend_boxes(image, BOXES)
    drawn = decoder.draw(image, attended, torch.arange(len(BOXES)))
    ours, our_ious = decoder.choose(drawn, attended.ious)
    torch.testing.assert_close(our_ious, ious[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours, logits[:, 0], atol=1e-4, rtol=0)


@torch.inference_mode()
def test_a_mask_is_the_same_drawn_among_others_and_alone(
    decoder: PromptDecoder, features: list[Tensor]
) -> None:
    image = decoder.prepare(features)
    attended = decoder.attend_points(image, POINTS[:2])
    together = decoder.draw(image, attended, torch.tensor([1, 0]))
    alone = decoder.draw(image, decoder.attend_points(image, POINTS[1:2]), torch.tensor([0]))
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=0)
    none = torch.tensor([], dtype=torch.int64)
    assert decoder.draw(image, attended, none).shape == (0, 1, 256, 256)


@pytest.mark.parametrize(("threshold", "expected"), [(0.0, [0, 0, 0]), (1.1, [2, 1, 3])])
def test_an_unstable_single_mask_gives_way_to_the_best_of_the_others(
    sam2_model: Sam2Model, threshold: float, expected: list[int]
) -> None:
    model = copy.deepcopy(sam2_model)
    model.mask_decoder.dynamic_multimask_stability_thresh = threshold
    decoder = PromptDecoder(model, CPU, torch.float32)
    logits = torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    ious = torch.tensor([[0.1, 0.2, 0.9, 0.3], [0.9, 0.5, 0.1, 0.2], [0.0, 0.1, 0.2, 0.8]])
    chosen, chosen_ious = decoder.choose(logits, ious)
    assert torch.equal(chosen, logits[range(3), expected])
    assert torch.equal(chosen_ious, ious[range(3), expected])
