"""The mask decoder over many prompts of one image, doing once what is the same for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Sam2Model

from ...device.compiling import Compiled
from .mask_upscaling import SharedUpscaling, Upscaler
from .two_way_transformer import Pixels, SharedLayers, TwoWayTransformer

# The tokens of every prompt: object score, predicted IoU, masks (the single one first), and the
# prompt's own.
_IOU, _MASKS = 1, 2
# As many as there are with a point.
_TOKENS = 8


@dataclass(frozen=True, eq=False)
class DecoderImage:
    """What the prompts of one image share."""

    layers: SharedLayers
    upscaling: SharedUpscaling


@dataclass(frozen=True, eq=False)
class Attended:
    """Prompts after the transformer: IoUs are known, masks not yet drawn.

    Attributes:
        ious: predicted IoUs, float32 (b, k).
        hyper: what each mask weighs the finest channels by, (b, k, channels).
        pixels: of the b prompts.
    """

    ious: Tensor
    hyper: Tensor
    pixels: Pixels


class PromptDecoder:
    """SAM 2's mask decoder: the plain network's numbers (recipe, section 8) for less work."""

    def __init__(
        self,
        model: Sam2Model,
        device: torch.device,
        dtype: torch.dtype,
        *,
        compile: bool = False,
    ) -> None:
        """Fold a network that is in float32 still, and put its mask decoder on its device.

        Args:
            model: its prompt encoder stays as it is, in float32.
            device: where it runs.
            dtype: what it computes in.
            compile: compile it at the first prompts.
        """
        decoder: Any = model.mask_decoder
        positions = model.get_image_wide_positional_embeddings()
        self._size = (int(positions.shape[-2]), int(positions.shape[-1]))
        self._transformer = TwoWayTransformer(decoder.transformer, positions[0].flatten(1), device)
        self._upscaler = Upscaler(decoder, self._transformer.form, device)
        transform, upscale = self._transformer.run, self._upscaler.run
        self._transform = Compiled(transform) if compile else transform
        self._upscale = Compiled(upscale) if compile else upscale
        self._decoder = decoder.to(device=device, dtype=dtype)
        self._prompts: Any = model.prompt_encoder.to(device)
        self._count = int(decoder.num_mask_tokens)
        # On the device from the start: to send them with each batch would stop a GPU.
        tokens = torch.tensor([_IOU, *range(_MASKS, _MASKS + self._count)], device=device)
        self._all_masks, self._multimask = tokens, tokens[tokens != _MASKS]

    def memory(self) -> tuple[int, int]:
        """Bytes that a prompt takes in the transformer, and while its masks are drawn.

        As measured, rounded up: what one layer has in hand, and two sizes of upscaled pixels.
        """
        item = self._decoder.iou_token.weight.element_size()
        channels = int(self._decoder.hidden_size)
        pixels = self._size[0] * self._size[1]
        weights = self._transformer.heads * _TOKENS * pixels * item
        return 12 * weights, 10 * pixels * channels * item

    def prepare(self, features: list[Tensor]) -> DecoderImage:
        """What the prompts of an image share.

        Args:
            features: the image's feature maps, finest first, each (1, c, h, w).
        """
        embedding = features[-1][0].flatten(1)
        dense = self._prompts.no_mask_embed.weight.T.to(embedding.dtype)
        embedding = embedding + dense
        return DecoderImage(
            self._transformer.share(embedding),
            self._upscaler.share(embedding, features[:-1], self._size),
        )

    def attend_points(self, image: DecoderImage, points: Tensor) -> Attended:
        """The best of three masks for each point, the single-mask output left out (recipe, 3.4).

        Args:
            image: as ``prepare`` gives it.
            points: x y in pixels of the network's input, float (n, 2).

        Returns:
            One mask for each point, k = 1, that with the highest predicted IoU.
        """
        coordinates = points[None, :, None]
        labels = torch.ones(coordinates.shape[:3], dtype=torch.int32, device=points.device)
        sparse, _ = self._prompts(coordinates, labels, None, None)
        found = self._attend(image, sparse[0], self._multimask)
        best = found.ious.argmax(dim=1, keepdim=True)
        hyper = found.hyper.gather(1, best[..., None].expand(-1, -1, found.hyper.shape[-1]))
        return Attended(found.ious.gather(1, best), hyper, found.pixels)

    def attend_boxes(self, image: DecoderImage, boxes: Tensor) -> Attended:
        """Every mask for each box, the single-mask output first; see ``choose``.

        Args:
            image: as ``prepare`` gives it.
            boxes: x1 y1 x2 y2 in pixels of the network's input, float (n, 4).
        """
        sparse, _ = self._prompts(None, None, boxes[None], None)
        return self._attend(image, sparse[0], self._all_masks)

    def draw(self, image: DecoderImage, attended: Attended, rows: Tensor) -> Tensor:
        """The masks of some prompts.

        Args:
            image: as ``prepare`` gives it.
            attended: the prompts.
            rows: indices of those whose masks are drawn, (n,).

        Returns:
            Mask logits (n, k, m, m).
        """
        return self._upscale(image.upscaling, attended.pixels.select(rows), attended.hyper[rows])

    def choose(self, logits: Tensor, ious: Tensor) -> tuple[Tensor, Tensor]:
        """Of all masks of a prompt that is not ambiguous, the one that SAM 2 gives.

        That is the single-mask output, unless it is unstable: then the best of the others.

        Args:
            logits: (n, k, m, m), the single-mask output first.
            ious: predicted IoUs (n, k).

        Returns:
            Mask logits (n, m, m) and predicted IoUs (n,).
        """
        chosen = torch.zeros(len(ious), dtype=torch.int64, device=ious.device)
        if self._decoder.dynamic_multimask_via_stability:
            delta = self._decoder.dynamic_multimask_stability_delta
            single = logits[:, 0].flatten(1)
            inner = (single > delta).sum(dim=1).float()
            outer = (single > -delta).sum(dim=1).float()
            stability = torch.where(outer > 0, inner / outer, 1.0)
            stable = stability >= self._decoder.dynamic_multimask_stability_thresh
            chosen = torch.where(stable, chosen, 1 + ious[:, 1:].argmax(dim=1))
        rows = torch.arange(len(ious), device=ious.device)
        return logits[rows, chosen], ious[rows, chosen]

    def _attend(self, image: DecoderImage, sparse: Tensor, wanted: Tensor) -> Attended:
        """Prompts through the transformer.

        Args:
            image: as ``prepare`` gives it.
            sparse: embeddings of the prompts, (n, t, C).
            wanted: places of the IoU token and of the mask tokens that are wanted, the last ones.
        """
        decoder = self._decoder
        own = (decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens)
        output = torch.cat([token.weight for token in own])
        tokens = torch.cat([output.expand(len(sparse), -1, -1), sparse.to(output.dtype)], dim=1)
        final, pixels = self._transform(image.layers, tokens, wanted)
        first = self._count - (len(wanted) - 1)
        hyper = [
            network(final[:, 1 + place])
            for place, network in enumerate(decoder.output_hypernetworks_mlps[first:])
        ]
        ious = decoder.iou_prediction_head(final[:, 0]).float()
        return Attended(ious[:, first:], torch.stack(hyper, dim=1), pixels)
