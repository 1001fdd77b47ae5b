"""Folded weights of SAM 2's two-way transformer: what depends on the network alone.

The plain network (recipe, section 3.4) stores 256 channels for each pixel of each prompt and
projects them to keys, queries and values in every layer. But a layer changes a pixel in two ways
only: it adds the output of an attention over the prompt's few tokens, and applies a LayerNorm.
After any layer, pixel p of a prompt is therefore

    scale[p] * base[p] + sum over r of weights[r, p] * rows[r] + constant

- ``base`` is a linear map of the image embedding, shared by all prompts.
- ``weights`` are attention weights, one row r for each head and token of each layer.
- ``rows`` are the vectors that a head and token add: a value vector times the output projection.
- A LayerNorm subtracts the mean, which is linear, and divides by the standard deviation, one
  number a pixel, which is multiplied into ``scale`` and ``weights``.

So a linear map of the pixels is a map of ``base``, computed once per image, and a map of the few
``rows``; the 256 channels of a prompt's pixels are never computed. ``two_way_transformer`` runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Projection:
    """A linear map of the pixels, split into maps of base, rows and constant.

    Attributes:
        base: matrix applied to the image embedding, (o, C); the result is scaled per pixel.
        offset: bias of ``base``, scaled with it, (o,).
        rows: for each layer so far, the matrix applied to its value vectors with a 1 appended,
            (o, heads, d + 1).
        constant: unscaled bias, (o, N), or (o, 1) if it is the same for every pixel.
    """

    base: Tensor
    offset: Tensor
    rows: tuple[Tensor, ...]
    constant: Tensor

    def to(self, convert: Callable[[Tensor], Tensor]) -> Projection:
        """A copy with ``convert`` applied to every tensor."""
        rows = tuple(convert(row) for row in self.rows)
        return Projection(convert(self.base), convert(self.offset), rows, convert(self.constant))


@dataclass(frozen=True)
class Deviation:
    """Terms of the squared length of a pixel before a LayerNorm, its mean subtracted.

    The length is ``|base|^2 + 2 * <base, rows> + <rows, rows>``; the value vectors of a prompt are
    multiplied in later.

    Attributes:
        base: matrix applied to the image embedding, mean subtracted, (C, C).
        offset: bias of ``base``, (C,).
        cross: for each layer so far the matrix that maps the image embedding to the inner
            products of base and generators, (heads, d + 1, C).
        cross_offset: bias of each ``cross``, (heads, d + 1).
        gram: ``gram[j][i]`` for layers j and i <= j: inner products of their generators,
            (heads, d + 1, heads, d + 1).
        eps: epsilon of the LayerNorm.
    """

    base: Tensor
    offset: Tensor
    cross: tuple[Tensor, ...]
    cross_offset: tuple[Tensor, ...]
    gram: tuple[tuple[Tensor, ...], ...]
    eps: float

    def to(self, convert: Callable[[Tensor], Tensor]) -> Deviation:
        """A copy with ``convert`` applied to every tensor."""
        return Deviation(
            convert(self.base),
            convert(self.offset),
            tuple(convert(matrix) for matrix in self.cross),
            tuple(convert(offset) for offset in self.cross_offset),
            tuple(tuple(convert(block) for block in line) for line in self.gram),
            self.eps,
        )


@dataclass(frozen=True)
class PixelForm:
    """The affine form of a prompt's pixels after some layers (see the module), float64.

    Attributes:
        base: matrix applied to the image embedding, (C, C).
        offset: bias of ``base``, (C,).
        generators: for each layer so far the matrix that maps its value vectors, with a 1
            appended, to ``rows``, (heads, d + 1, C).
        constant: unscaled bias, (C,).
    """

    base: Tensor
    offset: Tensor
    generators: tuple[Tensor, ...]
    constant: Tensor

    @classmethod
    def of_image(cls, channels: int) -> PixelForm:
        """The form before the first layer: the image embedding itself."""
        # base is the identity; there are no rows and no constant yet.
        zero = torch.zeros(channels, dtype=torch.float64)
        return cls(torch.eye(channels, dtype=torch.float64), zero, (), zero)

    def project(self, weight: Tensor, constant: Tensor) -> Projection:
        """Fold a linear map of pixels of this form.

        ``weight`` is float64 (o, C), ``constant`` the bias of the map, float64 (o, N) or (o, 1).
        """
        # The map is linear, so it is applied to each summand of the form by itself.
        return Projection(
            base=weight @ self.base,
            offset=weight @ self.offset,
            rows=tuple(torch.einsum("oc,hdc->ohd", weight, each) for each in self.generators),
            constant=constant + (weight @ self.constant)[:, None],
        )

    def attended(self, attention: Any) -> PixelForm:
        """The form after the attention over the tokens, the mean over channels subtracted."""
        # The output projection, split by head, turns value vectors into rows.
        weight, bias = _float64(attention.o_proj)
        heads = int(attention.num_attention_heads)
        # The weights of each head sum to 1, so constants can move into its rows: the 1 that is
        # appended to the value vectors multiplies them.
        carried = ((self.constant + bias) / heads).expand(heads, 1, -1)
        added = torch.cat([weight.T.reshape(heads, -1, len(weight)), carried], dim=1)
        # Residual connection, then the first half of the LayerNorm: subtract the mean.
        return PixelForm(
            base=self.base - self.base.mean(dim=0),
            offset=self.offset - self.offset.mean(),
            generators=tuple(
                each - each.mean(dim=-1, keepdim=True) for each in (*self.generators, added)
            ),
            constant=torch.zeros_like(self.constant),
        )

    def deviation(self, eps: float) -> Deviation:
        """The terms of the LayerNorm's divisor; the form's mean must be subtracted already."""
        # |base + rows|^2 needs the products <base, rows> (cross) and <rows, rows> (gram).
        rows = self.generators
        return Deviation(
            base=self.base,
            offset=self.offset,
            cross=tuple(each @ self.base for each in rows),
            cross_offset=tuple(each @ self.offset for each in rows),
            gram=tuple(
                tuple(torch.einsum("hdc,iec->hdie", rows[j], rows[i]) for i in range(j + 1))
                for j in range(len(rows))
            ),
            eps=eps,
        )

    def normalised(self, norm: Any) -> PixelForm:
        """The form after a LayerNorm's gain and bias; its divisor goes into the prompt's scale."""
        # The gain multiplies every part, channel by channel; the bias is not scaled per pixel.
        gain, bias = _float64(norm)
        return PixelForm(
            base=gain[:, None] * self.base,
            offset=gain * self.offset,
            generators=tuple(each * gain for each in self.generators),
            constant=bias,
        )


def project_linear(form: PixelForm, linear: Any, positions: Tensor | None = None) -> Projection:
    """Fold a linear layer of the network, applied to pixels of a form.

    Args:
        form: the form of the pixels.
        linear: a ``Linear`` of the network.
        positions: positional embeddings added to the pixels first, float64 (C, N); None for none.
    """
    weight, bias = _float64(linear)
    # The positions pass through the layer too, and join its bias: (o, N) in place of (o, 1).
    constant = bias[:, None]
    return form.project(weight, constant if positions is None else constant + weight @ positions)


def _float64(module: Any) -> tuple[Tensor, Tensor]:
    return module.weight.detach().cpu().double(), module.bias.detach().cpu().double()
