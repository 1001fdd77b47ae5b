"""Mean feature under each mask, and the resize matrices that this takes (recipe, section 3.6)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..device.device import send
from ..masks.packed import PackedMask

# Masks pooled at once: 64 masks of 256 x 256 take 17 MB as float32.
_CHUNK = 64


def resize_matrix(source: int, target: int, device: torch.device | None = None) -> Tensor:
    """Bilinear antialiased interpolation from ``source`` to ``target`` samples, as a matrix.

    Returns:
        Float32 (target, source), each row summing to 1: ``M @ column`` is what ``F.interpolate``
        makes of the column.
    """
    # Built from a square: with antialias=True, torch 2.13 resizes tensors of width 1 wrongly.
    square = torch.eye(max(source, 2))[:source]
    resized = F.interpolate(
        square[None, None],
        (target, square.shape[1]),
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )
    matrix = resized[0, 0, :, :source]
    return matrix if device is None else send(matrix, device)


def pool_features(features: Tensor, masks: Tensor) -> Tensor:
    """Mean feature under each mask, on the patch grid.

    Pools at grid resolution with the masks carried back through the transposed
    bilinear weights: the same numbers as upsampling the features first, for a
    fraction of the work.

    Args:
        features: patch features, float (C, gh, gw).
        masks: binary masks at any resolution, bool (n, m, m).

    Returns:
        Unit-length features, float (n, C); a zero row for an empty mask.
    """
    channels, grid_height, grid_width = features.shape
    height, width = masks.shape[-2:]
    rows = resize_matrix(grid_height, height, features.device).to(features.dtype)
    columns = resize_matrix(grid_width, width, features.device).to(features.dtype)
    patches = features.reshape(channels, -1)
    pooled = features.new_zeros((len(masks), channels))
    for start in range(0, len(masks), _CHUNK):
        chunk = masks[start : start + _CHUNK].to(features.dtype)
        weights = rows.T @ (chunk @ columns)
        areas = chunk.sum(dim=(1, 2)).clamp(min=1)
        pooled[start : start + _CHUNK] = weights.flatten(1) @ patches.T / areas[:, None]
    return F.normalize(pooled, dim=1)


def pool_packed(
    features: Tensor, masks: Sequence[PackedMask], image_size: tuple[int, int]
) -> Tensor:
    """As ``pool_features``, for masks at the image's own size, of which only the boxes are seen.

    Args:
        features: patch features of the image, float (C, gh, gw).
        masks: n masks that lie in the image.
        image_size: (H, W).

    Returns:
        Unit-length features, float (n, C).
    """
    channels, grid_height, grid_width = features.shape
    rows = resize_matrix(grid_height, image_size[0], features.device).to(features.dtype)
    columns = resize_matrix(grid_width, image_size[1], features.device).to(features.dtype)
    patches = features.reshape(channels, -1)
    pooled = features.new_zeros((len(masks), channels))
    for index, mask in enumerate(masks):
        x1, y1, x2, y2 = mask.box
        pixels = send(torch.from_numpy(mask.unpack()), features.device).to(features.dtype)
        weights = rows[y1:y2].T @ (pixels @ columns[x1:x2])
        pooled[index] = patches @ weights.flatten() / mask.area
    return F.normalize(pooled, dim=1)
