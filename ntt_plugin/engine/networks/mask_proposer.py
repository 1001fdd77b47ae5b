"""The promptable segmenter: a grid of points, or boxes, in; masks out."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import Sam2Model

from ..device.batching import BatchSizes, PromptBatches, reraise_oom
from ..device.compiling import Compiled
from ..images.load import normalise
from ..proposals.cache import architecture
from .decoder.prompt_decoder import Attended, DecoderImage, PromptDecoder


class MaskProposer:
    """A SAM 2 that cuts one image into masks.

    Attributes:
        size: side of its input, in pixels (the recipe's R).
        architecture: what it computes with beside its weights, as a text.
    """

    def __init__(
        self,
        model: Sam2Model,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        *,
        compile: bool = False,
    ) -> None:
        """Put a network on its device.

        Args:
            model: SAM 2.0 or 2.1, of any size.
            device: where it runs.
            dtype: what it computes in; logits and IoUs come out as float32 all the same.
            compile: compile it at the first image.
        """
        with reraise_oom(
            f"load the segmenter on the device {str(device)!r}",
            "Close other programs that use it, choose a preset with a smaller segmenter (fast),"
            " or run on another device.",
        ):
            self._model = model.to(device=device).eval()
        # Prompts stay in float32: rounded to bfloat16, a point would move by pixels.
        self._decoder = PromptDecoder(self._model, device, dtype, compile=compile)
        self._model.vision_encoder.to(dtype)
        self._device = device
        self._dtype = dtype
        self._grids: dict[int, Tensor] = {}
        self._maps = Compiled(self._feature_maps) if compile else self._feature_maps
        self._batches = PromptBatches(device)
        self._batch_sizes = BatchSizes.for_device(device, *self._decoder.memory())
        self.architecture = architecture(model.config.to_dict())
        self.size = int(model.config.prompt_encoder_config.image_size)

    def batch_size(self, asked: int) -> int:
        """Prompts decoded at once where ``asked`` are allowed: fewer once memory ran out."""
        return self._batches.size(min(asked, self._batch_sizes.attended))

    @torch.inference_mode()
    def propose(
        self, image: Tensor, grid: int, point_batch: int, iou_threshold: float
    ) -> tuple[Tensor, Tensor]:
        """The best mask of every point of a grid, where its predicted IoU is high enough.

        Recipe, sections 3.3 to 3.5. The order is that of the points, column by column.

        Args:
            image: float (3, size, size) in [0, 1].
            grid: points along each side.
            point_batch: points decoded at once, at most.
            iou_threshold: masks with a predicted IoU above it are kept.

        Returns:
            Mask logits, float32 (n, m, m), and predicted IoUs, float32 (n,); n may be 0.

        Raises:
            OutOfMemoryError: memory is not enough for the image or for a single point.
        """
        return self.best_masks(self.embed(image), grid, point_batch, iou_threshold)

    @torch.inference_mode()
    def best_masks(
        self, features: list[Tensor], grid: int, point_batch: int, iou_threshold: float
    ) -> tuple[Tensor, Tensor]:
        """As ``propose``, from the feature maps that ``embed`` gives."""
        shared = self._decoder.prepare(features)

        def decode(points: Tensor) -> tuple[Tensor, Tensor]:
            attended = self._decoder.attend_points(shared, points)
            ious = attended.ious[:, 0]
            # Masks are drawn only for the points that are kept: most of the work is saved.
            kept = torch.nonzero(ious > iou_threshold)[:, 0]
            return self._draw(shared, attended, kept)[:, 0].float(), ious[kept]

        if grid not in self._grids:
            self._grids[grid] = grid_points(grid, self.size).to(self._device)
        points = self._grids[grid]
        decoded = self._batches.run(decode, points, self.batch_size(point_batch))
        logits = torch.cat([logits for logits, _ in decoded])
        return logits, torch.cat([ious for _, ious in decoded])

    @torch.inference_mode()
    def masks_from_boxes(
        self, image: Tensor, boxes: Tensor, batch: int = 64
    ) -> tuple[Tensor, Tensor]:
        """One mask for each box.

        Args:
            image: float (3, size, size) in [0, 1].
            boxes: x1 y1 x2 y2 in pixels of ``image``, float (n, 4).
            batch: boxes decoded at once, at most.

        Returns:
            Mask logits, float32 (n, m, m), and predicted IoUs, float32 (n,).

        Raises:
            OutOfMemoryError: memory is not enough for the image or for a single box.
        """
        side = self.size // 4
        if len(boxes) == 0:
            empty = torch.zeros(0, device=self._device)
            return empty.view(0, 1, 1).expand(0, side, side), empty
        shared = self._decoder.prepare(self.embed(image))

        def decode(some: Tensor) -> tuple[Tensor, Tensor]:
            attended = self._decoder.attend_boxes(shared, some)
            every = torch.arange(len(some), device=self._device)
            drawn = self._draw(shared, attended, every)
            return self._decoder.choose(drawn, attended.ious)

        prompts = boxes.float().to(self._device)
        decoded = self._batches.run(decode, prompts, self.batch_size(batch))
        logits = torch.cat([logits for logits, _ in decoded])
        return logits.float(), torch.cat([ious for _, ious in decoded])

    @torch.inference_mode()
    def embed(self, image: Tensor) -> list[Tensor]:
        """Feature maps for the mask decoder, finest first, each (1, c, h, w).

        The coarsest is the neck's own, without SAM 2's "no memory" embedding (recipe, 3.3).

        Args:
            image: float (3, size, size) in [0, 1].

        Raises:
            OutOfMemoryError: the device has not the memory for the network.
        """
        with reraise_oom(
            f"run the segmenter on an image on the device {str(self._device)!r}",
            "Close other programs that use it, choose a preset with a smaller segmenter (fast),"
            " or run on another device.",
        ):
            pixels = normalise(image.to(self._device))[None].to(self._dtype)
            maps = self._maps(pixels)
        return [
            level.permute(1, 2, 0).reshape(1, -1, *size)
            for level, size in zip(maps, self._model.backbone_feature_sizes, strict=True)
        ]

    def _feature_maps(self, pixels: Tensor) -> list[Tensor]:
        return list(self._model.get_image_features(pixels).fpn_hidden_states)

    def _draw(self, shared: DecoderImage, attended: Attended, kept: Tensor) -> Tensor:
        """Masks of the prompts whose indices are kept, (n, k, m, m)."""
        drawn = self._batches.size(self._batch_sizes.drawn)
        return torch.cat(
            [self._decoder.draw(shared, attended, rows) for rows in torch.split(kept, drawn)]
        )


def grid_points(grid: int, size: int) -> Tensor:
    """The points that prompt the segmenter, x y in pixels, float (grid * grid, 2).

    Recipe, section 3.4. The prompt encoder adds a further half pixel itself.
    """
    line = torch.linspace(0, size - 1, grid) + 0.5
    return torch.cartesian_prod(line, line)
