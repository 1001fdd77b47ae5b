"""The image's side of SAM 2's two-way transformer, written so that most of it is done once.

The plain network keeps 256 channels for each pixel of each prompt, and projects them to keys,
queries and values again and again. But a layer changes a pixel only by adding what its attention
over the prompt's few tokens gives, and by a LayerNorm. So after any layer a pixel p of a prompt is

    scale[p] * base[p] + sum over r of weights[r, p] * rows[r] + constant

``base`` is a linear map of the image embedding, the same for every prompt; ``weights`` are
attention weights, one for each head and token; ``rows`` are what a head and token add, which is a
value vector through the output projection. A LayerNorm takes off the mean, which is linear, and
divides by the deviation, one number a pixel, which goes into ``scale`` and ``weights``.

So each linear map of the pixels is a map of ``base``, done once an image, and one of ``rows``,
which are few: no prompt ever needs the 256 channels. Here is what depends on the network's weights
alone; ``two_way_transformer`` runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Projection:
    """A linear map of the pixels, taken apart into maps of what they are made of.

    Attributes:
        base: matrix from the image embedding, (o, C); scaled pixel by pixel like ``offset``.
        offset: (o,).
        rows: for each layer so far, from its value vectors with a 1 appended, (o, heads, d + 1).
        constant: added as it is, (o, N), or (o, 1) where it is the same for every pixel.
    """

    base: Tensor
    offset: Tensor
    rows: tuple[Tensor, ...]
    constant: Tensor

    def to(self, convert: Callable[[Tensor], Tensor]) -> Projection:
        """With every tensor converted."""
        rows = tuple(convert(row) for row in self.rows)
        return Projection(convert(self.base), convert(self.offset), rows, convert(self.constant))


@dataclass(frozen=True)
class Deviation:
    """What the deviation of a pixel before a LayerNorm is made of.

    Attributes:
        base: the base less its mean, a matrix from the image embedding, (C, C).
        offset: (C,).
        cross: for each layer so far a matrix from the image embedding, (heads, d + 1, C), whose
            result has the inner products of rows and base, value vectors left out.
        cross_offset: of these, (heads, d + 1).
        gram: ``gram[j][i]`` for the layers j and i <= j, (heads, d + 1, heads, d + 1): the inner
            products of rows of the one and the other, value vectors left out.
        eps: the LayerNorm's.
    """

    base: Tensor
    offset: Tensor
    cross: tuple[Tensor, ...]
    cross_offset: tuple[Tensor, ...]
    gram: tuple[tuple[Tensor, ...], ...]
    eps: float

    def to(self, convert: Callable[[Tensor], Tensor]) -> Deviation:
        """With every tensor converted."""
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
    """How the pixels of a prompt are made after some layers, float64.

    Attributes:
        base: matrix from the image embedding, (C, C).
        offset: of the base, (C,).
        generators: for each layer so far what makes rows of its value vectors with a 1 appended,
            (heads, d + 1, C).
        constant: (C,).
    """

    base: Tensor
    offset: Tensor
    generators: tuple[Tensor, ...]
    constant: Tensor

    @classmethod
    def of_image(cls, channels: int) -> PixelForm:
        """Before the first layer, where a pixel is the image embedding's."""
        zero = torch.zeros(channels, dtype=torch.float64)
        return cls(torch.eye(channels, dtype=torch.float64), zero, (), zero)

    def project(self, weight: Tensor, constant: Tensor) -> Projection:
        """A linear map of pixels of this form.

        Args:
            weight: float64 (o, C).
            constant: what the map adds, float64 (o, N) or (o, 1).
        """
        return Projection(
            base=weight @ self.base,
            offset=weight @ self.offset,
            rows=tuple(torch.einsum("oc,hdc->ohd", weight, each) for each in self.generators),
            constant=constant + (weight @ self.constant)[:, None],
        )

    def attended(self, attention: Any) -> PixelForm:
        """With what the attention over the tokens adds, and less the mean over channels.

        Args:
            attention: the network's ``cross_attn_image_to_token``.
        """
        weight, bias = _float64(attention.o_proj)
        heads = int(attention.num_attention_heads)
        # The weights of a head sum to 1, so that its rows can carry a constant.
        carried = ((self.constant + bias) / heads).expand(heads, 1, -1)
        added = torch.cat([weight.T.reshape(heads, -1, len(weight)), carried], dim=1)
        return PixelForm(
            base=self.base - self.base.mean(dim=0),
            offset=self.offset - self.offset.mean(),
            generators=tuple(
                each - each.mean(dim=-1, keepdim=True) for each in (*self.generators, added)
            ),
            constant=torch.zeros_like(self.constant),
        )

    def deviation(self, eps: float) -> Deviation:
        """What divides pixels of this form, which has no mean, in a LayerNorm."""
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
        """After a LayerNorm's gain and bias; its division is left to scale and weights."""
        gain, bias = _float64(norm)
        return PixelForm(
            base=gain[:, None] * self.base,
            offset=gain * self.offset,
            generators=tuple(each * gain for each in self.generators),
            constant=bias,
        )


def project_linear(form: PixelForm, linear: Any, positions: Tensor | None = None) -> Projection:
    """A linear layer of the network on pixels of a form, positions added to them first or not.

    Args:
        form: of the pixels.
        linear: a ``Linear`` of the network.
        positions: positional embeddings of the pixels, float64 (C, N).
    """
    weight, bias = _float64(linear)
    constant = bias[:, None]
    return form.project(weight, constant if positions is None else constant + weight @ positions)


def _float64(module: Any) -> tuple[Tensor, Tensor]:
    return module.weight.detach().cpu().double(), module.bias.detach().cpu().double()
