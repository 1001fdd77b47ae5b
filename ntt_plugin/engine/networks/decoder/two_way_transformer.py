"""SAM 2's two-way transformer over many prompts of one image: the same numbers, less work.

Shapes: b prompts of t tokens each, C channels, ``heads`` heads of d channels, N pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .folded_weights import Deviation, PixelForm, Projection, project_linear


@dataclass(frozen=True, eq=False)
class Pixels:
    """What of the pixels is each prompt's own; see ``folded_weights``.

    Attributes:
        scale: float32 (b, 1, N); None before the first layer, where it is 1.
        weights: for each layer so far, (b, heads * t, N).
        values: for each layer so far its value vectors with a 1 appended, (b, heads, t, d + 1).
    """

    scale: Tensor | None
    weights: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    def select(self, rows: Tensor) -> Pixels:
        """Those of some of the prompts, (n,)."""
        return Pixels(
            None if self.scale is None else self.scale[rows],
            tuple(block[rows] for block in self.weights),
            tuple(each[rows] for each in self.values),
        )


@dataclass(frozen=True, eq=False)
class SharedMap:
    """A projection of the pixels of one image, with what all prompts share computed.

    Attributes:
        base: (heads, d, N), to be scaled pixel by pixel.
        constant: (heads, d, N or 1); None where there is no scale and ``base`` includes it.
        rows: see ``Projection``, (heads, d, heads, d + 1) for each layer so far.
    """

    base: Tensor
    constant: Tensor | None
    rows: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class SharedDeviation:
    """A LayerNorm of the pixels of one image, with what all prompts share computed, float32.

    Attributes:
        squares: squared length of the base, (N,).
        cross: inner products of rows and base, value vectors left out, (heads, d + 1, N) each.
        gram: see ``Deviation``.
        channels: C.
        eps: the LayerNorm's.
    """

    squares: Tensor
    cross: tuple[Tensor, ...]
    gram: tuple[tuple[Tensor, ...], ...]
    channels: int
    eps: float


class _Layer:
    """A layer of the network, its maps of the pixels folded."""

    def __init__(self, module: Any, form: PixelForm, positions: Tensor) -> None:
        inward, outward = module.cross_attn_token_to_image, module.cross_attn_image_to_token
        self.module = module
        self.keys = project_linear(form, inward.k_proj, positions)
        self.values = project_linear(form, inward.v_proj)
        self.queries = project_linear(form, outward.q_proj, positions)
        attended = form.attended(outward)
        self.deviation = attended.deviation(float(module.layer_norm4.eps))
        self.form = attended.normalised(module.layer_norm4)


@dataclass(frozen=True, eq=False)
class SharedLayers:
    """What the prompts of one image share: three maps and a LayerNorm a layer, and the last."""

    layers: list[tuple[SharedMap, SharedMap, SharedMap, SharedDeviation]]
    last: tuple[SharedMap, SharedMap]


class TwoWayTransformer:
    """The transformer of a mask decoder, with its work on the image folded.

    Attributes:
        form: how pixels are made after the last layer, for maps of them elsewhere.
        heads: of each attention.
    """

    def __init__(self, transformer: Any, positions: Tensor, device: torch.device) -> None:
        """Fold a network's weights, which must be in float32 still.

        Args:
            transformer: the network's ``Sam2TwoWayTransformer``.
            positions: positional embeddings of the pixels, (C, N).
            device: where it runs.
        """
        positions = positions.detach().cpu().double()
        self._module = transformer
        self._layers: list[_Layer] = []
        form = PixelForm.of_image(len(positions))
        for module in transformer.layers:
            self._layers.append(_Layer(module, form, positions))
            form = self._layers[-1].form
        self.form = form
        last = transformer.final_attn_token_to_image
        self._keys = project_linear(form, last.k_proj, positions)
        self._values = project_linear(form, last.v_proj)
        self.heads = int(last.num_attention_heads)
        place = partial(torch.Tensor.to, device=device, dtype=torch.float32)
        for layer in self._layers:
            layer.keys, layer.values = layer.keys.to(place), layer.values.to(place)
            layer.queries, layer.deviation = layer.queries.to(place), layer.deviation.to(place)
        self._keys, self._values = self._keys.to(place), self._values.to(place)

    def share(self, embedding: Tensor) -> SharedLayers:
        """What the prompts of one image share.

        Args:
            embedding: of the image, with the prompt encoder's dense one added, (C, N).
        """
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
        """The tokens that are wanted, and the pixels, after all layers.

        Args:
            shared: of the image.
            prompts: tokens of the prompts, (b, t, C).
            wanted: indices of the tokens whose final state is wanted, (k,).

        Returns:
            Tokens (b, k, C), and the pixels.
        """
        tokens, pixels = prompts, Pixels(None, (), ())
        for layer, (keys, values, queries, deviation) in zip(
            self._layers, shared.layers, strict=True
        ):
            module = layer.module
            tokens = _attend_tokens(module, tokens, prompts)
            tokens = tokens + _attend_pixels(
                module.cross_attn_token_to_image, tokens + prompts, pixels, keys, values
            )
            tokens = module.layer_norm2(tokens)
            tokens = module.layer_norm3(tokens + module.mlp(tokens))
            pixels = _update(
                module.cross_attn_image_to_token, tokens, prompts, pixels, queries, deviation
            )
        tokens, prompts = tokens[:, wanted], prompts[:, wanted]
        last = self._module.final_attn_token_to_image
        tokens = tokens + _attend_pixels(last, tokens + prompts, pixels, *shared.last)
        return self._module.layer_norm_final_attn(tokens), pixels


def share_map(projection: Projection, pixels: Tensor, heads: int, dtype: torch.dtype) -> SharedMap:
    """A projection of the pixels of one image, its output channels divided among heads.

    Args:
        projection: o output channels.
        pixels: float32 (C, N).
        heads: number of groups of output channels.
        dtype: what is computed in from here on.
    """

    def divided(part: Tensor) -> Tensor:
        return torch.unflatten(part.to(dtype), 0, (heads, -1))

    base = torch.addmm(projection.offset[:, None], projection.base, pixels)
    constant: Tensor | None = projection.constant
    if not projection.rows:
        base, constant = base + projection.constant, None
    return SharedMap(
        divided(base),
        None if constant is None else divided(constant),
        tuple(divided(row) for row in projection.rows),
    )


def row_maps(rows: tuple[Tensor, ...], pixels: Pixels) -> list[Tensor]:
    """A projection of the rows of some prompts.

    Args:
        rows: of a ``SharedMap``.
        pixels: of the prompts.

    Returns:
        For each layer so far (b, heads, d, heads * t).
    """
    return [
        torch.einsum("hdie,bite->bhdit", row, values).flatten(3)
        for row, values in zip(rows, pixels.values, strict=True)
    ]


def _share_deviation(deviation: Deviation, pixels: Tensor) -> SharedDeviation:
    base = torch.addmm(deviation.offset[:, None], deviation.base, pixels)
    return SharedDeviation(
        squares=base.square().sum(dim=0),
        cross=tuple(
            matrix @ pixels + offset[..., None]
            for matrix, offset in zip(deviation.cross, deviation.cross_offset, strict=True)
        ),
        gram=deviation.gram,
        channels=len(base),
        eps=deviation.eps,
    )


def _attend_tokens(module: Any, tokens: Tensor, prompts: Tensor) -> Tensor:
    """A layer's self-attention and the LayerNorm after it, (b, t, C)."""
    first = module.skip_first_layer_pe
    query = (tokens if first else tokens + prompts)[None]
    attended: Tensor = module.self_attn(query=query, key=query, value=tokens[None])[0][0]
    normalised: Tensor = module.layer_norm1(attended if first else tokens + attended)
    return normalised


