"""The pipeline: references to a memory bank, then an image and a bank to instances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from ..errors import BankError, ImageError, RecipeError, ReferenceRefusedError
from .bank.memory_bank import Fingerprint, MemoryBank, Refused
from .device.batching import SMALLER_IMAGE, reraise_oom
from .device.device import resolve_device, resolve_dtype
from .device.threads import require_own_process, with_threads_by_load
from .images.load import ImageLike, read_image
from .matching.match import Instances, match
from .networks.checkpoints import load_encoder, load_segmenter
from .networks.encoder import PatchEncoder
from .networks.mask_proposer import MaskProposer
from .networks.picture_proposer import PictureProposer
from .proposals.cache import upstream_digest
from .proposals.candidates import Candidate, assign_to_tiles, require_in_image
from .proposals.joined import join_proposals
from .proposals.mask_upsampling import upsample_masks
from .proposals.proposals import Proposals, mask_boxes
from .proposals.tiles import Tile, tile_grid, whole_image
from .recipe import Recipe
from .references import Reference, crop_reference, grid_weights, pool_reference
from .typing import Array, Progress

T = TypeVar("T")


class Segmenter:
    """Two networks and a recipe: builds memory banks and segments images with them.

    Attributes:
        recipe: the constants it runs with.
        device: where the networks run.

    Example:
        >>> from ntt_plugin.engine import Reference, Segmenter
        >>> image = np.full((80, 80, 3), 255, np.uint8)
        >>> image[20:60, 20:60] = (200, 30, 30)
        >>> mask = (image == (200, 30, 30)).all(axis=-1)
        >>> segmenter = Segmenter.from_preset("tiny", device="cpu", grid=4)
        >>> bank = segmenter.build_bank([Reference(image, mask, "square")])
        >>> instances = segmenter.segment(image, bank)
        >>> instances.labels[0]
        'square'
        >>> bool((instances.full_mask(0) == mask).mean() > 0.95)
        True
    """

    def __init__(
        self,
        recipe: Recipe,
        encoder: PatchEncoder,
        proposer: MaskProposer,
        device: torch.device,
        segmenter_digest: str | None = None,
    ) -> None:
        """Join networks that are on ``device`` already; ``from_preset`` loads them.

        Without the digest of the segmenter's weights, proposals cannot be cached.
        """
        self.recipe = recipe
        self.device = device
        self._encoder = encoder
        self._proposer = proposer
        self._segmenter_digest = segmenter_digest
        self._pictures = PictureProposer(recipe, encoder, proposer, device, self.fingerprint)

    @classmethod
    def from_preset(
        cls,
        preset: str | Recipe = "paper",
        device: str | torch.device | None = None,
        zoo_dirs: Sequence[Path] = (),
        *,
        compile: bool = False,
        **overrides: Any,
    ) -> Segmenter:
        """Load a preset's networks.

        Args:
            preset: a preset's name, or a recipe.
            device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; the best there is if None.
            zoo_dirs: folders to look for Meta's files in before anything is downloaded.
            compile: compile the networks at the first image, which takes minutes and is worth it
                for thousands of images; where no compiler works, they run without.
            **overrides: fields of the recipe to change in a named preset.

        Raises:
            RecipeError: unknown preset, field or device, or a value that is not allowed.
            CheckpointError: a network cannot be found, fetched or read.
        """
        recipe = preset if isinstance(preset, Recipe) else Recipe.from_preset(preset, **overrides)
        if isinstance(preset, Recipe) and overrides:
            raise TypeError("Give overrides with a preset's name; change a Recipe by replace().")
        place = resolve_device(device)
        require_own_process(place)
        dtype = resolve_dtype(recipe.precision, place)
        loaded = load_encoder(recipe.encoder, zoo_dirs)
        config: Any = loaded.model.config
        fingerprint = Fingerprint(
            name=recipe.encoder,
            digest=loaded.digest,
            size=recipe.encoder_size,
            channels=int(config.hidden_size),
            context_ratio=recipe.context_ratio,
        )
        encoder = PatchEncoder(loaded.model, fingerprint, place, dtype, compile=compile)
        network = load_segmenter(recipe.segmenter, zoo_dirs)
        proposer = MaskProposer(network.model, place, dtype, compile=compile)
        return cls(recipe, encoder, proposer, place, network.digest)

    def with_recipe(self, recipe: Recipe) -> Segmenter:
        """A segmenter with the same loaded networks and another recipe.

        Raises:
            RecipeError: the recipe needs other networks.
        """
        require_own_process(self.device)
        if recipe.networks != self.recipe.networks:
            raise RecipeError(
                f"The recipe needs the networks {recipe.networks}, and these are "
                f"{self.recipe.networks}; load them with Segmenter.from_preset."
            )
        return Segmenter(recipe, self._encoder, self._proposer, self.device, self._segmenter_digest)

    @property
    def fingerprint(self) -> Fingerprint:
        """The encoder's fingerprint, which banks made here carry."""
        return replace(self._encoder.fingerprint, context_ratio=self.recipe.context_ratio)

    @property
    def upstream(self) -> str | None:
        """Digest of everything but the image that proposals depend on, for their cache.

        None if the segmenter's weights are not known.
        """
        if self._segmenter_digest is None:
            return None
        return upstream_digest(
            self.recipe,
            self._segmenter_digest,
            self.fingerprint.digest,
            resolve_dtype(self.recipe.precision, self.device),
            (self._proposer.architecture, self._encoder.architecture),
        )

    @property
    def point_batch(self) -> int:
        """Prompts per batch: chosen for the device, at most the recipe's."""
        return self._proposer.batch_size(self.recipe.point_batch)

    @with_threads_by_load
    @reraise_oom("read a reference", SMALLER_IMAGE)
    @torch.inference_mode()
    def reference_feature(self, reference: Reference) -> Tensor:
        """The instance feature of one reference, float32 (C,) on the CPU (recipe, section 1).

        Raises:
            ImageError: the image cannot be read.
            ReferenceRefusedError: the reference yields no feature; says why.
        """
        require_own_process(self.device)
        mask = reference.mask
        if not isinstance(mask, np.ndarray) or mask.ndim != 2:
            form = getattr(mask, "shape", type(mask).__name__)
            raise ReferenceRefusedError(f"Its mask is {form}, not an array (height, width).")
        image, mask_crop = crop_reference(
            read_image(reference.image),
            torch.from_numpy(np.ascontiguousarray(mask, dtype=bool)),
            reference.resolved_box(),
            self._encoder.size,
            self.recipe.context_ratio,
        )
        weights = grid_weights(mask_crop, self._encoder.grid).to(self.device)
        return pool_reference(self._encoder.encode(image[None])[0], weights).cpu()

    def build_bank(self, references: Iterable[Reference], progress: bool = True) -> MemoryBank:
        """A memory bank of references; those that yield no feature are listed in ``refused``.

        Args:
            references: any number of any classes; classes may have different numbers.
            progress: show a bar if it takes longer than two seconds.

        Raises:
            ReferenceRefusedError: a class is left without any reference; names it and says why.
            BankError: there are no references at all.
        """
        bank = MemoryBank(self.fingerprint, self.recipe)
        asked: dict[str, str] = {}
        bar = tqdm(references, "Encoding references", delay=2, disable=not progress, leave=False)
        for reference in bar:
            asked.setdefault(reference.label, "")
            try:
                feature = self.reference_feature(reference)
            except (ImageError, ReferenceRefusedError) as error:
                asked[reference.label] = str(error)
                bank.refused.append(Refused(reference.label, reference.provenance, str(error)))
                continue
            bank.add(reference.label, feature, reference.provenance)
        left_out = [label for label in asked if label not in bank.classes]
        if left_out:
            raise ReferenceRefusedError(
                "No reference could be used for "
                + "; ".join(f"class {label!r} (the last one: {asked[label]})" for label in left_out)
                + " Choose other references for it, or leave the class out."
            )
        if not asked:
            raise BankError("There are no references; choose at least one for each class.")
        return bank

    @with_threads_by_load
    @reraise_oom("segment an image", SMALLER_IMAGE)
    @torch.inference_mode()
    def propose(self, image: ImageLike, progress: Progress | None = None) -> Proposals:
        """Compute an image's proposals, which do not depend on a bank (recipe, section 3).

        If the recipe says so, an image larger than a tile is looked at in tiles as well: each is
        proposed and encoded like an image. Memory is that of the image, of one tile and of the
        masks kept. If memory runs out it continues with smaller batches; see ``point_batch``.

        Args:
            image: a path, a PIL image or a uint8 array.
            progress: called after each look with the number of looks done and of all, where an
                image takes more than one. What it raises ends the work.

        Raises:
            ImageError: the image cannot be read.
            OutOfMemoryError: the device has not the memory for an image, or for one point.
        """
        require_own_process(self.device)
        picture = read_image(image)
        size = (picture.height, picture.width)
        tiles = tile_grid(size, self.recipe.tile, self.recipe.tile_overlap)
        if not tiles:
            return self._pictures.propose(picture)
        looks = [whole_image(size), *tiles]
        parts = ((self._pictures.propose(_part(picture, tile)), tile) for tile in looks)
        counted = _counted(parts, len(looks), progress)
        return join_proposals(counted, size, self.fingerprint, self.recipe.duplicate_iou)

    @with_threads_by_load
    @reraise_oom("segment an image", SMALLER_IMAGE)
    @torch.inference_mode()
    def propose_candidates(
        self,
        image: ImageLike,
        candidates: Sequence[Candidate],
        *,
        grid: bool = False,
        progress: Progress | None = None,
    ) -> Proposals:
        """Proposals made of boxes and masks from anywhere, instead of the point grid.

        A box becomes a mask by the segmenter; a mask is taken as it is. A candidate's confidence
        stands for the predicted IoU. If the recipe has tiles, a candidate is looked at in the tile
        that shows it whole and nearest to the middle, in the whole image if none does.

        Args:
            image: a path, a PIL image or a uint8 array.
            candidates: of that image.
            grid: whether to join them with the proposals of the point grid, which come first.
            progress: as for ``propose``.

        Returns:
            The proposals; their ``sources`` say of which candidate each was made. A candidate
            without a pixel in the image, or of which the segmenter makes none, has none.

        Raises:
            ImageError: the image cannot be read, or a mask does not lie in it; names the mask.
            OutOfMemoryError: the device has not the memory for an image, or for one prompt.
        """
        require_own_process(self.device)
        picture = read_image(image)
        size = (picture.height, picture.width)
        require_in_image(candidates, size)
        recipe = self.recipe
        tiles = [whole_image(size), *tile_grid(size, recipe.tile, recipe.tile_overlap)]
        looks = list(zip(tiles, assign_to_tiles(candidates, tiles, size), strict=True))
        if not grid:
            looks = [(tile, given) for tile, given in looks if given]
        propose = self._pictures.propose_candidates
        parts = (
            (propose(_part(picture, tile), tile, candidates, given, grid), tile)
            for tile, given in looks
        )
        counted = _counted(parts, len(looks), progress)
        joined = ((kind, tile) for kinds, tile in counted for kind in kinds)
        # Without tiles the grid's own duplicates are dropped already.
        duplicate_iou = recipe.duplicate_iou if len(tiles) > 1 else None
        return join_proposals(joined, size, self.fingerprint, duplicate_iou)

    def segment(self, image: ImageLike, bank: MemoryBank) -> Instances:
        """The instances of the bank's classes in an image (recipe, sections 3 to 5).

        Raises:
            ImageError: the image cannot be read.
            BankError: the bank is empty or was made by another encoder.
            OutOfMemoryError: the device has not the memory for an image, or for one point.
        """
        bank.require_classes()
        bank.require_encoder(self.fingerprint)
        return match(self.propose(image), bank, self.recipe)

    @with_threads_by_load
    @reraise_oom("make masks of boxes", SMALLER_IMAGE)
    @torch.inference_mode()
    def masks_from_boxes(
        self, image: ImageLike, boxes: Array | Sequence[Sequence[float]]
    ) -> list[Array]:
        """A mask for each box x1 y1 x2 y2, in pixels of the image, by the segmenter alone.

        Returns:
            Masks of the image's size, bool (H, W); all false where nothing was found.

        Raises:
            ImageError: the image cannot be read, or a box is not made of four finite numbers;
                names the box.
            OutOfMemoryError: the device has not the memory for an image, or for one box.
        """
        require_own_process(self.device)
        prompts = _box_prompts(boxes)
        pixels, (height, width) = self._input(image)
        prompts = self._pictures.prompts(prompts, (height, width))
        recipe = self.recipe
        logits, _ = self._proposer.masks_from_boxes(
            pixels, prompts, recipe.point_batch, recipe.box_points
        )
        masks = [np.zeros((height, width), bool) for _ in range(len(logits))]
        filled = (logits > 0).flatten(1).any(dim=1).nonzero()[:, 0]
        packed = upsample_masks(logits[filled], mask_boxes(logits[filled] > 0), (height, width))
        for index, mask in zip(filled.tolist(), packed, strict=True):
            if mask is not None:
                x1, y1, x2, y2 = mask.box
                masks[index][y1:y2, x1:x2] = mask.unpack()
        return masks

    def _input(self, image: ImageLike) -> tuple[Tensor, tuple[int, int]]:
        """The image as the segmenter sees it, (3, R, R) in [0, 1], and its own (H, W)."""
        picture = read_image(image)
        return self._pictures.pixels(picture), (picture.height, picture.width)


def _part(picture: Image.Image, tile: Tile) -> Image.Image:
    # A crop is a copy, even of the whole image.
    return picture if tile == (0, 0, *picture.size) else picture.crop(tile)


def _counted(parts: Iterable[T], total: int, progress: Progress | None) -> Iterator[T]:
    for done, part in enumerate(parts, start=1):
        yield part
        if progress is not None:
            progress(done, total)


def _box_prompts(boxes: Array | Sequence[Sequence[float]]) -> Tensor:
    """Convert boxes to float32 (n, 4)."""
    rows = []
    for index, box in enumerate(boxes):
        try:
            row = torch.tensor([float(edge) for edge in box])
        except (TypeError, ValueError, OverflowError):
            row = torch.empty(0)
        if len(row) != 4 or not torch.isfinite(row).all():
            raise ImageError(
                f"Box {index} is {box!r}; it must be four finite numbers x1 y1 x2 y2, in pixels."
            )
        rows.append(row)
    return torch.stack(rows) if rows else torch.zeros(0, 4)
