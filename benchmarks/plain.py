"""The plain recipe: what the engine computes, written down as it is said, without any saving.

The stock decoder of `transformers` in batches of 64 points, features pooled at the masks'
resolution, every candidate at the image's own size, and merging as a product of all those masks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ntt_plugin.engine import MemoryBank, Proposals, Recipe
from ntt_plugin.engine.matching.match import best_class, compared_features, similarities
from ntt_plugin.engine.matching.nms import suppress
from ntt_plugin.engine.networks.mask_proposer import grid_points
from ntt_plugin.engine.proposals.mask_upsampling import UpsampledMasks

BATCH = 64


@torch.inference_mode()
def best_masks(
    model: Any, features: list[Tensor], grid: int, threshold: float
) -> tuple[Tensor, Tensor]:
    """Recipe, sections 3.4 and 3.5: mask logits (n, m, m) and predicted IoUs (n,)."""
    embedding = features[-1]
    positions = model.get_image_wide_positional_embeddings().to(embedding.dtype)
    size = model.config.prompt_encoder_config.image_size
    kept_logits, kept_ious = [], []
    for points in grid_points(grid, size).to(embedding.device).split(BATCH):
        labels = torch.ones(1, len(points), 1, dtype=torch.int32, device=points.device)
        sparse, dense = model.prompt_encoder(points[None, :, None], labels, None, None)
        logits, ious, _, _ = model.mask_decoder(
            image_embeddings=embedding,
            image_positional_embeddings=positions,
            sparse_prompt_embeddings=sparse.to(embedding.dtype),
            dense_prompt_embeddings=dense.to(embedding.dtype),
            multimask_output=True,
            high_resolution_features=features[:-1],
        )
        best_iou, best = ious[0].float().max(dim=1)
        keep = best_iou > threshold
        chosen = logits[0][torch.arange(len(best), device=best.device), best]
        kept_logits.append(chosen[keep].float())
        kept_ious.append(best_iou[keep])
    return torch.cat(kept_logits), torch.cat(kept_ious)


@torch.inference_mode()
def pool(features: Tensor, masks: Tensor) -> Tensor:
    """Recipe, section 3.6: mean of the upsampled features under each mask, (n, C)."""
    side = masks.shape[-1]
    wide = F.interpolate(features[None], (side, side), mode="bilinear", antialias=True)[0]
    weights = masks.flatten(1).to(features.dtype)
    sums = weights @ wide.flatten(1).T
    return F.normalize(sums / weights.sum(dim=1, keepdim=True).clamp(min=1), dim=1)


@torch.inference_mode()
def match(proposals: Proposals, bank: MemoryBank, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Recipe, section 4: masks (n, H, W) and scores (n,) of the instances, the best first."""
    similarity = similarities(compared_features(proposals), bank, recipe.negative_sigma)
    labels, scores, _ = best_class(similarity)
    order = suppress(
        proposals.boxes.cpu().numpy(), proposals.ious.cpu().numpy(), labels, recipe.nms_iou
    )
    order = order[: recipe.candidate_factor * recipe.max_instances]
    order = order[scores[order] > 0]
    assert isinstance(proposals.masks, UpsampledMasks), "the plain recipe upsamples by itself"
    logits = proposals.masks.logits
    kept = torch.from_numpy(order).to(logits.device)
    full = F.interpolate(
        logits[kept][:, None],
        proposals.image_size,
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )
    masks = full[:, 0] > 0
    features = proposals.features[kept].float()
    decayed = torch.from_numpy(scores[order].copy()).to(masks.device)
    for label in np.unique(labels[order]):
        rows = torch.from_numpy(np.flatnonzero(labels[order] == label)).to(masks.device)
        flat = masks[rows].flatten(1).float()
        inside = flat @ flat.T / flat.sum(dim=1, keepdim=True).clamp(min=1)
        likeness = (features[rows] @ features[rows].T).clamp(min=0)
        cover = (inside * likeness).tril(-1).amax(dim=1).clamp(max=1)
        decayed[rows] *= (1 - cover) ** recipe.merge_exponent
    best = decayed.argsort(descending=True, stable=True)[: recipe.max_instances]
    return masks[best], decayed[best]