def _attend_pixels(
    attention: Any, tokens: Tensor, pixels: Pixels, keys: SharedMap, values: SharedMap
) -> Tensor:
    """What an attention of the network over the pixels gives each token, (b, t, C)."""
    queries = _heads(attention.q_proj(tokens) * attention.scaling, attention)
    weights = _scores(queries, pixels, keys).softmax(dim=-1)
    gathered = _gather(weights, pixels, values)
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
    """The pixels after a layer's attention over the tokens and the LayerNorm."""
    keys = _heads(attention.k_proj(tokens + prompts) * attention.scaling, attention)
    values = _heads(attention.v_proj(tokens), attention)
    values = torch.cat([values, values.new_ones(()).expand(*values.shape[:-1], 1)], dim=-1)
    scores = _scores(keys, pixels, queries)
    weights = torch.unflatten(scores, 1, keys.shape[1:3]).softmax(dim=2)
    blocks = (*pixels.weights, weights.flatten(1, 2))
    before = Pixels(pixels.scale, blocks, (*pixels.values, values))
    division = _division(before, deviation)
    factor = division.to(tokens.dtype)
    # In place: the pixels of the layer before are not needed any more.
    return Pixels(
        division if pixels.scale is None else pixels.scale * division,
        tuple(block.mul_(factor) for block in blocks),
        before.values,
    )


