"""One reference, an image and one instance's mask, on its way to a feature (recipe, section 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..errors import ReferenceRefusedError
from .images.load import ImageLike, to_tensor
from .typing import Array

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Provenance:
    """Where a reference came from; every part may be unknown.

    Attributes:
        dataset: name of the dataset.
        sample: id of the sample.
        label: id of the label.
        box: x1 y1 x2 y2 in pixels of the image, x2 and y2 exclusive.
        field: the sample's field that holds the label, whose id is unique within a field only.
            Unknown in banks of earlier versions.

    Example:
        >>> from ntt_plugin.engine import Provenance
        >>> Provenance(dataset="zoo", box=(3, 2, 11, 5)).box
        (3, 2, 11, 5)
    """

    dataset: str | None = None
    sample: str | None = None
    label: str | None = None
    box: Box | None = None
    field: str | None = None


def may_be_same(one: Provenance, other: Provenance) -> bool:
    """Whether two provenances may name one label: equal ids of label, sample and field.

    An unknown sample or field equals any. Datasets are not compared: a clone has the same ids.
    """
    pairs = ((one.sample, other.sample), (one.field, other.field))
    return one.label == other.label and all(a == b or None in (a, b) for a, b in pairs)


@dataclass(frozen=True, eq=False)
class Reference:
    """One image with the mask of one instance of one class.

    Attributes:
        image: a path, a PIL image or a uint8 array.
        mask: the instance's pixels, bool (H, W), of the image's size.
        label: the class.
        box: the annotation's box, x1 y1 x2 y2 in pixels; the mask's tight box if None.
        provenance: where it came from.

    Example:
        >>> from ntt_plugin.engine import Reference
        >>> mask = np.zeros((10, 12), bool)
        >>> mask[2:5, 3:11] = True
        >>> Reference("cat.jpg", mask, "cat").resolved_box()
        (3.0, 2.0, 11.0, 5.0)
    """

    image: ImageLike
    mask: Array
    label: str
    box: Box | None = None
    provenance: Provenance = Provenance()

    def resolved_box(self) -> Box:
        """The annotation's box, or else the mask's tight box (x2, y2 exclusive).

        Raises:
            ReferenceRefusedError: there is no box and the mask is empty.
        """
        return self.box if self.box is not None else tight_box(self.mask)


def tight_box(mask: Array) -> Box:
    """The smallest box around a mask (H, W): x1 y1 x2 y2, x2 and y2 exclusive.

    Raises:
        ReferenceRefusedError: the mask is empty.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        raise ReferenceRefusedError("Its mask is empty.")
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def crop_box(box: Box, image_size: tuple[int, int], ratio: float) -> tuple[int, int, int, int]:
    """The square around a box, widened by the context ratio, clamped to the image (H, W).

    Recipe, section 1.1: ratio 0.2 gives a square of 1.2 times the box's longer side. Boxes are
    x1 y1 x2 y2 in pixels, x2 and y2 exclusive.

    Raises:
        ReferenceRefusedError: the box is not finite or covers no pixel of the image.
    """
    if not np.isfinite(box).all():
        raise ReferenceRefusedError(f"Its box {box} is not made of finite numbers.")
    height, width = image_size
    x1, y1, x2, y2 = (int(edge) for edge in box)
    half = max(x2 - x1, y2 - y1) * (1 + ratio) / 2
    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
    left, right = max(0, int(centre_x - half)), min(width, int(centre_x + half))
    top, bottom = max(0, int(centre_y - half)), min(height, int(centre_y + half))
    if left >= right or top >= bottom:
        raise ReferenceRefusedError(
            f"Its box {box} covers no pixel of the {width} x {height} image."
        )
    return left, top, right, bottom


def crop_reference(
    image: Tensor | Image.Image, mask: Tensor, box: Box, size: int, ratio: float
) -> tuple[Tensor, Tensor]:
    """Cut a reference out of its image and stretch it to the encoder's input.

    Recipe, section 1.2: bicubic without antialiasing for the image, bilinear for the mask.

    Args:
        image: float (3, H, W) in [0, 1]; or an RGB image, of which the crop alone becomes floats
            (a photograph of 300 million pixels would be 3.6 GB of them).
        mask: bool or float (H, W).
        box: the annotation's box, x1 y1 x2 y2 in pixels.
        size: side of the encoder's input, pixels.
        ratio: context ratio.

    Returns:
        The image crop, float (3, size, size), about [0, 1] (bicubic interpolation overshoots a
        little), and the mask crop, float (size, size) in [0, 1].

    Raises:
        ReferenceRefusedError: mask and image differ in size, or the box covers no pixel.
    """
    height, width = image.shape[-2:] if isinstance(image, Tensor) else image.size[::-1]
    if tuple(mask.shape) != (height, width):
        raise ReferenceRefusedError(
            f"Its mask is {tuple(mask.shape)} and its image {(height, width)} (height, width)."
        )
    left, top, right, bottom = crop_box(box, (height, width), ratio)
    if isinstance(image, Tensor):
        crop = image[:, top:bottom, left:right]
    else:
        crop = to_tensor(image.crop((left, top, right, bottom)))
    weights = mask[top:bottom, left:right].to(crop.dtype)
    resized = F.interpolate(crop[None], (size, size), mode="bicubic", align_corners=False)
    resized_mask = F.interpolate(
        weights[None, None], (size, size), mode="bilinear", align_corners=False
    )
    return resized[0], resized_mask[0, 0]


def grid_weights(mask: Tensor, grid: int) -> Tensor:
    """A mask crop (size, size) on the patch grid by nearest: weights (grid, grid) in [0, 1].

    Recipe, section 1.3: the weights are soft at the rim because the mask was resized bilinearly.
    """
    return F.interpolate(mask[None, None], (grid, grid), mode="nearest")[0, 0]


def pool_reference(features: Tensor, weights: Tensor) -> Tensor:
    """The instance feature: patch features averaged by weight (recipe, section 1.4).

    Args:
        features: patch features, float (C, g, g).
        weights: float (g, g) in [0, 1].

    Returns:
        Float (C,), not normalised.

    Raises:
        ReferenceRefusedError: all weights are zero, or the feature is not finite.
    """
    total = weights.sum()
    if not total > 0:
        raise ReferenceRefusedError(
            "Its mask is too small or too thin to cover the centre of any patch; choose a larger "
            "object, or one seen from nearer."
        )
    feature = torch.einsum("chw,hw->c", features, weights.to(features.dtype)) / total
    if not torch.isfinite(feature).all():
        raise ReferenceRefusedError("The encoder gave a feature that is not finite for it.")
    return feature
