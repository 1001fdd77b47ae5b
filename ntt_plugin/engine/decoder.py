"""The mask decoder over many prompts at once."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import Sam2Model


class PromptDecoder:
    """Runs SAM 2's mask decoder for many prompts of one image at once."""

    def __init__(self, model: Sam2Model) -> None:
        """Wrap a network that is on its device already.

        Its mask decoder may be in half precision; its prompt encoder must be in float32.
        """
        self._model = model
        self._positions = model.get_image_wide_positional_embeddings()

    def decode_points(self, features: list[Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
        """Three masks for each point, the single-mask output left out (recipe, section 3.4).

        Args:
            features: the image's feature maps, finest first, each (1, c, h, w).
            points: x y in pixels of the network's input, float (n, 2).

        Returns:
            Mask logits (n, 3, m, m) and predicted IoUs (n, 3).
        """
        coordinates = points[None, :, None]
        labels = torch.ones(coordinates.shape[:3], dtype=torch.int32, device=points.device)
        prompts = self._model.prompt_encoder(coordinates, labels, None, None)
        return self._decode(features, *prompts, multimask=True)

    def decode_boxes(self, features: list[Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
        """One mask for each box, chosen as SAM 2 does for a prompt that is not ambiguous.

        Args:
            features: the image's feature maps, finest first, each (1, c, h, w).
            boxes: x1 y1 x2 y2 in pixels of the network's input, float (n, 4).

        Returns:
            Mask logits (n, 1, m, m) and predicted IoUs (n, 1).
        """
        prompts = self._model.prompt_encoder(None, None, boxes[None], None)
        return self._decode(features, *prompts, multimask=False)

    def _decode(
        self, features: list[Tensor], sparse: Tensor, dense: Tensor, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        embedding = features[-1]
        logits, ious, _, _ = self._model.mask_decoder(
            image_embeddings=embedding,
            image_positional_embeddings=self._positions.to(embedding.dtype),
            sparse_prompt_embeddings=sparse.to(embedding.dtype),
            dense_prompt_embeddings=dense.to(embedding.dtype),
            multimask_output=multimask,
            high_resolution_features=features[:-1],
        )
        return logits[0], ious[0]
