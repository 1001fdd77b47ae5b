"""Both networks on one picture, an image or a tile: proposals of points, of boxes, of masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..bank.memory_bank import Fingerprint
from ..device.device import send
from ..images.load import to_tensor
from ..images.squares import square_parts
from ..proposals.candidates import Candidate, of_masks
from ..proposals.proposals import Proposals
from ..proposals.tiles import Tile
from ..recipe import Recipe
from .encoder import PatchEncoder
from .mask_proposer import MaskProposer


@dataclass(frozen=True, eq=False)
class PictureProposer:
    """The networks and a recipe; pictures are RGB, and results in their coordinates."""

    recipe: Recipe
    encoder: PatchEncoder
    proposer: MaskProposer
    device: torch.device
    fingerprint: Fingerprint

    def propose(self, picture: Image.Image) -> Proposals:
        """Proposals of the point grid (recipe, section 3)."""
        pixels, recipe = self.pixels(picture), self.recipe
        logits, ious = self.proposer.propose(
            pixels, recipe.grid, recipe.point_batch, recipe.iou_threshold
        )
        patches = self._patches(picture, pixels)
        return self._proposals(picture, logits, ious, patches, recipe.duplicate_iou)

    def propose_candidates(
        self,
        picture: Image.Image,
        tile: Tile,
        candidates: Sequence[Candidate],
        given: Sequence[int],
        grid: bool,
    ) -> list[Proposals]:
        """Proposals of the point grid, if it is wanted, of boxes, and of masks, in this order.

        Args:
            picture: what the tile shows.
            tile: its place in the image.
            candidates: of the whole image, in the image's coordinates.
            given: indices of those that lie in the tile.
            grid: whether the point grid is wanted, too.
        """
        pixels, recipe, found = self.pixels(picture), self.recipe, []
        features, patches = self.proposer.embed(pixels), self._patches(picture, pixels)
        if grid:
            logits, ious = self.proposer.best_masks(
                features, recipe.grid, recipe.point_batch, recipe.iou_threshold
            )
            found.append(self._proposals(picture, logits, ious, patches, recipe.duplicate_iou))
        boxed = [index for index in given if candidates[index].mask is None]
        if boxed:
            corner = torch.tensor([tile.left, tile.top] * 2)
            boxes = torch.tensor([candidates[index].box for index in boxed]) - corner
            prompts = self.prompts(boxes, (picture.height, picture.width))
            logits, _ = self.proposer.box_masks(
                features, prompts, recipe.point_batch, recipe.box_points
            )
            confidences = torch.tensor([candidates[index].confidence for index in boxed])
            # A box of which the segmenter makes an empty mask has no proposal.
            filled = (logits > 0).flatten(1).any(dim=1)
            ious = confidences.to(logits.device)[filled]
            made = self._proposals(picture, logits[filled], ious, patches, None)
            found.append(replace(made, sources=torch.tensor(boxed)[filled.cpu()]))
        drawn = [index for index in given if candidates[index].mask is not None]
        if drawn:
            chosen = [candidates[index] for index in drawn]
            given_masks = of_masks(chosen, drawn, tile, patches, self.fingerprint)
            # A mask that is given has no logits.
            stability = torch.ones(len(drawn)) if recipe.stability_exponent else None
            found.append(replace(given_masks, stability=stability))
        return found

    def pixels(
        self, picture: Image.Image, box: tuple[float, float, float, float] | None = None
    ) -> Tensor:
        """The picture, or the box in it, as the segmenter sees it, (3, R, R) in [0, 1]."""
        side = self.proposer.size
        pixels = to_tensor(picture.resize((side, side), box=box))
        if self.device.type == "cuda":
            # Pinned memory allows an asynchronous copy.
            pixels = send(pixels.pin_memory(), self.device)
        return pixels

    def prompts(self, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """Boxes in pixels of a picture (H, W), float (n, 4), in the segmenter's pixels."""
        scale = torch.tensor([1 / size[1], 1 / size[0]] * 2) * self.proposer.size
        return boxes * scale

    def _patches(self, picture: Image.Image, pixels: Tensor) -> Tensor:
        """Patch features of a picture, float (C, gh, gw), given the segmenter's input.

        (C, g, g), unless the recipe sees an oblong picture as squares (recipe, section 3.2).
        """
        if self.recipe.encoding == "squares":
            parts = square_parts((picture.height, picture.width), self.encoder.grid)
            if len(parts.starts) > 1:
                return parts.join([self._encode(self.pixels(picture, box)) for box in parts.boxes])
        return self._encode(pixels)

    def _encode(self, pixels: Tensor) -> Tensor:
        """Patch features, float (C, g, g), of what the segmenter sees."""
        size = (self.encoder.size, self.encoder.size)
        small = F.interpolate(pixels[None], size, mode="bicubic", align_corners=False)
        return self.encoder.encode(small)[0]

    def _proposals(
        self,
        picture: Image.Image,
        logits: Tensor,
        ious: Tensor,
        patches: Tensor,
        duplicate_iou: float | None,
    ) -> Proposals:
        size = (picture.height, picture.width)
        return Proposals.from_logits(
            logits,
            ious,
            patches,
            size,
            self.fingerprint,
            duplicate_iou,
            with_stability=self.recipe.stability_exponent > 0,
        )
