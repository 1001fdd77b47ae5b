"""LVIS v1: 1,203 classes, up to 300 detections an image, scored by its federated rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ntt_plugin.errors import DatasetError

from .files import read_coco, require_images
from .protocol import Coco, Table, Task, draw_lvis
from .scoring import lvis_figures

CLASSES = 1203
MAX_DETECTIONS = 300


def annotation_files(folder: Path, parts: Sequence[str], shots: int) -> list[Path]:
    """The two annotation files."""
    return [folder / f"lvis_v1_{name}.json" for name in ("val", "train")]


def load(folder: Path, part: str, shots: int) -> Task:
    """Read both annotation files; the images are COCO's, of train2017 and val2017.

    Raises:
        DatasetError: a file or an image is missing, or the files are not those of LVIS v1.
    """
    val_file, train_file = annotation_files(folder, [part], shots)
    test = read_lvis(val_file)
    require_images(test, folder)
    train = read_lvis(train_file)
    return Task(part, train, folder, test, folder, frozenset(c["id"] for c in train["categories"]))


def read_lvis(path: Path) -> Coco:
    """An annotation file, whose images are named by their address, with file names beside.

    Raises:
        DatasetError: there is no such file, or it lacks the fields of LVIS v1.
    """
    coco = read_coco(path)
    needed = ("coco_url", "neg_category_ids", "not_exhaustive_category_ids")
    if lacking := [name for image in coco["images"][:1] for name in needed if name not in image]:
        raise DatasetError(f"{path} has no {lacking[0]!r} for its images, so it is not LVIS v1.")
    images = [
        {**image, "file_name": "/".join(image["coco_url"].split("/")[-2:])}
        for image in coco["images"]
    ]
    return {**coco, "images": images}


def score(task: Task, results: Sequence[dict[str, Any]]) -> dict[str, float]:
    """AP of boxes and masks; of masks also by how frequent the classes are."""
    boxes = lvis_figures(task.test, results, "bbox", MAX_DETECTIONS)
    masks = lvis_figures(task.test, results, "segm", MAX_DETECTIONS)
    rows = {"bbox AP": boxes["AP"], "segm AP": masks["AP"]}
    return rows | {f"segm {name}": masks[name] for name in ("APr", "APc", "APf")}


TABLE = Table(
    name="lvis",
    title="LVIS v1 val, 1,203 classes",
    shots=(1, 2, 3, 5, 10),
    parts=("",),
    images=19_809,
    classes=CLASSES,
    folder="lvis",
    downloads=(),
    annotation_files=annotation_files,
    fetch=None,
    load=load,
    choose=draw_lvis,
    score=score,
    masks=True,
    federated=True,
    max_instances=MAX_DETECTIONS,
)
