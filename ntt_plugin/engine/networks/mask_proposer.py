"""The promptable segmenter: a grid of points, or boxes, in; masks out."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import Sam2Model

from ..device.batching import PromptBatches, batch_sizes, reraise_device_oom
from ..device.device import Compiled
from ..images.load import normalise
from ..proposals.cache import architecture
from ..proposals.proposals import mask_boxes
from .decoder.prompt_decoder import Attended, DecoderImage, PromptDecoder


class MaskProposer:
    """A SAM 2 network that proposes masks for an image.

    Attributes:
        size: side of its square input in pixels (R in the recipe).
        architecture: its configuration as text; part of the key of cached proposals.
    """

    def __init__(
        self,
        model: Sam2Model,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        *,
        compile: bool = False,
    ) -> None:
        """Move a SAM 2.0 or 2.1 network of any size to its device.

        It computes in ``dtype`` and returns float32; ``compile`` compiles it on the first image.

        Raises:
            OutOfMemoryError: the network does not fit in the device's memory.
        """
        with reraise_device_oom("load the segmenter", device):
            self._model = model.to(device=device).eval()
        # Prompts stay in float32: rounding to bfloat16 moves a point by pixels.
        self._decoder = PromptDecoder(self._model, device, dtype, compile=compile)
        self._model.vision_encoder.to(dtype)
        self._device = device
        self._dtype = dtype
        self._grids: dict[int, Tensor] = {}
        self._maps = Compiled(self._feature_maps) if compile else self._feature_maps
        self._batches = PromptBatches(device)
        self._attended, self._drawn = batch_sizes(device, *self._decoder.memory())
        self.architecture = architecture(model.config.to_dict())
        self.size = int(model.config.prompt_encoder_config.image_size)

    def batch_size(self, asked: int) -> int:
        """Prompts per batch, at most ``asked``; smaller once memory has run out."""
        return self._batches.size(min(asked, self._attended))

    @torch.inference_mode()
    def propose(
        self, image: Tensor, grid: int, point_batch: int, iou_threshold: float
    ) -> tuple[Tensor, Tensor]:
        """Decode a grid of points and keep masks of high predicted IoU.

        Recipe, sections 3.3 to 3.5. Masks come in the order of the points, column by column.

        Args:
            image: float (3, size, size) in [0, 1].
            grid: points along each side.
            point_batch: points per batch, at most.
            iou_threshold: keep masks with a predicted IoU above it.

        Returns:
            Mask logits, float32 (n, m, m), and predicted IoUs, float32 (n,); n may be 0.

        Raises:
            OutOfMemoryError: not enough memory for the image or for a single point.
        """
        return self.best_masks(self.embed(image), grid, point_batch, iou_threshold)

    @torch.inference_mode()
    def best_masks(
        self, features: list[Tensor], grid: int, point_batch: int, iou_threshold: float
    ) -> tuple[Tensor, Tensor]:
        """As ``propose``, from the feature maps returned by ``embed``."""
        # What depends on the image alone is computed once for all points.
        shared = self._decoder.prepare(features)

        def decode(points: Tensor) -> tuple[Tensor, Tensor]:
            attended = self._decoder.attend_points(shared, points)
            ious = attended.ious[:, 0]
            # 3.5: upscale masks only for the points kept, which saves most of the work.
            kept = torch.nonzero(ious > iou_threshold)[:, 0]
            return self._draw(shared, attended, kept)[:, 0].float(), ious[kept]

        # 3.4: the grid of points, decoded in batches.
        if grid not in self._grids:
            self._grids[grid] = grid_points(grid, self.size).to(self._device)
        points = self._grids[grid]
        decoded = self._batches.run(decode, points, self.batch_size(point_batch))
        logits = torch.cat([logits for logits, _ in decoded])
        return logits, torch.cat([ious for _, ious in decoded])

    @torch.inference_mode()
    def masks_from_boxes(
        self, image: Tensor, boxes: Tensor, batch: int = 64, points: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Decode boxes, one mask for each.

        With ``points``, points inside of the box are decoded, too. Of their multimask outputs and
        the box's own mask the one is taken whose predicted IoU times the IoU of its tight box
        with the box is the highest; of equals the box's own.

        Args:
            image: float (3, size, size) in [0, 1].
            boxes: x1 y1 x2 y2 in pixels of ``image``, float (n, 4).
            batch: prompts per batch, at most.
            points: along each side of a box; 0 for the box's own mask.

        Returns:
            Mask logits, float32 (n, m, m), and predicted IoUs, float32 (n,).

        Raises:
            OutOfMemoryError: not enough memory for the image or for a single box.
        """
        if len(boxes) == 0:
            return self._no_masks()
        return self.box_masks(self.embed(image), boxes, batch, points)

    def _no_masks(self) -> tuple[Tensor, Tensor]:
        side, empty = self.size // 4, torch.zeros(0, device=self._device)
        return empty.view(0, 1, 1).expand(0, side, side), empty

    @torch.inference_mode()
    def box_masks(
        self, features: list[Tensor], boxes: Tensor, batch: int = 64, points: int = 0
    ) -> tuple[Tensor, Tensor]:
        """As ``masks_from_boxes``, from the feature maps returned by ``embed``."""
        if len(boxes) == 0:
            return self._no_masks()
        shared = self._decoder.prepare(features)

        def decode(some: Tensor) -> tuple[Tensor, Tensor]:
            attended = self._decoder.attend_boxes(shared, some)
            return self._decoder.choose(self._draw_all(shared, attended), attended.ious)

        prompts = boxes.float().to(self._device)
        decoded = self._batches.run(decode, prompts, self.batch_size(batch))
        logits = torch.cat([logits for logits, _ in decoded]).float()
        ious = torch.cat([ious for _, ious in decoded])
        if points:
            self._take_better(shared, prompts, points, batch, logits, ious)
        return logits, ious

    def _take_better(
        self,
        shared: DecoderImage,
        boxes: Tensor,
        points: int,
        batch: int,
        logits: Tensor,
        ious: Tensor,
    ) -> None:
        """Replace masks of boxes by those of points inside where these fill the box better.

        One point of every box at a time, so that only the best mask of each box is kept, and a GPU
        is not waited for. ``logits`` (n, m, m) and ``ious`` (n,) are of the boxes' own masks, and
        are changed.
        """
        boxes = boxes.clamp(0, self.size)
        scale = logits.shape[-1] / self.size
        best = ious * _filling(logits[:, None] > 0, boxes * scale)[:, 0]

        def decode(some: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            attended = self._decoder.attend_points_for_all(shared, some[:, :2])
            drawn = self._draw_all(shared, attended).float()
            values, outputs = (attended.ious * _filling(drawn > 0, some[:, 2:] * scale)).max(dim=1)
            rows = torch.arange(len(some), device=self._device)
            return values, drawn[rows, outputs], attended.ious[rows, outputs]

        for inside in points_in_boxes(boxes, points).unbind(dim=1):
            prompts = torch.cat([inside, boxes], dim=1)
            decoded = self._batches.run(decode, prompts, self.batch_size(batch))
            values, drawn, of_drawn = (torch.cat(parts) for parts in zip(*decoded, strict=True))
            better = values > best
            best.copy_(torch.where(better, values, best))
            ious.copy_(torch.where(better, of_drawn, ious))
            logits.copy_(torch.where(better[:, None, None], drawn, logits))

    @torch.inference_mode()
    def embed(self, image: Tensor) -> list[Tensor]:
        """Compute the feature maps for the mask decoder, finest first, each (1, c, h, w).

        The coarsest map lacks SAM 2's "no memory" embedding (recipe, section 3.3).

        ``image`` is float (3, size, size) in [0, 1].

        Raises:
            OutOfMemoryError: not enough memory on the device.
        """
        with reraise_device_oom("run the segmenter on an image", self._device):
            pixels = normalise(image.to(self._device))[None].to(self._dtype)
            maps = self._maps(pixels)
        return [
            level.permute(1, 2, 0).reshape(1, -1, *size)
            for level, size in zip(maps, self._model.backbone_feature_sizes, strict=True)
        ]

    def _feature_maps(self, pixels: Tensor) -> list[Tensor]:
        return list(self._model.get_image_features(pixels).fpn_hidden_states)

    def _draw_all(self, shared: DecoderImage, attended: Attended) -> Tensor:
        """Mask logits (n, k, m, m) of all n prompts."""
        every = torch.arange(len(attended.ious), device=self._device)
        return self._draw(shared, attended, every)

    def _draw(self, shared: DecoderImage, attended: Attended, kept: Tensor) -> Tensor:
        """Mask logits (n, k, m, m) of the prompts with indices ``kept``, in batches."""
        drawn = self._batches.size(self._drawn)
        return torch.cat(
            [self._decoder.draw(shared, attended, rows) for rows in torch.split(kept, drawn)]
        )


def grid_points(grid: int, size: int) -> Tensor:
    """Grid of point prompts, x y in pixels, float (grid * grid, 2).

    Recipe, section 3.4. The prompt encoder adds another half pixel.
    """
    line = torch.linspace(0, size - 1, grid) + 0.5
    return torch.cartesian_prod(line, line)


def points_in_boxes(boxes: Tensor, count: int) -> Tensor:
    """Points evenly inside of boxes (n, 4), none on an edge, float (n, count * count, 2)."""
    parts = torch.arange(1, count + 1, device=boxes.device) / (count + 1)
    places = torch.cartesian_prod(parts, parts) if count > 1 else parts.expand(1, 2)
    corner, sides = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    return corner + places * sides


def _filling(masks: Tensor, boxes: Tensor) -> Tensor:
    """IoU of the tight boxes of masks, bool (n, k, m, m), with a box each, float (n, k).

    Boxes are x1 y1 x2 y2 in pixels of the masks, (n, 4). An empty mask fills nothing.
    """
    tight = torch.unflatten(mask_boxes(masks.flatten(0, 1)), 0, masks.shape[:2])
    low, high = tight[..., :2], tight[..., 2:] + 1
    first, last = boxes[:, None, :2], boxes[:, None, 2:]
    shared = (high.minimum(last) - low.maximum(first)).clamp(min=0).prod(dim=-1)
    areas = [(end - start).clamp(min=0).prod(dim=-1) for start, end in ((low, high), (first, last))]
    filled: Tensor = shared / (areas[0] + areas[1] - shared).clamp(min=1e-6)
    return filled
