"""Labels of a view as COCO annotations and results, exact to the pixel."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import fiftyone as fo
import numpy as np
from pycocotools import mask as mask_utils

from ...engine.images.load import shown_size
from ...errors import DatasetError, ImageError
from ..labels.convert import pixel_box
from ..labels.crowds import is_crowd_label
from ..labels.orientation import stored_pixels_problem
from ..labels.placed_masks import INVERTED, PlacedMask, placed_mask, seems_inverted
from ..runtime.progress_bar import Progress, each_sample
from .exclusions import UNREADABLE, UNTURNED, LeftOut, LeftOutLabel


@dataclass
class CocoTables:
    """A view's ground truth and predictions in COCO's form.

    Attributes:
        ground_truth: an annotation file's content; image ids count from 1 in the view's order.
        boxes: a results file's content with ``bbox``.
        masks: a results file's content with ``segmentation`` (RLE); empty without masks.
        pixel_tight: whether FiftyOne's own evaluation of masks sees the same pixels: every mask
            is cropped to a box in whole pixels, and FiftyOne reads it as we do.
    """

    ground_truth: dict[str, Any]
    boxes: list[dict[str, Any]] = field(default_factory=list)
    masks: list[dict[str, Any]] = field(default_factory=list)
    pixel_tight: bool = True


def export_coco(
    samples: Any,
    label_field: str,
    gt_field: str,
    classes: Iterable[str],
    masks: bool,
    progress: Progress,
    left_out: LeftOut,
) -> CocoTables:
    """Read both fields of every sample; a field that was never written counts as empty.

    Areas are the masks' pixel counts where there are masks, else the boxes' areas; ``iscrowd``
    is the ground truth's attribute of that name. Boxes come back as the pixels they were made
    from, without the noise of relative coordinates. Left out is a sample whose image cannot be
    read, or whose ground truth seems to be made on the pixels before they are turned upright, and
    a label without a name, a usable box, a mask where masks are wanted, or (a prediction) a
    confidence. Masks that seem to be inverted are scored, and noted.

    Args:
        samples: a dataset or view of images.
        label_field: predictions, ``Detections`` with ``confidence``.
        gt_field: ground truth, ``Detections``.
        classes: labels of other classes are passed over.
        masks: whether masks are wanted.
        progress: FiftyOne's ``progress``.
        left_out: grows by what is left out, and by notes.
    """
    categories = {label: index for index, label in enumerate(classes, start=1)}
    tables = CocoTables(
        {
            "images": [],
            "annotations": [],
            "categories": [{"id": index, "name": label} for label, index in categories.items()],
        }
    )
    inverted: dict[str, list[str]] = {gt_field: [], label_field: []}
    view = samples.select_fields([label_field, gt_field])
    for image_id, sample in enumerate(each_sample(view, progress), start=1):
        truth = sample[gt_field].detections if sample[gt_field] is not None else []
        try:
            size = shown_size(sample.filepath)
            problem = stored_pixels_problem(sample, truth)
        except ImageError as error:
            left_out.add_sample(sample.id, sample.filepath, UNREADABLE, str(error))
            continue
        if problem:
            left_out.add_sample(sample.id, sample.filepath, UNTURNED, problem)
            continue
        tables.ground_truth["images"].append(
            {"id": image_id, "height": size[0], "width": size[1], "file_name": sample.filepath}
        )
        for name, is_truth in ((gt_field, True), (label_field, False)):
            for detection in _detections(sample[name], categories):
                try:
                    found, placed = _annotation(detection, size, masks)
                    found |= {"image_id": image_id, "category_id": categories[detection.label]}
                    _add(tables, found, detection, is_truth)
                except DatasetError as error:
                    left_out.labels.append(
                        LeftOutLabel(name, detection.id, sample.id, sample.filepath, str(error))
                    )
                    continue
                if placed is not None:
                    tables.pixel_tight &= placed.as_stored or not masks
                    if seems_inverted(placed.mask):
                        inverted[name].append(f"{detection.id} of {sample.filepath}")
    left_out.notes += [
        f"{len(labels)} masks in {name!r} may be inverted; "
        f"{INVERTED.format(f'first, {labels[0]}, ')}."
        for name, labels in inverted.items()
        if labels
    ]
    return tables


def has_masks(samples: Any, field: str) -> bool:
    """Whether any label of a field of ``Detections`` has a mask."""
    return any(samples.count(f"{field}.detections.{name}") for name in ("mask", "mask_path"))


def _annotation(
    detection: fo.Detection, size: tuple[int, int], masks: bool
) -> tuple[dict[str, Any], PlacedMask | None]:
    if not _is_named(detection):
        raise DatasetError("It has no name.")
    x1, y1, x2, y2 = pixel_box(detection, size)
    width, height = round(x2 - x1, 9), round(y2 - y1, 9)
    found: dict[str, Any] = {"bbox": [x1, y1, width, height], "area": width * height}
    if not (masks or detection.has_mask):
        return found, None
    placed = placed_mask(detection, size)
    found["area"] = float(np.count_nonzero(placed.mask))
    if masks:
        full = np.asfortranarray(placed.full(size), dtype=np.uint8)
        found["segmentation"] = mask_utils.encode(full)
    return found, placed


def _add(
    tables: CocoTables, found: dict[str, Any], detection: fo.Detection, is_truth: bool
) -> None:
    if is_truth:
        annotations = tables.ground_truth["annotations"]
        # pycocotools takes id 0 for "no match".
        found |= {"id": len(annotations) + 1, "iscrowd": int(is_crowd_label(detection))}
        annotations.append(found)
        return
    score = detection.confidence
    if score is None or not math.isfinite(score):
        raise DatasetError(f"Its confidence is {score}, so it cannot be ranked.")
    # pycocotools takes a result's size class from its box when there is one, so a mask has none.
    del found["area"]
    box, mask = found.pop("bbox"), found.pop("segmentation", None)
    tables.boxes.append({**found, "bbox": box, "score": score})
    if mask is not None:
        tables.masks.append({**found, "segmentation": mask, "score": score})


def _detections(
    labels: fo.Detections | None, categories: Collection[str]
) -> Iterator[fo.Detection]:
    for detection in labels.detections if labels is not None else []:
        if detection.label in categories or not _is_named(detection):
            yield detection


def _is_named(detection: fo.Detection) -> bool:
    return bool(detection.label and detection.label.strip())
