"""The engine on a pretended GPU: the CPU's results, and few times that the host has to wait."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ntt_plugin.engine import MemoryBank, Proposals, Recipe, Reference, Segmenter, match
from ntt_plugin.engine.device.device import send
from ntt_plugin.engine.proposals import mask_upsampling
from ntt_plugin.engine.proposals.codec import encode_proposals
from ntt_plugin.engine.proposals.mask_upsampling import UpsampledMasks
from tests.engine.device.pretend_gpu import OnDevice, pretended_gpu
from tests.engine.masks.packed_masks import same_mask


@pytest.fixture(scope="module")
def image() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8)


@pytest.fixture
def recipe(sam2_folder: Path, dinov2_folder: Path) -> Recipe:
    return Recipe(
        segmenter=str(sam2_folder),
        encoder=str(dinov2_folder),
        encoder_size=42,
        grid=6,
        iou_threshold=0.0,
        nms_iou=1.0,
    )


@pytest.fixture
def on_cpu(recipe: Recipe) -> Segmenter:
    return Segmenter.from_preset(recipe, device="cpu")


def bank_of(proposals: Proposals, segmenter: Segmenter) -> MemoryBank:
    """Three classes, made of features of proposals on the CPU."""
    bank = MemoryBank(segmenter.fingerprint, segmenter.recipe)
    for index in range(3):
        bank.add(f"class {index}", proposals.features[index].clone())
    return bank


def test_a_tensor_of_the_host_and_one_of_the_device_do_not_meet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pretended_gpu(monkeypatch), pytest.raises(AssertionError, match="GPU and on the CPU"):
        torch.ones(2, device="cuda:0") + torch.ones(2)


def test_proposals_and_instances_are_the_cpus(
    on_cpu: Segmenter, recipe: Recipe, image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = on_cpu.propose(image)
    bank = bank_of(expected, on_cpu)
    with pretended_gpu(monkeypatch):
        found = Segmenter.from_preset(recipe, device="cuda:0").propose(image)
        assert isinstance(found.features, OnDevice)
        masks = list(found.some_masks(range(len(found))))
        instances = match(found, bank, recipe)
        features = found.features.cpu()
        assert isinstance(encode_proposals(found), bytes)
    assert len(found) == len(expected) == 36
    torch.testing.assert_close(features, expected.features, atol=1e-5, rtol=0)
    assert all(map(same_mask, masks, expected.some_masks(range(36))))
    plain = match(expected, bank, recipe)
    assert instances.labels == plain.labels
    assert np.array_equal(instances.boxes, plain.boxes)
    np.testing.assert_allclose(instances.scores, plain.scores, atol=1e-5)


@pytest.mark.parametrize("grid", [6, 12])
def test_the_host_waits_as_often_for_many_points_as_for_few(
    on_cpu: Segmenter, recipe: Recipe, image: Any, grid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = bank_of(on_cpu.propose(image), on_cpu)
    with pretended_gpu(monkeypatch) as gpu:
        segmenter = Segmenter.from_preset(replace(recipe, grid=grid), device="cuda:0")
        segmenter.propose(image)
        gpu.waits.clear()
        proposals = segmenter.propose(image)
        # Which points are kept, which masks are not empty, and their boxes.
        assert gpu.waits.total() == 3
        gpu.waits.clear()
        found = match(proposals, bank, recipe)
        # Features, predicted IoUs, boxes, and all masks at once.
        assert gpu.waits.total() == 4
    assert len(proposals) == grid**2 and len(found) > grid


def test_masks_of_a_large_image_come_in_batches(
    recipe: Recipe, image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pretended_gpu(monkeypatch) as gpu:
        proposals = Segmenter.from_preset(recipe, device="cuda:0").propose(image)
        masks = proposals.masks
        assert isinstance(masks, UpsampledMasks)
        monkeypatch.setattr(masks, "_batch", 10)
        gpu.waits.clear()
        assert len(list(proposals.some_masks(range(36)))) == 36
        assert gpu.waits.total() == 4


def test_what_upsampling_needs_is_there_before_another_thread_asks_for_masks(
    recipe: Recipe, image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thread may have a stream of its own, and none waits for what another one sends."""
    with pretended_gpu(monkeypatch):
        proposals = Segmenter.from_preset(recipe, device="cuda:0").propose(image)
        sent: list[tuple[int, ...]] = []
        monkeypatch.setattr(
            mask_upsampling, "send", lambda part, to: (sent.append(part.shape), send(part, to))[1]
        )
        list(proposals.some_masks(range(36)))
    # Which masks are asked for, and nothing else.
    assert sent == [(36,)]


def test_references_and_boxes_run_there_too(
    on_cpu: Segmenter, recipe: Recipe, image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = np.zeros(image.shape[:2], bool)
    mask[10:40, 15:60] = True
    reference, boxes = Reference(image, mask, "thing"), [[1, 1, 40, 30], [20, 5, 79, 49]]
    expected, expected_masks = (
        on_cpu.reference_feature(reference),
        on_cpu.masks_from_boxes(image, boxes),
    )
    with pretended_gpu(monkeypatch):
        segmenter = Segmenter.from_preset(recipe, device="cuda:0")
        feature = segmenter.reference_feature(reference)
        masks = segmenter.masks_from_boxes(image, boxes)
    torch.testing.assert_close(feature, expected, atol=1e-5, rtol=0)
    assert np.array_equal(masks, expected_masks)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_meets_no_other(
    recipe: Recipe, image: Any, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pretended_gpu(monkeypatch):
        segmenter = Segmenter.from_preset(replace(recipe, precision=precision), device="cuda:0")
        assert segmenter._proposer._dtype == getattr(torch, precision)
        proposals = segmenter.propose(image)
        assert proposals.features.dtype == proposals.ious.dtype == torch.float32
        assert len(segmenter.masks_from_boxes(image, [[1, 1, 40, 30]])) == 1
