"""What a published table is made of: its tasks, how references are chosen, how it is scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ntt_plugin.dataset.references.coco_few_shot import sample_few_shot
from ntt_plugin.errors import DatasetError

Coco = dict[str, Any]
"""An annotation file's content in COCO's form: ``images``, ``annotations``, ``categories``."""

Annotation = dict[str, Any]
"""One entry of ``annotations``: ``id``, ``image_id``, ``category_id``, ``bbox`` (x, y, w, h)."""

PUBLISHED_SEED = 33
"""The seed of the published reference sets."""


@dataclass(frozen=True, eq=False)
class Task:
    """One evaluation: references from one annotation file, found in the images of another.

    Attributes:
        part: which part of the table: ``split1``, ``ArTaxOr``; empty if there is only one.
        train: content of the annotation file that the references come from.
        train_images: the folder that its ``file_name`` entries start from.
        test: content of the annotation file to score against.
        test_images: the folder that its ``file_name`` entries start from.
        category_ids: the classes, by their ids in both files.
    """

    part: str
    train: Coco
    train_images: Path
    test: Coco
    test_images: Path
    category_ids: frozenset[int]

    def class_names(self) -> dict[int, str]:
        """The task's classes by id."""
        return {
            entry["id"]: entry["name"]
            for entry in self.train["categories"]
            if entry["id"] in self.category_ids
        }


@dataclass(frozen=True)
class Download:
    """One file to fetch, with its size in GB and its size unpacked."""

    name: str
    gigabytes: float
    unpacked: float


@dataclass(frozen=True)
class Table:
    """A published table, and how to compute it.

    Attributes:
        name: as the command line calls it.
        title: the heading of what is printed.
        shots: the published numbers of references a class.
        parts: its tasks; ``("",)`` if there is one.
        images: images to segment for all parts together; None if only the data can say.
        classes: classes of all parts together, for the number of references.
        folder: the data's folder below FiftyOne's folder of zoo datasets.
        downloads: what is fetched where the data are missing; empty if you fetch them yourself.
        annotation_files: the files that must be there, in a folder, for some parts and shots; those
            of the images to segment come first.
        fetch: brings annotations and test images into a folder; None if you fetch them yourself.
        fetch_references: brings the images of chosen references; None if ``fetch`` brought them.
        load: reads one part for a number of shots; says what is missing.
        choose: the task's references for a number of shots and a seed.
        score: the figures of a part by row, in [0, 1], from results as COCO lists them.
        masks: whether masks are scored, not boxes alone.
        federated: whether an image's results count only for the classes checked in it (LVIS).
        max_instances: detections an image.
        mean: the row that averages the parts; empty if none does.
    """

    name: str
    title: str
    shots: tuple[int, ...]
    parts: tuple[str, ...]
    images: int | None
    classes: int
    folder: str
    downloads: tuple[Download, ...]
    annotation_files: Callable[[Path, Sequence[str], int], list[Path]]
    fetch: Callable[[Path], None] | None
    load: Callable[[Path, str, int], Task]
    choose: Callable[[Task, int, int], list[Annotation]]
    score: Callable[[Task, Sequence[dict[str, Any]]], dict[str, float]]
    fetch_references: Callable[[Path, Task, Sequence[Annotation]], None] | None = None
    masks: bool = False
    federated: bool = False
    max_instances: int = 100
    mean: str = ""


def draw(task: Task, shots: int, seed: int) -> list[Annotation]:
    """References as the paper drew them (recipe section 7); a class may have fewer."""
    return _drawn(task, sample_few_shot(task.train, shots, seed, task.category_ids))


def draw_lvis(task: Task, shots: int, seed: int) -> list[Annotation]:
    """The same with LVIS's rules for rare classes: repeated, or invalid, rather than too few."""
    return _drawn(task, sample_few_shot(task.train, shots, seed, task.category_ids, lvis=True))


def take_all(task: Task, shots: int, seed: int) -> list[Annotation]:
    """Every annotation of the file, for benchmarks that publish the references themselves."""
    return [a for a in task.train["annotations"] if a["category_id"] in task.category_ids]


def short_classes(task: Task, chosen: Sequence[Annotation], shots: int) -> list[str]:
    """A sentence for each class that has another number of references than was asked for."""
    counts = Counter(annotation["category_id"] for annotation in chosen)
    return [
        f"{name!r} has {counts[key]} references, not {shots}"
        for key, name in task.class_names().items()
        if counts[key] != shots
    ]


def categories_named(coco: Coco, names: Sequence[str]) -> frozenset[int]:
    """The ids of classes.

    Raises:
        DatasetError: the file lacks one of them.
    """
    ids = {entry["name"]: entry["id"] for entry in coco["categories"]}
    if missing := [name for name in names if name not in ids]:
        raise DatasetError(
            f"The annotation file has no class {missing[0]!r}; is it the file of this table?"
        )
    return frozenset(ids[name] for name in names)


def _drawn(task: Task, references: Sequence[dict[str, Any]]) -> list[Annotation]:
    by_id = {annotation["id"]: annotation for annotation in task.train["annotations"]}
    return [by_id[reference["annotation_id"]] for reference in references]
