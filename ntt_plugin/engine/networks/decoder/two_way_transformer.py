"""SAM 2's two-way transformer over many prompts of one image, with the image side folded.

Computes the same as the plain network (recipe, sections 3.4 and 8); ``folded_weights`` derives how.
Shapes: b prompts of t tokens each, C channels, ``heads`` heads of d channels, N pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .folded_weights import Deviation, PixelForm, Projection, project_linear


@dataclass(frozen=True, eq=False)
class Pixels:
    """The part of the pixels' form that differs between prompts; see ``folded_weights``.

    Attributes:
        scale: float32 (b, 1, N); None before the first layer, where it is 1.
        weights: attention weights of each layer so far, (b, heads * t, N).
        values: value vectors of each layer so far, with a 1 appended, (b, heads, t, d + 1).
    """

    scale: Tensor | None
    weights: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    def select(self, rows: Tensor) -> Pixels:
        """The pixels of the prompts with indices ``rows``, int (n,)."""
        return Pixels(
            None if self.scale is None else self.scale[rows],
            tuple(block[rows] for block in self.weights),
            tuple(each[rows] for each in self.values),
        )


@dataclass(frozen=True, eq=False)
class SharedMap:
    """A ``Projection`` applied to one image: the part that all prompts share.

    Attributes:
        base: projected base, to be scaled per pixel, (heads, d, N).
        constant: unscaled bias, (heads, d, N or 1); None before the first layer, where ``base``
            includes it.
        rows: the projection's ``rows`` of each layer so far, (heads, d, heads, d + 1).
    """

    base: Tensor
    constant: Tensor | None
    rows: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class SharedDeviation:
    """A ``Deviation`` applied to one image: the part that all prompts share, float32.

    Attributes:
        squares: squared length of the base, (N,).
        cross: for each layer so far, inner products of base and generators, (heads, d + 1, N).
        gram: see ``Deviation``.
    """

    squares: Tensor
    cross: tuple[Tensor, ...]
    gram: tuple[tuple[Tensor, ...], ...]
    channels: int
    eps: float


class _Layer:
    """A layer of the network with its linear maps of the pixels folded."""

    def __init__(
        self, module: Any, form: PixelForm, positions: Tensor, place: Callable[[Tensor], Tensor]
    ) -> None:
        inward, outward = module.cross_attn_token_to_image, module.cross_attn_image_to_token
        self.module = module
        # Tokens attend to pixels (keys, values); then pixels attend to tokens (queries).
        self.keys = project_linear(form, inward.k_proj, positions).to(place)
        self.values = project_linear(form, inward.v_proj).to(place)
        self.queries = project_linear(form, outward.q_proj, positions).to(place)
        # The pixels' form after that attention and layer_norm4.
        attended = form.attended(outward)
        self.deviation = attended.deviation(float(module.layer_norm4.eps)).to(place)
        self.form = attended.normalised(module.layer_norm4)


@dataclass(frozen=True, eq=False)
class SharedLayers:
    """What the prompts of one image share.

    Attributes:
        layers: keys, values, queries and LayerNorm of each layer.
        last: keys and values of the final attention.
    """

    layers: list[tuple[SharedMap, SharedMap, SharedMap, SharedDeviation]]
    last: tuple[SharedMap, SharedMap]


class TwoWayTransformer:
    """The transformer of a mask decoder with its image side folded.

    Attributes:
        form: form of the pixels after the last layer, for further linear maps of them.
    """

    def __init__(self, transformer: Any, positions: Tensor, device: torch.device) -> None:
        """Fold a network's weights, in float64; call it before the network is cast down.

        Args:
            transformer: the network's ``Sam2TwoWayTransformer``, in float32.
            positions: positional embeddings of the pixels, (C, N).
            device: device to run on.
        """
        # Fold in float64, for products of many matrices; run from float32.
        positions = positions.detach().cpu().double()
        place = partial(torch.Tensor.to, device=device, dtype=torch.float32)
        self._module = transformer
        self._layers: list[_Layer] = []
        # Each layer's maps depend on the form that the layer before leaves.
        form = PixelForm.of_image(len(positions))
        for module in transformer.layers:
            self._layers.append(_Layer(module, form, positions, place))
            form = self._layers[-1].form
        # The final attention reads the pixels that the last layer leaves, and changes none.
        self.form = form
        last = transformer.final_attn_token_to_image
        self._keys = project_linear(form, last.k_proj, positions).to(place)
        self._values = project_linear(form, last.v_proj).to(place)
        self.heads = int(last.num_attention_heads)

    def share(self, embedding: Tensor) -> SharedLayers:
        """Compute what the prompts share of an image's embedding, its dense part added, (C, N)."""
        # In float32: the result alone is cast to the dtype of the run.
        pixels = embedding.float()

        def share(projection: Projection) -> SharedMap:
            return share_map(projection, pixels, self.heads, embedding.dtype)

        return SharedLayers(
            layers=[
                (
                    share(layer.keys),
                    share(layer.values),
                    share(layer.queries),
                    _share_deviation(layer.deviation, pixels),
                )
                for layer in self._layers
            ],
            last=(share(self._keys), share(self._values)),
        )

    def run(self, shared: SharedLayers, prompts: Tensor, wanted: Tensor) -> tuple[Tensor, Pixels]:
        """Run all layers on the tokens of the prompts, (b, t, C).

        Returns:
            The final tokens with the indices ``wanted``, (b, k, C), and the pixels.
        """
        tokens, pixels = prompts, Pixels(None, (), ())
        for layer, (keys, values, queries, deviation) in zip(
            self._layers, shared.layers, strict=True
        ):
            module = layer.module
            # 1. Self-attention of the tokens.
            tokens = _attend_tokens(module, tokens, prompts)
            # 2. Tokens attend to the pixels.
            tokens = tokens + _attend_pixels(
                module.cross_attn_token_to_image, tokens + prompts, pixels, keys, values
            )
            tokens = module.layer_norm2(tokens)
            # 3. MLP of the tokens.
            tokens = module.layer_norm3(tokens + module.mlp(tokens))
            # 4. Pixels attend to the tokens.
            pixels = _update(
                module.cross_attn_image_to_token, tokens, prompts, pixels, queries, deviation
            )
        # 5. A last attention to the pixels, for the requested tokens only.
        tokens, prompts = tokens[:, wanted], prompts[:, wanted]
        last = self._module.final_attn_token_to_image
        tokens = tokens + _attend_pixels(last, tokens + prompts, pixels, *shared.last)
        return self._module.layer_norm_final_attn(tokens), pixels


