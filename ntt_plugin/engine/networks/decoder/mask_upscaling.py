"""Mask upscaling: mask logits at four times the resolution of the pixels (recipe, section 3.4).

The two transposed convolutions of the mask decoder have a kernel as large as their stride, so
every pixel is upscaled independently and both are matrix products. The first is linear in the
pixels and is folded like any other projection (see ``folded_weights``). Tensors are pixel-major,
channels last, and rearranged into an image at the end, when a single channel is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .folded_weights import PixelForm
from .two_way_transformer import Pixels, row_maps


@dataclass(frozen=True, eq=False)
class SharedUpscaling:
    """What the prompts of one image share: N pixels, upscaled to 4 * N and to 16 * N.

    Attributes:
        base: first convolution of the base, to be scaled per pixel, (N, 4 * c).
        coarse: unscaled summand: bias plus the image's features of the same size, (N, 4 * c).
        fine: summand of the second convolution, likewise, (4 * N, 4 * c').
        size: (h, w) of the pixels, N = h * w.
    """

    base: Tensor
    coarse: Tensor
    fine: Tensor
    size: tuple[int, int]


class Upscaler:
    """The upscaling of a mask decoder with its first convolution folded."""

    def __init__(self, decoder: Any, form: PixelForm, device: torch.device) -> None:
        """Fold a ``Sam2MaskDecoder`` in float32, for pixels of the form after the transformer."""
        self._decoder = decoder
        weight = decoder.upscale_conv1.weight.detach().cpu().double()
        # (C, channels, 2, 2) -> (2 * 2 * channels, C): a row for each output pixel and channel.
        flat = weight.permute(2, 3, 1, 0).flatten(0, 2)
        # The same bias for each of the 2 x 2 output pixels.
        bias = decoder.upscale_conv1.bias.detach().cpu().double().repeat(4)
        place = partial(torch.Tensor.to, device=device, dtype=torch.float32)
        self._first = form.project(flat, bias[:, None]).to(place)

    def share(
        self, embedding: Tensor, features: list[Tensor], size: tuple[int, int]
    ) -> SharedUpscaling:
        """Compute what the prompts of one image share.

        Args:
            embedding: image embedding plus the prompt encoder's dense embedding, (C, N).
            features: the finer feature maps, finest first: (1, c', 4h, 4w) and (1, c, 2h, 2w).
            size: (h, w) of the embedding.
        """
        fine, coarse = features
        # First convolution of the image embedding, pixel-major: (N, 4 * c).
        base = embedding.float().T @ self._first.base.T + self._first.offset
        # The finer features are added after each convolution, so its bias joins them.
        return SharedUpscaling(
            base=base.to(embedding.dtype),
            coarse=(_coarse_parts(coarse) + self._first.constant.T).to(embedding.dtype),
            fine=_fine_parts(fine, self._decoder.upscale_conv2.bias),
            size=size,
        )

    def run(self, shared: SharedUpscaling, pixels: Pixels, hyper: Tensor) -> Tensor:
        """Compute mask logits (b, k, 4h, 4w) from the pixels of b prompts after the transformer.

        The hypernetworks' output ``hyper`` weighs the finest channels for each of k masks,
        (b, k, channels).
        """
        # 1. First transposed convolution plus the features at 2h x 2w, LayerNorm, GELU.
        coarse = self._first_convolution(shared, pixels, hyper.dtype)
        norm = self._decoder.upscale_layer_norm
        coarse = torch.unflatten(coarse, -1, (4, -1)).flatten(1, 2)
        coarse = F.layer_norm(coarse, coarse.shape[-1:], norm.weight, norm.bias, norm.eps)
        # 2. Second transposed convolution plus the features at 4h x 4w, GELU.
        weight = self._decoder.upscale_conv2.weight.permute(0, 2, 3, 1).flatten(1)
        fine = (_gelu(coarse) @ weight).add_(shared.fine)
        fine = torch.unflatten(_gelu(fine), -1, (4, -1)).flatten(1, 2)
        # 3. Each mask is a weighted sum of the channels, rearranged into an image.
        return _image_order((fine @ hyper.mT).mT, shared.size)

    def _first_convolution(
        self, shared: SharedUpscaling, pixels: Pixels, dtype: torch.dtype
    ) -> Tensor:
        """First convolution of the pixels plus the image's features, (b, N, 4 * channels)."""
        # scale * base + constant.
        scale = shared.base.new_ones(1) if pixels.scale is None else pixels.scale.mT
        coarse = torch.addcmul(shared.coarse, shared.base, scale.to(dtype))
        # + sum over r of weights[r] * rows[r].
        rows = row_maps(tuple(row.to(dtype)[None] for row in self._first.rows), pixels)
        for block, row in zip(pixels.weights, rows, strict=True):
            coarse.baddbmm_(block.mT, row[:, 0].mT)
        return coarse


def _gelu(values: Tensor) -> Tensor:
    """GELU in place: at these sizes allocating memory takes longer than the function."""
    result: Tensor = torch.ops.aten.gelu_(values)
    return result


def _coarse_parts(features: Tensor) -> Tensor:
    """Rearrange a map (1, c, 2h, 2w) pixel-major: (N, 4 * c)."""
    # (c, 2h, 2w) -> (c, h, 2, w, 2) -> (h, w, 2, 2, c): the 2 x 2 block of each pixel.
    split = torch.unflatten(torch.unflatten(features[0], 2, (-1, 2)), 1, (-1, 2))
    return split.permute(1, 3, 2, 4, 0).flatten(2).flatten(0, 1)


def _fine_parts(features: Tensor, bias: Tensor) -> Tensor:
    """Add a bias (c,) to a map (1, c, 4h, 4w) and rearrange it pixel-major: (4 * N, 4 * c)."""
    # (c, 4h, 4w) -> (c, h, 2, 2, w, 2, 2) -> (h, w, 2, 2, 2, 2, c): blocks in blocks.
    split = torch.unflatten(torch.unflatten(features[0], 2, (-1, 2, 2)), 1, (-1, 2, 2))
    ordered = split.permute(1, 4, 2, 5, 3, 6, 0) + bias
    return ordered.flatten(4).flatten(0, 3)


def _image_order(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Rearrange pixel-major logits (b, k, 16 * N) into images (b, k, 4h, 4w)."""
    # (h, w, 2, 2, 2, 2) -> (h, 2, 2, w, 2, 2): rows of all three levels, then columns.
    split = torch.unflatten(logits, -1, (*size, 2, 2, 2, 2))
    return split.permute(0, 1, 2, 4, 6, 3, 5, 7).flatten(5).flatten(2, 4)
