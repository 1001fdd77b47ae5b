"""The objects of photos in the files of other tools, read by FiftyOne's importers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import fiftyone as fo
import fiftyone.types as fot
import numpy as np
from PIL import Image
from pycocotools import mask as mask_utils

from tests.journeys.files import Photo
from tests.journeys.labels import FIELD, LabelKind, box_of, plain_masks, with_field
from tests.journeys.outlines import one_ring

Array = np.ndarray[Any, Any]
Load = Callable[[list[Photo], Path], fo.Dataset]


def _import(kind: type, **options: Any) -> fo.Dataset:
    return fo.Dataset.from_dir(dataset_type=kind, label_field=FIELD, progress=False, **options)


def _paths(photos: list[Photo]) -> dict[str, str]:
    return {photo.path.name: str(photo.path) for photo in photos}


def _classes(photos: list[Photo]) -> list[str]:
    return sorted({name for photo in photos for name, _ in photo.objects})


def coco(polygons: bool = False, **options: Any) -> Load:
    """COCO's annotation file, with RLE or with polygons."""

    def load(photos: list[Photo], folder: Path) -> fo.Dataset:
        path = folder / "annotations.json"
        path.write_text(json.dumps(_coco_tables(photos, polygons)))
        return _import(
            fot.COCODetectionDataset,
            data_path=_paths(photos),
            labels_path=str(path),
            label_types="segmentations",
            **options,
        )

    return load


def _coco_tables(photos: list[Photo], polygons: bool) -> dict[str, Any]:
    names = _classes(photos)
    images, annotations = [], []
    for number, photo in enumerate(photos, start=1):
        height, width = photo.objects[0][1].shape
        images.append(
            {"id": number, "file_name": photo.path.name, "width": width, "height": height}
        )
        for name, mask in photo.objects:
            x1, y1, x2, y2 = box_of(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": names.index(name) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                    "segmentation": _polygon(mask) if polygons else _rle(mask),
                }
            )
    categories = [{"id": index, "name": name} for index, name in enumerate(names, start=1)]
    return {"images": images, "categories": categories, "annotations": annotations}


def _polygon(mask: Array) -> list[list[float]]:
    return [[float(value) for point in one_ring(mask) for value in point]]


def _rle(mask: Array) -> dict[str, Any]:
    rle = mask_utils.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def cvat(boxes: bool) -> Load:
    """CVAT's XML for images, with boxes or with polygons."""

    def shape(name: str, mask: Array) -> str:
        label = quoteattr(name)
        if boxes:
            x1, y1, x2, y2 = box_of(mask)
            return (
                f'<box label={label} occluded="0" xtl="{x1}.00" ytl="{y1}.00" xbr="{x2}.00" '
                f'ybr="{y2}.00"></box>'
            )
        points = ";".join(f"{x}.00,{y}.00" for x, y in one_ring(mask))
        return f'<polygon label={label} occluded="0" points="{points}"></polygon>'

    def load(photos: list[Photo], folder: Path) -> fo.Dataset:
        images = []
        for number, photo in enumerate(photos):
            height, width = photo.objects[0][1].shape
            shapes = "".join(shape(name, mask) for name, mask in photo.objects)
            images.append(
                f'<image id="{number}" name={quoteattr(photo.path.name)} width="{width}" '
                f'height="{height}">{shapes}</image>'
            )
        path = folder / "cvat.xml"
        path.write_text(
            '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>'
            f"{''.join(images)}</annotations>",
            encoding="utf-8",
        )
        dataset = _import(fot.CVATImageDataset, data_path=_paths(photos), labels_path=str(path))
        (found,) = (name for name in dataset.get_field_schema() if name.startswith(FIELD))
        if found != FIELD:
            dataset.rename_sample_field(found, FIELD)
        return dataset

    return load


def _write_yolo(photos: list[Photo], folder: Callable[[Photo], Path]) -> None:
    names = _classes(photos)
    for photo in photos:
        lines = []
        for name, mask in photo.objects:
            height, width = mask.shape
            x1, y1, x2, y2 = box_of(mask)
            box = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width
            numbers = " ".join(f"{value:.6f}" for value in (*box, (y2 - y1) / height))
            lines.append(f"{names.index(name)} {numbers}")
        path = folder(photo) / f"{photo.path.stem}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")


def yolo5(photos: list[Photo], folder: Path) -> fo.Dataset:
    """YOLOv5's folders ``images`` and ``labels``."""
    images = photos[0].path.absolute().parent
    _write_yolo(photos, lambda photo: images.parent / "labels")
    path = folder / "dataset.yaml"
    names = "".join(f"  {index}: {name}\n" for index, name in enumerate(_classes(photos)))
    path.write_text(f"val: {json.dumps(str(images), ensure_ascii=False)}\nnames:\n{names}")
    return _import(fot.YOLOv5Dataset, yaml_path=str(path), split="val")


