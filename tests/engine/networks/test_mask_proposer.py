import copy

import pytest
import torch
from torch import Tensor
from transformers import Sam2Model

from ntt_plugin.engine.networks.mask_proposer import MaskProposer, grid_points

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(sam2_model: Sam2Model) -> Sam2Model:
    """Weights large enough for masks that differ from point to point."""
    model = copy.deepcopy(sam2_model).eval()
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter.data += 0.15 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(4))


def plain_masks(model: Sam2Model, image: Tensor, points: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Three masks and IoUs of each point, by stock `Sam2Model` calls of one point each.

    A model whose "no memory" embedding is zero gives what the recipe asks for: it is not added.
    """
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    stock = copy.deepcopy(model)
    stock.no_memory_embedding.data.zero_()
    answers = []
    for point in points:
        with torch.no_grad():
            answer = stock(
                pixel_values=((image - mean) / std)[None],
                input_points=point[None, None, None],
                multimask_output=True,
            )
        answers.append((answer.pred_masks[0, 0], answer.iou_scores[0, 0]))
    return answers


def test_keeps_the_best_of_three_masks_above_the_threshold(model: Sam2Model, image: Tensor) -> None:
    line = [0.5, 63 / 3 + 0.5, 2 * 63 / 3 + 0.5, 63.5]
    points = torch.tensor([[x, y] for x in line for y in line])
    answers = plain_masks(model, image, points)
    best = [(masks[int(ious.argmax())], float(ious.max())) for masks, ious in answers]
    threshold = sorted(iou for _, iou in best)[5] + 1e-6

    logits, ious = MaskProposer(model, CPU).propose(image, 4, 64, threshold)

    expected = [(mask, iou) for mask, iou in best if iou > threshold]
    assert len(logits) == len(expected) == 10
    torch.testing.assert_close(logits, torch.stack([m for m, _ in expected]), atol=1e-4, rtol=0)
    torch.testing.assert_close(ious, torch.tensor([i for _, i in expected]), atol=1e-5, rtol=0)


def test_the_no_memory_embedding_is_left_out(model: Sam2Model, image: Tensor) -> None:
    other = copy.deepcopy(model)
    other.no_memory_embedding.data += 5
    expected, _ = MaskProposer(model, CPU).propose(image, 3, 64, 0)
    logits, _ = MaskProposer(other, CPU).propose(image, 3, 64, 0)
    assert torch.equal(logits, expected)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_the_point_batch_changes_nothing(model: Sam2Model, image: Tensor, batch: int) -> None:
    expected, expected_ious = MaskProposer(model, CPU).propose(image, 5, 25, 0)
    logits, ious = MaskProposer(model, CPU).propose(image, 5, batch, 0)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(ious, expected_ious, atol=1e-5, rtol=0)


def test_no_mask_above_the_threshold_is_an_empty_result(model: Sam2Model, image: Tensor) -> None:
    logits, ious = MaskProposer(model, CPU).propose(image, 2, 64, 1)
    assert logits.shape == (0, 16, 16)
    assert ious.shape == (0,)


def test_the_points_run_from_edge_to_edge_column_by_column() -> None:
    points = grid_points(32, 1024)
    assert points.shape == (1024, 2)
    assert points[0].tolist() == [0.5, 0.5]
    assert points[1].tolist() == [0.5, 33.5]
    assert points[32].tolist() == [33.5, 0.5]
    assert points[-1].tolist() == [1023.5, 1023.5]


def test_a_box_gives_one_mask_as_the_stock_model_does(model: Sam2Model, image: Tensor) -> None:
    boxes = torch.tensor([[4.0, 8.0, 40.0, 50.0], [20.0, 0.0, 64.0, 30.0], [1.0, 1.0, 9.0, 9.0]])
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    stock = copy.deepcopy(model)
    stock.no_memory_embedding.data.zero_()
    with torch.no_grad():
        answer = stock(
            pixel_values=((image - mean) / std)[None],
            input_boxes=boxes[None],
            multimask_output=False,
        )
    logits, ious = MaskProposer(model, CPU).masks_from_boxes(image, boxes, batch=2)
    torch.testing.assert_close(logits, answer.pred_masks[0, :, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(ious, answer.iou_scores[0, :, 0], atol=1e-5, rtol=0)


def test_no_boxes_give_no_masks(model: Sam2Model, image: Tensor) -> None:
    logits, ious = MaskProposer(model, CPU).masks_from_boxes(image, torch.zeros(0, 4))
    assert logits.shape == (0, 16, 16)
    assert ious.shape == (0,)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_half_precision_comes_out_as_float32_and_near(
    model: Sam2Model, image: Tensor, dtype: torch.dtype, limit: float
) -> None:
    exact, _ = MaskProposer(copy.deepcopy(model), CPU).propose(image, 3, 64, 0)
    rough, ious = MaskProposer(copy.deepcopy(model), CPU, dtype).propose(image, 3, 64, 0)
    assert rough.dtype == ious.dtype == torch.float32
    assert not torch.equal(rough, exact)
    assert float((rough - exact).abs().mean()) < limit * float(exact.std())
