"""From the pixels of a prompt to mask logits at four times the resolution.

The mask decoder's two transposed convolutions have a kernel as large as their stride, so that each
pixel is widened by itself: both are matrix products. The first is linear in the pixels and folds
like any projection of them (see ``folded_weights``). All is laid out pixel by pixel, the channels
of a pixel side by side, and put in the order of an image at the very end, when one channel is left.
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
    """What the prompts of one image share; N pixels, each of 4 parts, each of 4 again.

    Attributes:
        base: the first convolution of the base, (N, 4 * c).
        coarse: what is added to it, unscaled: biases and the image's own features, (N, 4 * c).
        fine: what is added to the second convolution's output, (4 * N, 4 * c').
        size: (h, w) of the pixels.
    """

    base: Tensor
    coarse: Tensor
    fine: Tensor
    size: tuple[int, int]


class Upscaler:
    """The upscaling of a mask decoder, its first convolution folded."""

    def __init__(self, decoder: Any, form: PixelForm, device: torch.device) -> None:
        """Fold a network's weights, which must be in float32 still.

        Args:
            decoder: the network's ``Sam2MaskDecoder``.
            form: how the pixels that it upscales are made.
            device: where it runs.
        """
        self._decoder = decoder
        weight = decoder.upscale_conv1.weight.detach().cpu().double()
        # (C, channels, 2, 2) -> (2 * 2 * channels, C): the parts of a pixel one after the other.
        flat = weight.permute(2, 3, 1, 0).flatten(0, 2)
        bias = decoder.upscale_conv1.bias.detach().cpu().double().repeat(4)
        place = partial(torch.Tensor.to, device=device, dtype=torch.float32)
        self._first = form.project(flat, bias[:, None]).to(place)

    def share(
        self, embedding: Tensor, features: list[Tensor], size: tuple[int, int]
    ) -> SharedUpscaling:
        """What the prompts of one image share.

        Args:
            embedding: of the image, with the prompt encoder's dense one added, (C, N).
            features: the finer feature maps, finest first: (1, c, 4h, 4w) and (1, c', 2h, 2w).
            size: (h, w) of the embedding.
        """
        fine, coarse = features
        base = embedding.float().T @ self._first.base.T + self._first.offset
        return SharedUpscaling(
            base=base.to(embedding.dtype),
            coarse=(_coarse_parts(coarse) + self._first.constant.T).to(embedding.dtype),
            fine=_fine_parts(fine, self._decoder.upscale_conv2.bias),
            size=size,
        )

    def run(self, shared: SharedUpscaling, pixels: Pixels, hyper: Tensor) -> Tensor:
        """Mask logits.

        Args:
            shared: of the image.
            pixels: after the transformer, of b prompts.
            hyper: what each mask weighs the finest channels by, (b, k, channels).

        Returns:
            Logits (b, k, 4h, 4w).
        """
        coarse = self._first_convolution(shared, pixels, hyper.dtype)
        norm = self._decoder.upscale_layer_norm
        coarse = torch.unflatten(coarse, -1, (4, -1)).flatten(1, 2)
        coarse = F.layer_norm(coarse, coarse.shape[-1:], norm.weight, norm.bias, norm.eps)
        weight = self._decoder.upscale_conv2.weight.permute(0, 2, 3, 1).flatten(1)
        fine = (_gelu(coarse) @ weight).add_(shared.fine)
        fine = torch.unflatten(_gelu(fine), -1, (4, -1)).flatten(1, 2)
        return _image_order((fine @ hyper.mT).mT, shared.size)

    def _first_convolution(
        self, shared: SharedUpscaling, pixels: Pixels, dtype: torch.dtype
    ) -> Tensor:
        """The first convolution and the image's own features, (b, N, 4 * channels)."""
        scale = shared.base.new_ones(1) if pixels.scale is None else pixels.scale.mT
        coarse = torch.addcmul(shared.coarse, shared.base, scale.to(dtype))
        rows = row_maps(tuple(row.to(dtype)[None] for row in self._first.rows), pixels)
        for block, row in zip(pixels.weights, rows, strict=True):
            coarse.baddbmm_(block.mT, row[:, 0].mT)
        return coarse


def _gelu(values: Tensor) -> Tensor:
    """GELU in place: at these sizes new memory costs more than the function does."""
    result: Tensor = torch.ops.aten.gelu_(values)
    return result


def _coarse_parts(features: Tensor) -> Tensor:
    """A map of (1, c, 2h, 2w), pixel by pixel: (N, 4 * c)."""
    split = torch.unflatten(torch.unflatten(features[0], 2, (-1, 2)), 1, (-1, 2))
    return split.permute(1, 3, 2, 4, 0).flatten(2).flatten(0, 1)


def _fine_parts(features: Tensor, bias: Tensor) -> Tensor:
    """A map of (1, c, 4h, 4w) plus a bias, pixel by pixel: (4 * N, 4 * c)."""
    split = torch.unflatten(torch.unflatten(features[0], 2, (-1, 2, 2)), 1, (-1, 2, 2))
    ordered = split.permute(1, 4, 2, 5, 3, 6, 0) + bias
    return ordered.flatten(4).flatten(0, 3)


def _image_order(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits pixel by pixel, (b, k, 16 * N), as images (b, k, 4h, 4w)."""
    split = torch.unflatten(logits, -1, (*size, 2, 2, 2, 2))
    return split.permute(0, 1, 2, 4, 6, 3, 5, 7).flatten(5).flatten(2, 4)