def yolo4(photos: list[Photo], folder: Path) -> fo.Dataset:
    """YOLOv4's list of images, each with a text beside it."""
    images = photos[0].path.absolute().parent
    _write_yolo(photos, lambda photo: images)
    (folder / "obj.names").write_text("\n".join(_classes(photos)) + "\n")
    listed = [str(images / photo.path.name) for photo in photos]
    (folder / "images.txt").write_text("\n".join(listed) + "\n")
    return _import(
        fot.YOLOv4Dataset,
        data_path=str(images),
        images_path=str(folder / "images.txt"),
        objects_path=str(folder / "obj.names"),
    )


def voc(photos: list[Photo], folder: Path) -> fo.Dataset:
    """VOC's XML files, one an image, with boxes."""
    (folder / "xml").mkdir(parents=True, exist_ok=True)
    for photo in photos:
        height, width = photo.objects[0][1].shape
        objects = ""
        for name, mask in photo.objects:
            x1, y1, x2, y2 = box_of(mask)
            box = f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
            objects += f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        (folder / "xml" / f"{photo.path.stem}.xml").write_text(
            f"<annotation><filename>{photo.path.name}</filename>{size}{objects}</annotation>"
        )
    return _import(
        fot.VOCDetectionDataset, data_path=_paths(photos), labels_path=str(folder / "xml")
    )


# VOC's palette: the colour of each object in its masks of objects.
_COLOURS = [(128 * (i & 1), 64 * (i & 2), 32 * (i & 4)) for i in range(1, 8)] + [(64, 0, 0)]


def _key(index: int, palette: bool) -> str | int:
    """How FiftyOne names the pixels of an object in VOC's masks."""
    return "#{:02x}{:02x}{:02x}".format(*_COLOURS[index]) if palette else index + 1


def voc_masks(palette: bool) -> Load:
    """VOC's masks of objects, one file an image; each object has a grey level or a colour."""

    def load(photos: list[Photo], folder: Path) -> fo.Dataset:
        (folder / "objects").mkdir(parents=True, exist_ok=True)
        for photo in photos:
            owners = np.zeros(photo.objects[0][1].shape, np.uint8)
            for index, (_, mask) in enumerate(photo.objects, start=1):
                owners[mask] = index
            image = Image.fromarray(owners)
            if palette:
                image = Image.fromarray(owners, "P")
                image.putpalette([0, 0, 0, *(level for colour in _COLOURS for level in colour)])
            image.save(folder / "objects" / f"{photo.path.stem}.png")
        dataset = fo.Dataset.from_dir(
            dataset_type=fot.ImageSegmentationDirectory,
            data_path=_paths(photos),
            labels_path=str(folder / "objects"),
            label_field="masks",
            load_masks=True,
            progress=False,
        )
        by_stem = {photo.path.stem: photo for photo in photos}
        for sample in dataset.iter_samples(autosave=True, progress=False):
            names = [name for name, _ in by_stem[Path(sample.filepath).stem].objects]
            targets = {_key(index, palette): str(index) for index in range(len(names))}
            found = sample["masks"].to_detections(mask_targets=targets)
            for label in found.detections:
                label.label = names[int(label.label)]
            found.detections.sort(key=lambda label: names.index(label.label))
            sample[FIELD] = found
        return dataset

    return load


def fiftyone_dataset(photos: list[Photo], folder: Path) -> fo.Dataset:
    """FiftyOne's own format, written and read again."""
    made = with_field(photos, plain_masks)
    where = str(folder / "fiftyone")
    made.export(
        export_dir=where, dataset_type=fot.FiftyOneDataset, export_media=False, progress=False
    )
    made.delete()
    return fo.Dataset.from_dir(dataset_dir=where, dataset_type=fot.FiftyOneDataset, progress=False)


IMPORTED = (
    LabelKind("coco rle", coco()),
    LabelKind("coco polygons", coco(polygons=True)),
    LabelKind("coco polylines", coco(polygons=True, use_polylines=True), scored=False),
    LabelKind("cvat polygons", cvat(boxes=False), scored=False),
    LabelKind("cvat boxes", cvat(boxes=True), scored=False, boxes=True),
    LabelKind("yolo 5", yolo5, scored=False, boxes=True, rounded=True),
    LabelKind("yolo 4", yolo4, scored=False, boxes=True, rounded=True),
    LabelKind("voc boxes", voc, scored=False, boxes=True),
    LabelKind("voc masks", voc_masks(palette=False)),
    LabelKind("voc palette", voc_masks(palette=True)),
    LabelKind("fiftyone", fiftyone_dataset),
    LabelKind("stored coco", coco(), stored=True),
    LabelKind("stored polygons", cvat(boxes=False), stored=True),
    LabelKind("stored boxes", voc, stored=True, boxes=True),
)
"""Labels that an importer of FiftyOne reads."""
