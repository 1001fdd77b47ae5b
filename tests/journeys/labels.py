"""The objects of photos as labels of every kind: drawn, from files, or from an importer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image

from tests.journeys.files import Photo
from tests.journeys.outlines import rings

Array = np.ndarray[Any, Any]

FIELD, PLAIN = "gt", "plain"
"""The field that holds labels of the kind, and the one of exact masks to score with."""


@dataclass(frozen=True)
class LabelKind:
    """A kind of labels.

    Attributes:
        name: what it is called in the table.
        load: makes a dataset of photos, with labels in ``FIELD``; a folder is there for its files.
        scored: whether evaluation takes it as ground truth; it must be refused by name if not.
        boxes: whether it has no masks: it must be refused by name, and masks be made of it.
        unsure: whether a refusal by name is right too.
        refused: whether only a refusal by name is right.
        stored: whether the objects lie on the stored pixels, which must be refused by name.
        lost_in_coco: whether FiftyOne's own export to COCO writes other masks, or none.
        rounded: whether its numbers are rounded, to thousandths of a pixel.
    """

    name: str
    load: Callable[[list[Photo], Path], fo.Dataset] = field(repr=False)
    scored: bool = True
    boxes: bool = False
    unsure: bool = False
    refused: bool = False
    stored: bool = False
    lost_in_coco: bool = False
    rounded: bool = False


def role_of(sample: Any) -> str:
    """``pool`` or ``target``, by the name of a sample's file."""
    return Path(sample.filepath).name.lower().split(".")[0].split(" ")[0]


def with_field(photos: list[Photo], make: Callable[[Photo], Any], name: str = FIELD) -> fo.Dataset:
    """A dataset of photos with labels that are made one photo at a time."""
    dataset = fo.Dataset()
    samples = []
    for photo in photos:
        sample = fo.Sample(filepath=str(photo.path))
        sample[name] = make(photo)
        samples.append(sample)
    dataset.add_samples(samples, progress=False)
    return dataset


def add_plain_masks(dataset: fo.Dataset, photos: list[Photo]) -> None:
    """Tag samples by their role, and give each the exact masks of its photo."""
    by_role = {photo.role: photo for photo in photos}
    for sample in dataset.iter_samples(autosave=True, progress=False):
        sample.tags = [role_of(sample)]
        sample[PLAIN] = plain_masks(by_role[role_of(sample)])


def plain_masks(photo: Photo) -> fo.Detections:
    """A photo's objects as FiftyOne makes labels of masks."""
    found = [fo.Detection.from_mask(mask, label=name) for name, mask in photo.objects]
    return fo.Detections(detections=found)


def box_of(mask: Array) -> tuple[int, int, int, int]:
    """The tight box of a mask, x1 y1 x2 y2; x2 and y2 exclusive."""
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def detection(name: str, area: Array, **values: Any) -> fo.Detection:
    """A label with the tight box of an area, bool (H, W), and with what else is given."""
    height, width = area.shape
    x1, y1, x2, y2 = box_of(area)
    box = [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height]
    return fo.Detection(label=name, bounding_box=box, **values)


def cropped(mask: Array) -> Array:
    """The part of a mask in its box."""
    x1, y1, x2, y2 = box_of(mask)
    return np.ascontiguousarray(mask[y1:y2, x1:x2])


def inline(make: Callable[[Array], Array]) -> Callable[[list[Photo], Path], fo.Dataset]:
    """Labels whose masks are in the database, as an array of some form."""

    def load(photos: list[Photo], folder: Path) -> fo.Dataset:
        return with_field(
            photos,
            lambda photo: fo.Detections(
                detections=[detection(name, mask, mask=make(mask)) for name, mask in photo.objects]
            ),
        )

    return load


def in_files(
    suffix: str, make: Callable[[Array], Image.Image], whole: bool = False
) -> Callable[[list[Photo], Path], fo.Dataset]:
    """Labels whose masks are files of some kind, of the box or of the whole image."""

    def load(photos: list[Photo], folder: Path) -> fo.Dataset:
        (folder / "masks").mkdir(parents=True, exist_ok=True)

        def labels(photo: Photo) -> fo.Detections:
            found = []
            for index, (name, mask) in enumerate(photo.objects):
                path = folder / "masks" / f"{photo.role} {index}{suffix}"
                make(mask if whole else cropped(mask)).save(path)
                found.append(detection(name, mask, mask_path=str(path)))
            return fo.Detections(detections=found)

        return with_field(photos, labels)

    return load


