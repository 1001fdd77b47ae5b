"""CD-FSOD: six datasets far from COCO, with the references that the benchmark itself publishes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ntt_plugin.errors import DatasetError

from .files import read_coco, require_images
from .protocol import Table, Task, take_all
from .scoring import coco_figures

# Folder, training images, test images and number of classes, as the authors of the benchmark
# register their datasets.
DATASETS = {
    "ArTaxOr": ("ArTaxOr", "train", "test", 7),
    "Clipart1k": ("clipart1k", "train", "test", 20),
    "DIOR": ("DIOR", "train/new_train", "test/new_test", 20),
    "DeepFish": ("FISH", "train", "test", 1),
    "NEU-DET": ("NEU-DET", "train", "test", 6),
    "UODD": ("UODD", "train", "test", 3),
}


def annotation_files(folder: Path, parts: Sequence[str], shots: int) -> list[Path]:
    """The annotation files of some datasets: those to score against, then the references."""
    roots = [folder / DATASETS[part][0] / "annotations" for part in parts]
    return [root / name for name in ("test.json", f"{shots}_shot.json") for root in roots]


def load(folder: Path, part: str, shots: int) -> Task:
    """Read one of the six datasets, with the references of ``<shots>_shot.json``.

    Raises:
        DatasetError: a file or an image is missing, or the number of classes is another one.
    """
    name, train_images, test_images, classes = DATASETS[part]
    root = folder / name
    test_file, train_file = annotation_files(folder, [part], shots)
    test = read_coco(test_file)
    require_images(test, root / test_images)
    train = read_coco(train_file)
    require_images(train, root / train_images)
    used = frozenset(annotation["category_id"] for annotation in train["annotations"])
    if len(used) != classes:
        raise DatasetError(
            f"{root}: {shots}_shot.json has references of {len(used)} classes and {part} has "
            f"{classes}; unpack the benchmark's own files there."
        )
    return Task(part, train, root / train_images, test, root / test_images, used)


def score(task: Task, results: Sequence[dict[str, Any]]) -> dict[str, float]:
    """AP of boxes, by pycocotools."""
    return {f"{task.part} AP": coco_figures(task.test, task.category_ids, results, "bbox")["AP"]}


TABLE = Table(
    name="cdfsod",
    title="CD-FSOD, six datasets, bbox AP",
    shots=(1, 5, 10),
    parts=tuple(DATASETS),
    images=None,
    classes=sum(classes for *_, classes in DATASETS.values()),
    folder="cdfsod",
    downloads=(),
    annotation_files=annotation_files,
    fetch=None,
    load=load,
    choose=take_all,
    score=score,
    mean="mean AP",
)
