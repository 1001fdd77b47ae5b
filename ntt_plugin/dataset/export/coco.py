"""A field's labels as a COCO annotation file, exact to the pixel."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pycocotools import mask as mask_utils

from ...engine.files import whole_file
from ...errors import DatasetError
from ..database.errors import database_errors
from ..labels.clean import Clean
from ..runtime.progress_bar import Progress
from ..samples.checks import as_path, quoted
from .read_labels import ExportImage, ExportLabel, LabelReader
from .report import ExportReport


@database_errors("nothing was written; export again when it is back.")
def export_coco(
    samples: Any,
    field: str,
    path: str | Path,
    *,
    classes: str | Iterable[str] | None = None,
    clean: Clean | float | None = None,
    only_approved: bool = False,
    overwrite: bool = False,
    group_slices: str | Iterable[str] | None = None,
    progress: Progress = None,
) -> ExportReport:
    """Write a field's labels as a COCO annotation file with RLE masks, exact to the pixel.

    Memory stays flat however many images there are. The file is there whole or not at all. Names
    of images are relative to the deepest folder that holds all of them. A label's confidence
    becomes ``score``, its ``iscrowd`` stays. Images to which nothing was ever written in the field
    are left out, and noted; those with empty labels are in the file.

    Args:
        samples: a dataset or view of images; of a view that filters labels, those it shows.
        field: a field of ``Detections`` with masks, or of filled or closed ``Polylines``.
        path: the file, which ends in ``.json``; its folder is made.
        classes: only these classes, with ids in this order; all, sorted, if None.
        clean: removes specks and fills small holes.
        only_approved: only labels that a review approved; what it rejected is never exported.
        overwrite: replace a file that is there.
        group_slices: slices to take of a grouped dataset; its active one if None.
        progress: FiftyOne's: True, False, a callback, or None for the configured default.

    Returns:
        What was written; images and labels that cannot be exported are named, and stop nothing.

    Raises:
        DatasetError: there is no such field or class, or the file cannot be written.

    Example:
        >>> report = ntt.export_coco(dataset, "ground_truth", "labels.json")
        >>> report.images, report.instances
        (4, {'cat': 4, 'dog': 4, 'bird': 4})
    """
    file = _free_path(path, overwrite)
    report = ExportReport(field, str(file))
    reader = LabelReader(samples, field, report, classes, clean, only_approved, group_slices)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.{uuid.uuid4().hex}.part")
        with whole_file(file, part) as out, tempfile.TemporaryFile(dir=file.parent) as images:
            _write(reader, report, progress, out, images)
            # Another export may have ended here meanwhile.
            _free_path(path, overwrite)
    except OSError as error:
        raise DatasetError(
            f"{quoted(str(file), 200)} cannot be written ({error.strerror or error}); free some "
            "space, or choose another folder."
        ) from error
    return report


def _write(
    reader: LabelReader, report: ExportReport, progress: Progress, out: BinaryIO, images: BinaryIO
) -> None:
    """Write annotations as they come, and the images, which wait in a file of their own, last."""
    numbers = {label: number for number, label in enumerate(reader.classes, start=1)}
    categories = [{"id": number, "name": label} for label, number in numbers.items()]
    out.write(b'{"info": {"description": %s},\n' % _json(f"{report.label_field} of FiftyOne"))
    out.write(b'"licenses": [],\n"categories": %s,\n"annotations": [' % _json(categories))
    count = 0
    for image in reader.images(progress):
        report.images += 1
        height, width = image.size
        images.write(b",\n" if report.images > 1 else b"\n")
        images.write(
            _json({"id": report.images, "file_name": image.name, "height": height, "width": width})
        )
        for label in image.labels:
            out.write(b",\n" if count else b"\n")
            count += 1
            entry = {"id": count, "image_id": report.images, "category_id": numbers[label.label]}
            out.write(_json({**entry, **_annotation(label, image)}))
            report.instances[label.label] = report.instances.get(label.label, 0) + 1
    out.write(b'],\n"images": [')
    images.seek(0)
    shutil.copyfileobj(images, out)
    out.write(b"]}\n")


def _annotation(label: ExportLabel, image: ExportImage) -> dict[str, Any]:
    x1, y1, x2, y2 = label.box
    full = np.zeros(image.size, dtype=np.uint8, order="F")
    full[y1:y2, x1:x2] = label.mask
    encoded = mask_utils.encode(full)
    found: dict[str, Any] = {
        "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")},
        "area": int(np.count_nonzero(label.mask)),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "iscrowd": int(label.crowd),
    }
    if label.confidence is not None and np.isfinite(label.confidence):
        found["score"] = float(label.confidence)
    return found


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _free_path(path: str | Path, overwrite: bool) -> Path:
    file = as_path(path, "a COCO file").absolute()
    if file.suffix != ".json":
        raise DatasetError(f"{quoted(str(path), 200)} is to be a COCO file: end its name in .json.")
    if file.is_dir() or (file.exists() and not overwrite):
        raise DatasetError(
            f"{quoted(str(file), 200)} is there already; choose another name, or pass "
            "overwrite=True to replace the file."
        )
    return file
