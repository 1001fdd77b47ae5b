"""Data that must be there: annotation files and images, with one sentence for what is missing."""

from __future__ import annotations

import json
from pathlib import Path

from ntt_plugin.errors import DatasetError

from .protocol import Coco

PAGE = "benchmarks/published/README.md"


def require_file(path: Path) -> Path:
    """The path of a file that is there.

    Raises:
        DatasetError: it is not; says where the data come from.
    """
    if not path.is_file():
        raise DatasetError(
            f"There is no file {path}; {PAGE} says where the data come from, and --data names "
            "their folder."
        )
    return path


def read_coco(path: Path) -> Coco:
    """An annotation file's content.

    Raises:
        DatasetError: it is missing, is no JSON, or lacks a part of COCO's form.
    """
    try:
        content = json.loads(require_file(path).read_bytes())
    except ValueError as error:
        raise DatasetError(f"{path} is damaged ({error}); fetch it again.") from error
    parts = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(name in content for name in parts):
        raise DatasetError(f"{path} is not an annotation file in COCO's form.")
    return content


def require_images(coco: Coco, folder: Path) -> None:
    """Make sure that all images that an annotation file names are in a folder.

    Raises:
        DatasetError: some are missing; says how many, and the first.
    """
    names = [image["file_name"] for image in coco["images"]]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DatasetError(
            f"{folder} lacks {len(missing):,} of the {len(names):,} images of its annotation "
            f"file, the first {missing[0]}; {PAGE} says where the data come from, and --data "
            "names their folder."
        )
