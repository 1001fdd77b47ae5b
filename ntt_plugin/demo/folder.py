"""Command line: ``python -m ntt_plugin.demo.folder``, scenes as images beside COCO annotations."""

from __future__ import annotations

import argparse
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
from .streams import scoring_scene

_CATEGORY_IDS = {entry: index for index, entry in enumerate(NOVEL_CLASSES, start=1)}


def main() -> None:
    """Write a folder of unlabelled images, boxes of a few of them, and all true masks."""
    parser = argparse.ArgumentParser("python -m ntt_plugin.demo.folder", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="where photos, boxes.json and truth.json go")
    parser.add_argument("--images", type=int, default=60, help="number of images")
    parser.add_argument("--boxed", type=int, default=12, help="images with boxes, the first ones")
    options = parser.parse_args()
    write_folder(options.folder, options.images, options.boxed)
    print(f"{options.folder / 'photos'}: {options.images} images without labels")
    print(f"{options.folder / 'boxes.json'}: boxes of the objects in the first {options.boxed}")
    print(f"{options.folder / 'truth.json'}: the true masks of all, to score with")


def write_folder(folder: Path, images: int = 60, boxed: int = 12) -> None:
    """Render scenes of novel classes into ``photos``, with two COCO annotation files beside it.

    Of the first ``boxed`` images ``boxes.json`` has the objects' boxes and classes, without
    masks; ``truth.json`` has the masks of all. The folder is made if it is not there.
    """
    path = write_coco(folder, "photos", (scoring_scene(index) for index in range(images)))
    truth = json.loads(path.read_text())
    path.rename(folder / "truth.json")
    (folder / "boxes.json").write_text(json.dumps(_boxes(truth, boxed)) + "\n")


def write_coco(folder: Path, name: str, scenes: Iterable[Scene]) -> Path:
    """Write scenes as COCO keeps a part of its dataset; gives the file of boxes and masks (RLE).

    The folder, made if it is not there, gets ``<name>/000.png`` and so on and ``<name>.json``.
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


def _boxes(truth: dict[str, Any], boxed: int) -> dict[str, Any]:
    images = truth["images"][:boxed]
    ids = {image["id"] for image in images}
    annotations = [
        {name: value for name, value in annotation.items() if name != "segmentation"}
        for annotation in truth["annotations"]
        if annotation["image_id"] in ids
    ]
    return {**truth, "images": images, "annotations": annotations}


if __name__ == "__main__":
    main()
