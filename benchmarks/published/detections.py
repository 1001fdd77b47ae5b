"""The images of a task in FiftyOne, and what was found in them as a COCO results list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from pycocotools import mask as mask_utils

from ntt_plugin.dataset.labels.convert import pixel_box
from ntt_plugin.dataset.labels.placed_masks import full_mask

from .protocol import Table, Task
from .scoring import Result, checked_classes


def image_dataset(name: str) -> Any:
    """The dataset of that name, kept in FiftyOne so that a stopped run can go on."""
    if fo.dataset_exists(name):
        return fo.load_dataset(name)
    return fo.Dataset(name, persistent=True)


def add_images(dataset: Any, task: Task) -> Any:
    """A view of the task's images in a dataset; those it lacks are added."""
    paths = image_paths(task)
    new = sorted(set(paths) - set(dataset.values("filepath")))
    dataset.add_samples([fo.Sample(filepath=path) for path in new])
    return dataset.select_by("filepath", list(paths))


def image_paths(task: Task) -> dict[str, int]:
    """The images to segment: ids by absolute path."""
    root = Path(task.test_images).resolve()
    return {str(root / image["file_name"]): image["id"] for image in task.test["images"]}


def results_of(view: Any, field: str, table: Table, task: Task) -> list[Result]:
    """What a field holds, with unrounded scores; masks as RLE where the table scores them.

    Where the table is federated, what is found of classes that do not count in its image is left
    out, after the best of all classes were chosen: it would be millions of masks.
    """
    ids = {entry["name"]: entry["id"] for entry in task.test["categories"]}
    sizes = {image["id"]: (image["height"], image["width"]) for image in task.test["images"]}
    paths = image_paths(task)
    seen = checked_classes(task.test) if table.federated else None
    results = []
    for sample in view.select_fields(field).iter_samples(progress=True):
        image_id = paths[sample.filepath]
        for label in _best(sample[field], table.max_instances):
            category_id = ids[label.label]
            if seen is None or category_id in seen[image_id]:
                shape = _shape(label, sizes[image_id], table.masks)
                place = {"image_id": image_id, "category_id": category_id}
                results.append({**place, **shape, "score": label.confidence})
    return results


def _best(labels: Any, most: int) -> Iterator[Any]:
    found = labels.detections if labels is not None else []
    yield from sorted(found, key=lambda label: -label.confidence)[:most]


def _shape(label: Any, size: tuple[int, int], masks: bool) -> Mapping[str, Any]:
    if not masks:
        x1, y1, x2, y2 = pixel_box(label, size)
        return {"bbox": [x1, y1, x2 - x1, y2 - y1]}
    rle = mask_utils.encode(np.asfortranarray(full_mask(label, size), dtype=np.uint8))
    return {"bbox": mask_utils.toBbox(rle).tolist(), "segmentation": rle}
