"""The patch encoder: images in, a grid of patch features out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...errors import RecipeError
from ..bank.memory_bank import Fingerprint
from ..device.batching import reraise_device_oom
from ..device.device import Compiled
from ..images.load import normalise
from ..proposals.cache import architecture


class PatchEncoder:
    """A DINOv2 network at one input size.

    Attributes:
        size: side of its square input in pixels.
        grid: patches along each side (g in the recipe).
        channels: feature channels (C in the recipe).
        fingerprint: identifies the encoder; only features of equal fingerprints are comparable.
        architecture: its configuration as text; part of the key of cached proposals.
    """

    def __init__(
        self,
        model: nn.Module,
        fingerprint: Fingerprint,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        *,
        compile: bool = False,
    ) -> None:
        """Move a ``Dinov2Model`` or ``Dinov2WithRegistersModel`` to its device.

        It computes in ``dtype`` and returns float32; ``compile`` compiles it on the first image.

        Raises:
            RecipeError: the input size is not a multiple of the patch size.
            OutOfMemoryError: the network does not fit in the device's memory.
        """
        config: Any = model.config
        if fingerprint.size % config.patch_size:
            raise RecipeError(
                f"encoder_size is {fingerprint.size}, but {fingerprint.name} reads patches of "
                f"{config.patch_size} pixels; use a multiple of {config.patch_size}."
            )
        self.size = fingerprint.size
        self.grid = fingerprint.size // int(config.patch_size)
        self.channels = fingerprint.channels
        self.fingerprint = fingerprint
        self.architecture = architecture(config.to_dict())
        self._device = device
        self._dtype = dtype
        self._tokens_before = 1 + getattr(config, "num_register_tokens", 0)
        with reraise_device_oom("load the encoder", device, "encoder"):
            self._model = model.to(device=device, dtype=dtype).eval()
        self._run = Compiled(self._tokens) if compile else self._tokens

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """Compute patch features after the final LayerNorm (recipe, sections 1.3 and 3.2).

        ``images`` are float (n, 3, size, size) in [0, 1], not normalised.

        Returns:
            Float32 (n, channels, grid, grid) on the encoder's device.

        Raises:
            OutOfMemoryError: not enough memory on the device.
        """
        with reraise_device_oom("run the patch encoder on an image", self._device, "encoder"):
            pixels = normalise(images.to(self._device)).to(self._dtype)
            tokens = self._run(pixels)
        # Drop the class token and the registers.
        patches = tokens[:, self._tokens_before :].float()
        return patches.transpose(1, 2).reshape(len(images), -1, self.grid, self.grid)

    def _tokens(self, pixels: Tensor) -> Tensor:
        tokens: Tensor = self._model(pixel_values=pixels).last_hidden_state
        return tokens