def _grey(mask: Array) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8) * 255)


def _coloured(mask: Array) -> Image.Image:
    return Image.fromarray(mask[..., None].astype(np.uint8) * np.uint8([255, 0, 0]))


def _blue(mask: Array) -> Image.Image:
    return Image.fromarray(mask[..., None].astype(np.uint8) * np.uint8([0, 0, 255]))


def _alpha(mask: Array) -> Image.Image:
    pixels = np.full((*mask.shape, 4), 255, np.uint8)
    pixels[..., 3] = mask.astype(np.uint8) * 255
    return Image.fromarray(pixels, "RGBA")


def _palette(*colour: int) -> Callable[[Array], Image.Image]:
    def make(mask: Array) -> Image.Image:
        image = Image.fromarray(mask.astype(np.uint8), "P")
        image.putpalette([0, 0, 0, *colour])
        return image

    return make


def _logits(mask: Array) -> Array:
    return np.where(mask, 4.5, -3.25).astype(np.float32)


def _unknown(mask: Array) -> Array:
    return np.where(mask, 0.75, np.nan).astype(np.float32)


def polylines(photos: list[Photo], folder: Path) -> fo.Dataset:
    """Filled polylines along the borders of the pixels; holes are further outlines."""

    def labels(photo: Photo) -> fo.Polylines:
        found = []
        for name, mask in photo.objects:
            height, width = mask.shape
            points = [[(x / width, y / height) for x, y in ring] for ring in rings(mask)]
            found.append(fo.Polyline(label=name, points=points, closed=True, filled=True))
        return fo.Polylines(polylines=found)

    return with_field(photos, labels)


def boxes(photos: list[Photo], folder: Path) -> fo.Dataset:
    """Boxes without masks."""
    return with_field(
        photos,
        lambda photo: fo.Detections(
            detections=[detection(name, mask) for name, mask in photo.objects]
        ),
    )


def masks_with_sizes(photos: list[Photo], folder: Path) -> fo.Dataset:
    """Masks of a tool that wrote the sizes it knew into the samples' metadata."""
    dataset = with_field(photos, plain_masks)
    for sample, photo in zip(dataset.iter_samples(autosave=True), photos, strict=True):
        height, width = photo.objects[0][1].shape
        sample.metadata = fo.ImageMetadata(width=width, height=height)
    return dataset


_LOST: dict[str, Any] = {"unsure": True, "lost_in_coco": True}

DRAWN = (
    LabelKind("mask", lambda photos, folder: with_field(photos, plain_masks)),
    LabelKind("mask 0 255", inline(lambda mask: cropped(mask).astype(np.uint8) * 255)),
    LabelKind("mask 0.0 1.0", inline(lambda mask: cropped(mask).astype(np.float32)), unsure=True),
    LabelKind("mask of the image", inline(lambda mask: mask), **_LOST),
    LabelKind("logits", inline(lambda mask: _logits(cropped(mask))), refused=True),
    LabelKind("mask with nan", inline(lambda mask: _unknown(cropped(mask))), refused=True),
    LabelKind("mask file", in_files(".png", _grey)),
    LabelKind("mask file 0 1", in_files(".png", lambda m: Image.fromarray(m.astype(np.uint8)))),
    LabelKind("mask file 1 bit", in_files(".png", Image.fromarray)),
    LabelKind("mask file bmp", in_files(".bmp", _grey)),
    LabelKind("mask file red", in_files(".png", _coloured), **_LOST),
    LabelKind("mask file blue", in_files(".png", _blue), **_LOST),
    LabelKind("mask file alpha", in_files(".png", _alpha), **_LOST),
    LabelKind("mask file palette", in_files(".png", _palette(255, 255, 255)), **_LOST),
    LabelKind("mask file voc palette", in_files(".png", _palette(128, 0, 0)), **_LOST),
    LabelKind("mask file jpeg", in_files(".jpg", _grey), **_LOST),
    LabelKind("mask file of the image", in_files(".png", _grey, whole=True), **_LOST),
    LabelKind("polylines", polylines, scored=False),
    LabelKind("boxes", boxes, scored=False, boxes=True),
    LabelKind("stored masks", masks_with_sizes, stored=True),
)
"""Labels that a script or a person puts into FiftyOne."""