def _heads(tokens: Tensor, attention: Any) -> Tensor:
    """Channels divided among heads: (b, heads, t, d)."""
    return torch.unflatten(tokens, -1, (int(attention.num_attention_heads), -1)).transpose(1, 2)


def _scores(tokens: Tensor, pixels: Pixels, shared: SharedMap) -> Tensor:
    """Inner products of each head's tokens and its projection of the pixels.

    Args:
        tokens: (b, heads, t, d).
        pixels: of the prompts.
        shared: of the projection.

    Returns:
        (b, heads * t, N).
    """
    scores = _with_shared(tokens, shared.base)
    if pixels.scale is not None and shared.constant is not None:
        scores = torch.addcmul(
            _with_shared(tokens, shared.constant), scores, pixels.scale[:, None].to(scores.dtype)
        )
    scores = scores.flatten(1, 2)
    for rows, weights in zip(row_maps(shared.rows, pixels), pixels.weights, strict=True):
        scores.baddbmm_((tokens @ rows).flatten(1, 2), weights)
    return scores


def _gather(weights: Tensor, pixels: Pixels, shared: SharedMap) -> Tensor:
    """Sums of a projection of the pixels, for each head with its own weights.

    Args:
        weights: attention weights, (b, heads * t, N), each row of which sums to 1.
        pixels: of the prompts.
        shared: of the projection, its constant the same for every pixel.

    Returns:
        (b, heads, t, d).
    """
    heads = (shared.base.shape[0], -1)
    scaled = weights if pixels.scale is None else weights * pixels.scale.to(weights.dtype)
    gathered = torch.einsum("bhtn,hdn->bhtd", torch.unflatten(scaled, 1, heads), shared.base)
    for rows, other in zip(row_maps(shared.rows, pixels), pixels.weights, strict=True):
        mixed = torch.unflatten(torch.bmm(weights, other.mT), 1, heads)
        gathered = gathered + mixed @ rows.mT
    return gathered if shared.constant is None else gathered + shared.constant.mT


def _with_shared(tokens: Tensor, shared: Tensor) -> Tensor:
    """Each head's tokens (b, heads, t, d) by what prompts share (heads, d, N): (b, heads, t, N)."""
    return torch.einsum("bhtd,hdn->bhtn", tokens, shared)


def _division(pixels: Pixels, deviation: SharedDeviation) -> Tensor:
    """What a LayerNorm multiplies each pixel by, once its mean is off: float32 (b, 1, N)."""
    weights = [block.float() for block in pixels.weights]
    values = [each.float() for each in pixels.values]
    scale = pixels.scale
    total = deviation.squares if scale is None else deviation.squares * scale.square()
    for j, block in enumerate(weights):
        products = _with_shared(2 * values[j], deviation.cross[j])
        if scale is not None:
            products = products * scale[:, None]
        products = products.flatten(1, 2)
        for i, gram in enumerate(deviation.gram[j]):
            mixed = torch.einsum("bhtd,hdie,bise->bhtis", values[j], gram, values[i])
            mixed = mixed.flatten(3).flatten(1, 2)
            products.baddbmm_(mixed if i == j else 2 * mixed, weights[i])
        total = total + (block * products).sum(dim=1, keepdim=True)
    return torch.rsqrt(total.clamp(min=0) / deviation.channels + deviation.eps)
