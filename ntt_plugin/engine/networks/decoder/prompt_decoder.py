"""SAM 2's mask decoder over many prompts of one image, computing what they share once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Sam2Model

from ...device.device import Compiled
from .folded_weights import PixelForm
from .two_way_transformer import Pixels, SharedLayers, TwoWayTransformer, row_maps

# Order of the tokens: object score, predicted IoU, masks (the single-mask output first), prompt.
_IOU, _MASKS = 1, 2
# Tokens of a point prompt, its padding point included (recipe, section 8).
_TOKENS = 8


@dataclass(frozen=True, eq=False)
class DecoderImage:
    """What the prompts of one image share."""

    layers: SharedLayers
    upscaling: SharedUpscaling


@dataclass(frozen=True, eq=False)
class Attended:
    """Prompts after the transformer: predicted IoUs, and what the masks are computed from.

    Attributes:
        ious: predicted IoUs, float32 (b, k).
        hyper: output of the hypernetworks, (b, k, channels).
        pixels: pixels of the b prompts.
    """

    ious: Tensor
    hyper: Tensor
    pixels: Pixels


class PromptDecoder:
    """SAM 2's mask decoder: the results of the plain network (recipe, section 8), less work."""

    def __init__(
        self, model: Sam2Model, device: torch.device, dtype: torch.dtype, *, compile: bool = False
    ) -> None:
        """Fold a network's weights and move its decoder and prompt encoder to the device.

        The model is in float32; its mask decoder is cast to ``dtype``, its prompt encoder is not.
        ``compile`` compiles on the first call.
        """
        decoder: Any = model.mask_decoder
        # Positional embeddings of the pixels, (1, C, h, w): alike for all images.
        positions = model.get_image_wide_positional_embeddings()
        self._size = (int(positions.shape[-2]), int(positions.shape[-1]))
        # Fold the transformer first: the upscaling continues from the form that it leaves.
        self._transformer = TwoWayTransformer(decoder.transformer, positions[0].flatten(1), device)
        self._upscaler = Upscaler(decoder, self._transformer.form, device)
        transform, upscale = self._transformer.run, self._upscaler.run
        self._transform = Compiled(transform) if compile else transform
        self._upscale = Compiled(upscale) if compile else upscale
        self._decoder = decoder.to(device=device, dtype=dtype)
        self._prompts: Any = model.prompt_encoder.to(device)
        self._count = int(decoder.num_mask_tokens)
        # Created on the device once: copying them for each batch would synchronise with the GPU.
        tokens = torch.tensor([_IOU, *range(_MASKS, _MASKS + self._count)], device=device)
        self._all_masks, self._multimask = tokens, tokens[tokens != _MASKS]

    def memory(self) -> tuple[int, int]:
        """Bytes per prompt, measured and rounded up: in the transformer, and in the upscaling."""
        item = self._decoder.iou_token.weight.element_size()
        channels = int(self._decoder.hidden_size)
        pixels = self._size[0] * self._size[1]
        weights = self._transformer.heads * _TOKENS * pixels * item
        return 12 * weights, 10 * pixels * channels * item

    def prepare(self, features: list[Tensor]) -> DecoderImage:
        """Compute what the prompts share of feature maps (1, c, h, w), finest first."""
        # The coarsest map is the image embedding; flatten it to pixels, (C, N).
        # Without a mask prompt the dense embedding is the same vector for every pixel.
        embedding = features[-1][0].flatten(1)
        dense = self._prompts.no_mask_embed.weight.T.to(embedding.dtype)
        embedding = embedding + dense
        return DecoderImage(
            self._transformer.share(embedding),
            self._upscaler.share(embedding, features[:-1], self._size),
        )

    def attend_points(self, image: DecoderImage, points: Tensor) -> Attended:
        """Decode points, up to the best of the three multimask outputs (recipe, section 3.4).

        Points are x y in pixels of the network's input, float (n, 2). For each, the output with
        the highest predicted IoU is returned, k = 1.
        """
        found = self.attend_points_for_all(image, points)
        # Of the three outputs keep the one with the highest predicted IoU.
        best = found.ious.argmax(dim=1, keepdim=True)
        hyper = found.hyper.gather(1, best[..., None].expand(-1, -1, found.hyper.shape[-1]))
        return Attended(found.ious.gather(1, best), hyper, found.pixels)

    def attend_points_for_all(self, image: DecoderImage, points: Tensor) -> Attended:
        """As ``attend_points``, with all three multimask outputs, k = 3."""
        # One foreground point (label 1) per prompt; the prompt encoder adds the padding point.
        coordinates = points[None, :, None]
        labels = torch.ones(coordinates.shape[:3], dtype=torch.int32, device=points.device)
        sparse, _ = self._prompts(coordinates, labels, None, None)
        return self._attend(image, sparse[0], self._multimask)

    def attend_boxes(self, image: DecoderImage, boxes: Tensor) -> Attended:
        """Decode boxes, all outputs, the single-mask output first; ``choose`` selects one.

        Boxes are x1 y1 x2 y2 in pixels of the network's input, float (n, 4).
        """
        # The prompt encoder embeds a box as its two corners.
        sparse, _ = self._prompts(None, None, boxes[None], None)
        return self._attend(image, sparse[0], self._all_masks)

    def draw(self, image: DecoderImage, attended: Attended, rows: Tensor) -> Tensor:
        """Mask logits (n, k, m, m) of the prompts with the indices ``rows``, int (n,)."""
        # Only the prompts kept are upscaled (recipe, section 3.5).
        return self._upscale(image.upscaling, attended.pixels.select(rows), attended.hyper[rows])

    def choose(self, logits: Tensor, ious: Tensor) -> tuple[Tensor, Tensor]:
        """Select one output per prompt as SAM 2 does with ``multimask_output=False``.

        The single-mask output, unless its stability score is below the network's threshold: then
        the multimask output with the highest predicted IoU.

        Args:
            logits: (n, k, m, m), the single-mask output first.
            ious: predicted IoUs (n, k).

        Returns:
            Mask logits (n, m, m) and predicted IoUs (n,).
        """
        # Output 0 is the single-mask output.
        chosen = torch.zeros(len(ious), dtype=torch.int64, device=ious.device)
        if self._decoder.dynamic_multimask_via_stability:
            delta = self._decoder.dynamic_multimask_stability_delta
            # Stability: IoU of the masks cut at +delta and at -delta; 1 if both are empty.
            single = logits[:, 0].flatten(1)
            inner = (single > delta).sum(dim=1).float()
            outer = (single > -delta).sum(dim=1).float()
            stability = torch.where(outer > 0, inner / outer, 1.0)
            stable = stability >= self._decoder.dynamic_multimask_stability_thresh
            # An unstable one is replaced by the best of the multimask outputs 1, 2, ...
            chosen = torch.where(stable, chosen, 1 + ious[:, 1:].argmax(dim=1))
        rows = torch.arange(len(ious), device=ious.device)
        return logits[rows, chosen], ious[rows, chosen]

    def _attend(self, image: DecoderImage, sparse: Tensor, wanted: Tensor) -> Attended:
        """Run sparse prompt embeddings (n, t, C) through the transformer and its heads.

        ``wanted`` are the indices of the IoU token and of the last mask tokens, to be returned.
        """
        # Concatenate the decoder's own tokens; expand them in batch direction, before the prompt's.
        decoder = self._decoder
        own = (decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens)
        output = torch.cat([token.weight for token in own])
        tokens = torch.cat([output.expand(len(sparse), -1, -1), sparse.to(output.dtype)], dim=1)
        # Run the two-way transformer: final tokens (n, k, C), and the pixels.
        final, pixels = self._transform(image.layers, tokens, wanted)
        # A hypernetwork per mask token, and the IoU head, which predicts the IoUs of all masks.
        first = self._count - (len(wanted) - 1)
        hyper = [
            network(final[:, 1 + place])
            for place, network in enumerate(decoder.output_hypernetworks_mlps[first:])
        ]
        ious = decoder.iou_prediction_head(final[:, 0]).float()
        return Attended(ious[:, first:], torch.stack(hyper, dim=1), pixels)


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
