"""COCO's twenty novel classes: references from train2017, all 5,000 images of val2017."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.zoo as foz

from ntt_plugin.dataset.references.coco_few_shot import NOVEL_COCO_CLASSES
from ntt_plugin.errors import DatasetError

from .files import read_coco, require_images
from .protocol import Annotation, Download, Table, Task, categories_named, draw
from .scoring import coco_figures

# Where COCO's own files lie, and where FiftyOne's zoo puts them.
_OWN = ("annotations", "train2017", "val2017")
_ZOO = ("raw", "train/data", "validation/data")


def layout(folder: Path) -> tuple[Path, Path, Path]:
    """The folders of annotations, of training and of validation images."""
    names = _OWN if (folder / _OWN[0]).is_dir() else _ZOO
    labels, train, val = (folder / name for name in names)
    return labels, train, val


def annotation_files(folder: Path, parts: Sequence[str], shots: int) -> list[Path]:
    """The two annotation files."""
    return [layout(folder)[0] / f"instances_{name}2017.json" for name in ("val", "train")]


def fetch(folder: Path) -> None:
    """Annotations and validation images by FiftyOne's zoo; what is there is left alone."""
    if is_zoo(folder):
        _from_zoo(split="validation")


def is_zoo(folder: Path) -> bool:
    """Whether a folder is the one where FiftyOne's zoo keeps COCO."""
    return folder == Path(fo.config.dataset_zoo_dir) / "coco-2017"


def fetch_references(folder: Path, task: Task, chosen: Sequence[Annotation]) -> None:
    """The training images of chosen references, one by one: 18 GB of others stay where they are."""
    names = {image["id"]: image["file_name"] for image in task.train["images"]}
    wanted = sorted({annotation["image_id"] for annotation in chosen})
    missing = [key for key in wanted if not (task.train_images / names[key]).is_file()]
    if missing and is_zoo(folder):
        _from_zoo(split="train", image_ids=missing)


def _from_zoo(**what: Any) -> None:
    try:
        foz.download_zoo_dataset("coco-2017", **what)
    except Exception as error:
        raise DatasetError(
            f"FiftyOne's zoo cannot fetch COCO ({error!s:.200}); try again, which goes on, or put "
            "COCO's own folders somewhere and name that with --data."
        ) from error


def load(folder: Path, part: str, shots: int) -> Task:
    """Read both annotation files.

    Raises:
        DatasetError: a file or an image of the validation part is missing.
    """
    _, train_images, val_images = layout(folder)
    val_file, train_file = annotation_files(folder, [part], shots)
    test = read_coco(val_file)
    require_images(test, val_images)
    train = read_coco(train_file)
    novel = categories_named(train, NOVEL_COCO_CLASSES)
    return Task(part, train, train_images, test, val_images, novel)


def score(task: Task, results: Sequence[dict[str, Any]]) -> dict[str, float]:
    """AP of boxes and of masks, by pycocotools."""
    found: dict[str, float] = {}
    for kind in ("bbox", "segm"):
        figures = coco_figures(task.test, task.category_ids, results, kind)
        found |= {f"{kind} AP": figures["AP"], f"{kind} AP50": figures["AP50"]}
        found |= {f"{kind} AP75": figures["AP75"]}
    return found


TABLE = Table(
    name="coco",
    title="COCO val2017, 20 novel classes",
    shots=(1, 2, 3, 5, 10, 30),
    parts=("",),
    images=5000,
    classes=20,
    folder="coco-2017",
    downloads=(
        Download("val2017.zip", 0.8, 0.8),
        Download("annotations_trainval2017.zip", 0.25, 0.9),
        Download("the references' images, one by one", 0.1, 0.0),
    ),
    annotation_files=annotation_files,
    fetch=fetch,
    fetch_references=fetch_references,
    load=load,
    choose=draw,
    score=score,
    masks=True,
)
