"""Scenes as files: images in a folder, and a COCO annotation file beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as mask_utils

from ..engine.references import tight_box
from .classes import NOVEL_CLASSES
from .scenes import Scene

_CATEGORY_IDS = {entry: index for index, entry in enumerate(NOVEL_CLASSES, start=1)}


def write_coco(folder: Path, name: str, scenes: Iterable[Scene]) -> Path:
    """Write scenes of novel classes as COCO keeps a part of its dataset.

    Args:
        folder: where ``<name>/000.png`` and so on and ``<name>.json`` go; made if it is not there.
        name: the part's name.
        scenes: what to write.

    Returns:
        The annotation file: boxes and exact masks (RLE).
    """
    (folder / name).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes):
        height, width = scene.owners.shape
        file = f"{number:03d}.png"
        Image.fromarray(scene.image).save(folder / name / file)
        images.append({"id": number + 1, "file_name": file, "width": width, "height": height})
        for index, entry in enumerate(scene.classes):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": _CATEGORY_IDS[entry],
                    **_geometry(scene.mask(index)),
                }
            )
    categories = [{"id": index, "name": entry.name} for entry, index in _CATEGORY_IDS.items()]
    path = folder / f"{name}.json"
    content = {"images": images, "categories": categories, "annotations": annotations}
    path.write_text(json.dumps(content) + "\n")
    return path


def _geometry(mask: np.ndarray[Any, Any]) -> dict[str, Any]:
    rle = mask_utils.encode(np.asfortranarray(mask, dtype=np.uint8))
    x1, y1, x2, y2 = tight_box(mask)
    return {
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": int(mask.sum()),
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
        "iscrowd": 0,
    }
