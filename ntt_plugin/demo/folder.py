"""Command line: ``python -m ntt_plugin.demo.folder``, what the tutorial starts from."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .coco import write_coco
from .streams import scoring_scene


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

    Args:
        folder: where they go; made if it is not there.
        images: number of images.
        boxed: of how many of them, from the first on, ``boxes.json`` has the objects' boxes and
            classes, without masks. ``truth.json`` has the masks of all.
    """
    path = write_coco(folder, "photos", (scoring_scene(index) for index in range(images)))
    truth = json.loads(path.read_text())
    path.rename(folder / "truth.json")
    (folder / "boxes.json").write_text(json.dumps(_boxes(truth, boxed)) + "\n")


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
