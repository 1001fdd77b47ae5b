"""Trains the tiny SAM 2, class-agnostic, from single points and from boxes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Sam2Model

from ...engine.images.load import normalise
from ..scenes import SCENE_SIZE
from .loop import Scenes, image_batch
from .networks import look_where_prompted, segmenter_config, start_afresh

_POINTS = 20
_BACKGROUND_PART = 0.2
_BOX_STEP_PART = 0.15
_MASK_SIDE = SCENE_SIZE // 4
# The other two masks learn too, or they split the objects between them whatever the point says.
_OTHERS_WEIGHT = 0.25


class SegmenterTask(nn.Module):
    """The network and its loss.

    A point on an object asks for that object: BCE and dice on the best of three masks. A point
    on the background has no right answer: only the IoU head learns from it, that its masks are
    worth nothing. Some steps prompt with boxes instead, which train the single-mask output.
    """

    def __init__(self) -> None:
        """Make the network with fresh weights."""
        super().__init__()
        self.network = Sam2Model(segmenter_config())
        start_afresh(self.network)
        look_where_prompted(self.network)
        share_positions(self.network)
        self.network.no_memory_embedding.requires_grad_(False)
        self._overlaps: list[float] = []
        self._rank_gaps: list[float] = []

    def report(self) -> str:
        """Mean IoU of the masks that the IoU head ranked first, and what it missed by."""
        words = f"IoU {np.mean(self._overlaps):.3f}, head off by {np.mean(self._rank_gaps):.3f}"
        self._overlaps.clear()
        self._rank_gaps.clear()
        return words

    def loss(self, scenes: Scenes, rng: np.random.Generator) -> Tensor:
        """The loss of a batch of scenes, a scalar."""
        device = self.network.device
        images = image_batch([_jittered(image, rng) for image, _, _ in scenes]).to(device)
        features = self._features(images)
        if rng.uniform() < _BOX_STEP_PART:
            boxes, targets = _draw_boxes([owners for _, owners, _ in scenes], rng)
            logits, ious = self._decode(features, input_boxes=boxes.to(device), multimask=False)
            on_object = torch.ones(ious.shape[:2], dtype=torch.bool)
        else:
            points, targets, on_object = _draw_points([owners for _, owners, _ in scenes], rng)
            logits, ious = self._decode(features, input_points=points.to(device), multimask=True)
        return self._score(logits, ious, targets.to(device), on_object.to(device))

    def _features(self, images: Tensor) -> list[Tensor]:
        maps = self.network.get_image_features(normalise(images)).fpn_hidden_states
        sizes = self.network.backbone_feature_sizes
        return [
            level.permute(1, 2, 0).reshape(len(images), -1, *size)
            for level, size in zip(maps, sizes, strict=True)
        ]

    def _decode(
        self,
        features: list[Tensor],
        *,
        multimask: bool,
        input_points: Tensor | None = None,
        input_boxes: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        labels = None
        if input_points is not None:
            labels = torch.ones_like(input_points[..., 0], dtype=torch.int32)
        sparse, dense = self.network.prompt_encoder(input_points, labels, input_boxes, None)
        positions = self.network.get_image_wide_positional_embeddings()
        logits, ious, _, _ = self.network.mask_decoder(
            image_embeddings=features[-1],
            image_positional_embeddings=positions.repeat(len(features[-1]), 1, 1, 1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense.expand(len(features[-1]), -1, -1, -1),
            multimask_output=multimask,
            high_resolution_features=features[:-1],
        )
        return logits, ious

    def _score(self, logits: Tensor, ious: Tensor, targets: Tensor, on_object: Tensor) -> Tensor:
        """Loss of logits and ious (b, p, k, ...) against soft targets (b, p, m, m)."""
        goal = targets[:, :, None]
        bce = functional.binary_cross_entropy_with_logits(
            logits, goal.expand_as(logits), reduction="none"
        ).mean((-1, -2))
        soft = logits.sigmoid()
        shared = (soft * goal).sum((-1, -2))
        dice = 1 - (2 * shared + 1) / (soft.sum((-1, -2)) + goal.sum((-1, -2)) + 1)
        each = 5 * bce + dice
        best = (each.min(dim=2).values + _OTHERS_WEIGHT * each.mean(dim=2))[on_object].mean()
        with torch.no_grad():
            hard, true = logits > 0, goal > 0.5
            overlap = (hard & true).sum((-1, -2)) / (hard | true).sum((-1, -2)).clamp(min=1)
        rank = functional.mse_loss(ious, overlap)
        with torch.no_grad():
            first = ious.argmax(2, keepdim=True)
            chosen, expected = overlap.gather(2, first), ious.gather(2, first)
            self._overlaps.append(float(chosen[on_object].mean()))
            self._rank_gaps.append(float((chosen - expected).abs().mean()))
        return best + rank


def share_positions(network: Sam2Model) -> None:
    """Give both places that hold the Gaussian positional matrix the same values."""
    network.prompt_encoder.shared_embedding.positional_embedding.data.copy_(
        network.shared_image_embedding.positional_embedding.data
    )


def _jittered(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    factor = rng.uniform(0.85, 1.15, 3)
    return np.clip(image * factor, 0, 255).astype(np.uint8)


def _target(mask: np.ndarray) -> np.ndarray:
    """How much of each low-resolution cell an object covers, float (m, m)."""
    step = SCENE_SIZE // _MASK_SIDE
    return mask.reshape(_MASK_SIDE, step, _MASK_SIDE, step).mean((1, 3), dtype=np.float32)


def _draw_points(
    owners: list[np.ndarray], rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    points = np.zeros((len(owners), _POINTS, 1, 2), np.float32)
    targets = np.zeros((len(owners), _POINTS, _MASK_SIDE, _MASK_SIDE), np.float32)
    on_object = np.zeros((len(owners), _POINTS), bool)
    for scene, owner in enumerate(owners):
        masks = {index: _target(owner == index) for index in range(1, int(owner.max()) + 1)}
        for slot in range(_POINTS):
            background = rng.uniform() < _BACKGROUND_PART
            index = 0 if background else int(rng.integers(1, len(masks) + 1))
            rows, columns = np.nonzero(owner == index)
            pick = int(rng.integers(len(rows)))
            points[scene, slot, 0] = columns[pick] + rng.uniform(), rows[pick] + rng.uniform()
            on_object[scene, slot] = index > 0
            if index:
                targets[scene, slot] = masks[index]
    return torch.from_numpy(points), torch.from_numpy(targets), torch.from_numpy(on_object)


def _draw_boxes(owners: list[np.ndarray], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    count = 8
    boxes = np.zeros((len(owners), count, 4), np.float32)
    targets = np.zeros((len(owners), count, _MASK_SIDE, _MASK_SIDE), np.float32)
    for scene, owner in enumerate(owners):
        for slot in range(count):
            mask = owner == int(rng.integers(1, int(owner.max()) + 1))
            rows, columns = np.nonzero(mask)
            tight = np.array(
                [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float32
            )
            boxes[scene, slot] = np.clip(tight + rng.uniform(-3, 3, 4), 0, SCENE_SIZE)
            targets[scene, slot] = _target(mask)
    return torch.from_numpy(boxes), torch.from_numpy(targets)
