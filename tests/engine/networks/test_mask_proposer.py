import copy

import pytest
import torch
from torch import Tensor
from transformers import Sam2Model

from ntt_plugin.engine.networks.mask_proposer import MaskProposer, grid_points, points_in_boxes

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


def tight_box_iou(mask: Tensor, box: list[float]) -> float:
    """IoU of the box around the pixels of a mask with another box; 0 for an empty mask."""
    rows, columns = torch.nonzero(mask.any(1))[:, 0], torch.nonzero(mask.any(0))[:, 0]
    if not len(rows):
        return 0.0
    own = [float(edge) for edge in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]
    sides = [min(own[i + 2], box[i + 2]) - max(own[i], box[i]) for i in (0, 1)]
    shared = max(0.0, sides[0]) * max(0.0, sides[1])
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (own, box)]
    return shared / (sum(areas) - shared)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 11, 64])
def test_with_points_the_mask_that_fills_the_box_best_is_taken(
    model: Sam2Model, image: Tensor, count: int, batch: int
) -> None:
    boxes = torch.tensor([[4.0, 8.0, 40.0, 50.0], [20.0, 0.0, 64.0, 30.0], [1.0, 1.0, 9.0, 9.0]])
    proposer = MaskProposer(model, CPU)
    own, own_ious = proposer.masks_from_boxes(image, boxes)
    logits, ious = proposer.masks_from_boxes(image, boxes, batch, points=count)
    taken = []
    for number, box in enumerate(boxes.tolist()):
        x1, y1, x2, y2 = box
        parts = [(place + 1) / (count + 1) for place in range(count)]
        points = [[x1 + a * (x2 - x1), y1 + b * (y2 - y1)] for a in parts for b in parts]
        choices = [(own[number], own_ious[number])]
        for masks, each in plain_masks(model, image, torch.tensor(points)):
            choices += list(zip(masks, each, strict=True))
        small = [edge / 4 for edge in box]
        values = [float(iou) * tight_box_iou(mask > 0, small) for mask, iou in choices]
        taken.append(values.index(max(values)))
        expected, iou = choices[taken[-1]]
        torch.testing.assert_close(logits[number], expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(ious[number], iou, atol=1e-5, rtol=0)
    assert any(taken), "no point's mask was better than a box's own: this test shows nothing"


def test_points_in_boxes_are_no_more_in_a_batch_than_is_asked_for(
    model: Sam2Model, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposer = MaskProposer(model, CPU)
    attend, seen = proposer._decoder.attend_points_for_all, []

    def note(shared: object, points: Tensor) -> object:
        seen.append(len(points))
        return attend(shared, points)

    monkeypatch.setattr(proposer._decoder, "attend_points_for_all", note)
    boxes = torch.tensor([[4.0, 8.0, 40.0, 50.0], [20.0, 0.0, 64.0, 30.0]])
    proposer.masks_from_boxes(image, boxes, batch=1, points=3)
    assert seen == [1] * 18


def test_a_box_that_reaches_out_of_the_image_is_taken_as_what_lies_inside(
    model: Sam2Model, image: Tensor
) -> None:
    proposer = MaskProposer(model, CPU)
    features = proposer.embed(image)
    shared = proposer._decoder.prepare(features)
    points = points_in_boxes(torch.tensor([[30.0, 20.0, 64.0, 64.0]]), 2)[0]
    attended = proposer._decoder.attend_points_for_all(shared, points)
    logits, _ = proposer.box_masks(features, torch.tensor([[30.0, 20.0, 90.0, 80.0]]), points=2)
    own, _ = proposer.box_masks(features, torch.tensor([[30.0, 20.0, 90.0, 80.0]]))
    drawn = proposer._draw_all(shared, attended).flatten(0, 1)
    choices = [own[0], *drawn]
    ious = [tight_box_iou(mask > 0, [7.5, 5.0, 16.0, 16.0]) for mask in choices]
    _, (own_iou,) = proposer.box_masks(features, torch.tensor([[30.0, 20.0, 90.0, 80.0]]))
    predicted = [float(own_iou), *attended.ious.flatten().tolist()]
    values = [iou * by for iou, by in zip(ious, predicted, strict=True)]
    torch.testing.assert_close(logits[0], choices[values.index(max(values))], atol=1e-4, rtol=0)


def test_of_a_box_without_area_its_own_mask_is_taken(model: Sam2Model, image: Tensor) -> None:
    turned = torch.tensor([[40.0, 50.0, 4.0, 8.0]])  # no area: no mask can fill it
    proposer = MaskProposer(model, CPU)
    own, _ = proposer.masks_from_boxes(image, turned)
    logits, _ = proposer.masks_from_boxes(image, turned, points=2)
    torch.testing.assert_close(logits, own, atol=1e-5, rtol=0)


def test_points_in_a_box_are_evenly_inside() -> None:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 8.0], [10.0, 20.0, 14.0, 28.0]])
    assert points_in_boxes(boxes, 1).tolist() == [[[2, 4]], [[12, 24]]]
    points = points_in_boxes(boxes, 3)
    assert points[0, :4].tolist() == [[1, 2], [1, 4], [1, 6], [2, 2]]
    assert torch.equal(points[1], points[0] + torch.tensor([10.0, 20.0]))


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