def share_map(projection: Projection, pixels: Tensor, heads: int, dtype: torch.dtype) -> SharedMap:
    """Apply a projection to an image embedding, float32 (C, N); split its channels into heads."""

    def divided(part: Tensor) -> Tensor:
        return torch.unflatten(part.to(dtype), 0, (heads, -1))

    # Project the image embedding: base @ pixels + offset, (o, N).
    base = torch.addmm(projection.offset[:, None], projection.base, pixels)
    # Before the first layer the scale is 1: add the constant once and for all.
    constant: Tensor | None = projection.constant
    if not projection.rows:
        base, constant = base + projection.constant, None
    # Split the o channels of every part into heads of d.
    return SharedMap(
        divided(base),
        None if constant is None else divided(constant),
        tuple(divided(row) for row in projection.rows),
    )


def row_maps(rows: tuple[Tensor, ...], pixels: Pixels) -> list[Tensor]:
    """Project the rows of b prompts by ``SharedMap.rows``: value vectors times its matrices.

    Returns:
        A tensor (b, heads, d, heads * t) for each layer so far.
    """
    # For each head i and token t that added a row: its value vector through the map's matrix.
    return [
        torch.einsum("hdie,bite->bhdit", row, values).flatten(3)
        for row, values in zip(rows, pixels.values, strict=True)
    ]


def _share_deviation(deviation: Deviation, pixels: Tensor) -> SharedDeviation:
    # The image embedding with its mean subtracted, (C, N), and its squared length.
    base = torch.addmm(deviation.offset[:, None], deviation.base, pixels)
    return SharedDeviation(
        squares=base.square().sum(dim=0),
        # <base, generators>; a prompt's value vectors turn them into <base, rows>.
        cross=tuple(
            matrix @ pixels + offset[..., None]
            for matrix, offset in zip(deviation.cross, deviation.cross_offset, strict=True)
        ),
        gram=deviation.gram,
        channels=len(base),
        eps=deviation.eps,
    )


def _attend_tokens(module: Any, tokens: Tensor, prompts: Tensor) -> Tensor:
    """Self-attention of the tokens and LayerNorm, (b, t, C)."""
    # The first layer adds neither the positional embedding nor the residual.
    first = module.skip_first_layer_pe
    query = (tokens if first else tokens + prompts)[None]
    # The prompts are the module's second dimension, (1, b, t, C).
    attended: Tensor = module.self_attn(query=query, key=query, value=tokens[None])[0][0]
    normalised: Tensor = module.layer_norm1(attended if first else tokens + attended)
    return normalised


def _attend_pixels(
    attention: Any, tokens: Tensor, pixels: Pixels, keys: SharedMap, values: SharedMap
) -> Tensor:
    """Cross-attention from tokens to pixels, without the residual, (b, t, C)."""
    # Scaled dot products of the tokens' queries and the pixels' keys, (b, heads * t, N).
    queries = _heads(attention.q_proj(tokens) * attention.scaling, attention)
    # Softmax over the pixels, then the weighted sum of their values, (b, heads, t, d).
    weights = _scores(queries, pixels, keys).softmax(dim=-1)
    gathered = _gather(weights, pixels, values)
    # Concatenate the heads and project back to C channels.
    given: Tensor = attention.o_proj(gathered.transpose(1, 2).flatten(2))
    return given


