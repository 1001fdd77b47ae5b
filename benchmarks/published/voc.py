"""PASCAL VOC's three novel splits: references from VOC2007 and VOC2012, scored on VOC2007 test."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ntt_plugin.errors import DatasetError

from .downloads import Archive, fetch_archives
from .files import require_file, require_images
from .protocol import Annotation, Coco, Download, Table, Task, categories_named, draw
from .scoring import coco_figures

CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
NOVEL_SPLITS = {
    "split1": ("bird", "bus", "cow", "motorbike", "sofa"),
    "split2": ("aeroplane", "bottle", "cow", "horse", "sofa"),
    "split3": ("boat", "cat", "motorbike", "sheep", "sofa"),
}
_SITE = "http://host.robots.ox.ac.uk/pascal/VOC"
ARCHIVES = (
    Archive(f"{_SITE}/voc2007/VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f"),
    Archive(f"{_SITE}/voc2007/VOCtrainval_06-Nov-2007.tar", "c52e279531787c972589f7e41ab4ae64"),
    Archive(f"{_SITE}/voc2012/VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd"),
)
_EDGES = ("xmin", "ymin", "xmax", "ymax")
IMAGE_SETS = (("VOC2007", "test"), ("VOC2007", "trainval"), ("VOC2012", "trainval"))


def devkit(folder: Path) -> Path:
    """The folder of ``VOC2007`` and ``VOC2012``."""
    return folder if (folder / "VOC2007").is_dir() else folder / "VOCdevkit"


def annotation_files(folder: Path, parts: Sequence[str], shots: int) -> list[Path]:
    """The lists of images: test, and those that references come from."""
    return [devkit(folder) / year / f"ImageSets/Main/{name}.txt" for year, name in IMAGE_SETS]


def fetch(folder: Path) -> None:
    """The three archives from the challenge's own site; what is there is left alone."""
    lists = annotation_files(folder, (), 0)
    # An archive that is still there was not unpacked to its end.
    fetch_archives(
        [
            archive
            for archive, path in zip(ARCHIVES, lists, strict=True)
            if not path.is_file() or (folder / archive.name).exists()
        ],
        folder,
    )


def load(folder: Path, part: str, shots: int) -> Task:
    """Read one split.

    Raises:
        DatasetError: a list, an annotation or an image is missing.
    """
    root = devkit(folder)
    test = read_voc(root, IMAGE_SETS[:1])
    require_images(test, root)
    train = read_voc(root, IMAGE_SETS[1:])
    return Task(part, train, root, test, root, categories_named(train, NOVEL_SPLITS[part]))


def read_voc(root: Path, image_sets: Sequence[tuple[str, str]]) -> Coco:
    """XML annotations in COCO's form and in the order of the published conversion.

    It is that of OpenMMLab's ``pascal_voc.py``, which decides what a seed draws: image sets in
    their files' order; of an image first its ordinary objects, then those marked as difficult,
    which become crowds; pixel coordinates from 0. Ids begin with 1, for pycocotools takes an
    annotation of id 0 for none.

    Args:
        root: the folder ``VOCdevkit``.
        image_sets: year and list, such as ``("VOC2007", "trainval")``.

    Raises:
        DatasetError: a list or an annotation is missing or damaged.
    """
    ids = {name: key for key, name in enumerate(CLASSES, start=1)}
    coco: Coco = {
        "images": [],
        "annotations": [],
        "categories": [{"id": key, "name": name} for name, key in ids.items()],
    }
    for year, name in image_sets:
        listed = require_file(root / year / "ImageSets" / "Main" / f"{name}.txt")
        for stem in listed.read_text().split():
            size, objects = _read(root / year / "Annotations" / f"{stem}.xml", ids)
            image_id = len(coco["images"]) + 1
            file_name = f"{year}/JPEGImages/{stem}.jpg"
            coco["images"].append({"id": image_id, "file_name": file_name, **size})
            for annotation in objects:
                key = len(coco["annotations"]) + 1
                coco["annotations"].append({"id": key, "image_id": image_id, **annotation})
    return coco


def _read(path: Path, ids: dict[str, int]) -> tuple[dict[str, int], list[Annotation]]:
    """An image's width and height, and its objects."""
    try:
        root = ET.parse(require_file(path)).getroot()
        size = {side: int(root.findtext(f"size/{side}", "")) for side in ("width", "height")}
        return size, list(_objects(root, ids))
    except (ET.ParseError, ValueError, KeyError) as error:
        raise DatasetError(
            f"{path} is no annotation of PASCAL VOC ({error}); unpack its archive again."
        ) from error


def _objects(root: ET.Element, ids: dict[str, int]) -> Iterator[Annotation]:
    """An image's objects, the difficult ones last."""
    objects = sorted(root.findall("object"), key=_is_difficult)
    for entry in objects:
        # A few annotations of 2012 have fractions.
        edges = [int(float(entry.findtext(f"bndbox/{edge}", ""))) for edge in _EDGES]
        x1, y1, x2, y2 = (edge - 1 for edge in edges)
        yield {
            "category_id": ids[entry.findtext("name", "")],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": int(_is_difficult(entry)),
        }


def _is_difficult(entry: ET.Element) -> bool:
    return entry.findtext("difficult", "0").strip() == "1"


def score(task: Task, results: Sequence[dict[str, Any]]) -> dict[str, float]:
    """nAP50 of boxes, by pycocotools."""
    figures = coco_figures(task.test, task.category_ids, results, "bbox")
    return {f"{task.part} nAP50": figures["AP50"]}


TABLE = Table(
    name="voc",
    title="PASCAL VOC, novel classes of three splits, VOC2007 test",
    shots=(1, 2, 3, 5, 10),
    parts=tuple(NOVEL_SPLITS),
    images=4952,
    classes=15,
    folder="voc",
    downloads=(
        Download("VOCtrainval_06-Nov-2007.tar", 0.45, 0.45),
        Download("VOCtest_06-Nov-2007.tar", 0.45, 0.45),
        Download("VOCtrainval_11-May-2012.tar", 2.0, 2.0),
    ),
    annotation_files=annotation_files,
    fetch=fetch,
    load=load,
    choose=draw,
    score=score,
    mean="mean nAP50",
)