def _update(
    attention: Any,
    tokens: Tensor,
    prompts: Tensor,
    pixels: Pixels,
    queries: SharedMap,
    deviation: SharedDeviation,
) -> Pixels:
    """The pixels after their attention to the tokens, the residual and the LayerNorm."""
    # Keys and values of the tokens; the 1 appended carries constants (see ``PixelForm``).
    keys = _heads(attention.k_proj(tokens + prompts) * attention.scaling, attention)
    values = _heads(attention.v_proj(tokens), attention)
    values = torch.cat([values, values.new_ones(()).expand(*values.shape[:-1], 1)], dim=-1)
    # Softmax over the tokens (dim 2), for each head and pixel.
    scores = _scores(keys, pixels, queries)
    weights = torch.unflatten(scores, 1, keys.shape[1:3]).softmax(dim=2)
    # The residual: the attention only adds rows and their weights.
    blocks = (*pixels.weights, weights.flatten(1, 2))
    before = Pixels(pixels.scale, blocks, (*pixels.values, values))
    # The LayerNorm: multiply scale and weights by 1 / standard deviation.
    division = _division(before, deviation)
    factor = division.to(tokens.dtype)
    # In place, to save memory: the pixels of the previous layer are not needed again.
    return Pixels(
        division if pixels.scale is None else pixels.scale * division,
        tuple(block.mul_(factor) for block in blocks),
        before.values,
    )


def _heads(tokens: Tensor, attention: Any) -> Tensor:
    """Split channels into heads: (b, t, heads * d) to (b, heads, t, d)."""
    return torch.unflatten(tokens, -1, (int(attention.num_attention_heads), -1)).transpose(1, 2)


def _scores(tokens: Tensor, pixels: Pixels, shared: SharedMap) -> Tensor:
    """Attention scores (b, heads * t, N): inner products of tokens and projected pixels.

    Tokens are (b, heads, t, d); ``shared`` is the projection of the pixels.
    """
    # scale * <token, base> + <token, constant>.
    scores = _with_shared(tokens, shared.base)
    if pixels.scale is not None and shared.constant is not None:
        scores = torch.addcmul(
            _with_shared(tokens, shared.constant), scores, pixels.scale[:, None].to(scores.dtype)
        )
    scores = scores.flatten(1, 2)
    # + sum over r of <token, rows[r]> * weights[r].
    for rows, weights in zip(row_maps(shared.rows, pixels), pixels.weights, strict=True):
        scores.baddbmm_((tokens @ rows).flatten(1, 2), weights)
    return scores


def _gather(weights: Tensor, pixels: Pixels, shared: SharedMap) -> Tensor:
    """Attention output: the weighted sum over projected pixels, head by head.

    Attention weights are (b, heads * t, N), each row summing to 1. The projection's constant must
    be the same for every pixel. Returns (b, heads, t, d).
    """
    heads = (shared.base.shape[0], -1)
    # The sum over pixels of attention * scale * base.
    scaled = weights if pixels.scale is None else weights * pixels.scale.to(weights.dtype)
    gathered = torch.einsum("bhtn,hdn->bhtd", torch.unflatten(scaled, 1, heads), shared.base)
    # + the sum over pixels of attention * weights[r], times rows[r].
    for rows, other in zip(row_maps(shared.rows, pixels), pixels.weights, strict=True):
        mixed = torch.unflatten(torch.bmm(weights, other.mT), 1, heads)
        gathered = gathered + mixed @ rows.mT
    # + constant: the attention weights sum to 1.
    return gathered if shared.constant is None else gathered + shared.constant.mT


def _with_shared(tokens: Tensor, shared: Tensor) -> Tensor:
    """Product, head by head, of (b, heads, t, d) and the shared (heads, d, N): (b, heads, t, N)."""
    return torch.einsum("bhtd,hdn->bhtn", tokens, shared)


def _division(pixels: Pixels, deviation: SharedDeviation) -> Tensor:
    """1 / standard deviation of each pixel, mean subtracted already: float32 (b, 1, N).

    Sums the squared length ``|base|^2 + 2 * <base, rows> + <rows, rows>`` without the channels.
    """
    # Sums of squares are taken in float32 in every precision.
    weights = [block.float() for block in pixels.weights]
    values = [each.float() for each in pixels.values]
    scale = pixels.scale
    # scale^2 * |base|^2.
    total = deviation.squares if scale is None else deviation.squares * scale.square()
    for j, block in enumerate(weights):
        # 2 * scale * <base, rows> of layer j.
        products = _with_shared(2 * values[j], deviation.cross[j])
        if scale is not None:
            products = products * scale[:, None]
        products = products.flatten(1, 2)
        # + <rows, rows> of layers j and i <= j; pairs i < j count twice.
        for i, gram in enumerate(deviation.gram[j]):
            mixed = torch.einsum("bhtd,hdie,bise->bhtis", values[j], gram, values[i])
            mixed = mixed.flatten(3).flatten(1, 2)
            products.baddbmm_(mixed if i == j else 2 * mixed, weights[i])
        # The sum over r of weights[r] * products[r].
        total = total + (block * products).sum(dim=1, keepdim=True)
    # Rounding can make the sum of squares slightly negative.
    return torch.rsqrt(total.clamp(min=0) / deviation.channels + deviation.eps)
