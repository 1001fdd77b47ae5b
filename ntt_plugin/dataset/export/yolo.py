"""A field's labels as YOLO's segmentation format: one polygon an instance."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from ...errors import DatasetError
from ..database.errors import database_errors
from ..labels.clean import Clean
from ..runtime.progress_bar import Progress
from ..samples.checks import as_path, dataset_of, quoted
from ..samples.sample_notes import SampleNote, run_notes
from .polygons import mask_polygon
from .read_labels import ExportImage, ExportLabel, LabelReader
from .replaced_folder import LISTED, listed_line, replace_folder, require_no_images
from .report import ExportReport

_MADE_HERE = "# Written by ntt.export_yolo_seg."
# Of an image 10,000 pixels wide, a thousandth of a pixel.
_DECIMALS = 7


@database_errors("nothing was written; export again when it is back.")
def export_yolo_seg(
    samples: Any,
    field: str,
    path: str | Path,
    *,
    classes: str | Iterable[str] | None = None,
    clean: Clean | float | None = None,
    only_approved: bool = False,
    copy_images: bool = False,
    overwrite: bool = False,
    group_slices: str | Iterable[str] | None = None,
    progress: Progress = None,
) -> ExportReport:
    """Write a field's labels as a YOLO segmentation dataset: one line an instance.

    The format has one polygon an instance: parts are joined by bridges of no width, and holes
    are cut in by bridges. Crowds are left out: the format has none.

    Args:
        samples: as for ``export_coco``.
        field: as for ``export_coco``.
        path: a folder, new or empty; gets ``data.yaml``, ``labels`` with a text file an image,
            and ``images`` if they are copied, else ``images.txt``, which lists them;
            ``exported_files.txt`` lists what was written.
        classes: as for ``export_coco``; their numbers count from 0.
        clean: as for ``export_coco``.
        only_approved: as for ``export_coco``.
        copy_images: copy the images too: YOLO's trainers look for labels beside images.
        overwrite: replace a folder that an export wrote; no other one is ever replaced. The files
            of that export go; files that others put there stay, and are noted.
        group_slices: as for ``export_coco``.
        progress: FiftyOne's.

    Returns:
        What was written; images and labels that cannot be exported are named, and stop nothing.

    Raises:
        DatasetError: there is no such field or class, or the folder cannot be written.

    Example:
        >>> report = ntt.export_yolo_seg(dataset, "ground_truth", "yolo", copy_images=True)
        >>> report.images, sum(report.instances.values())
        (4, 12)
    """
    folder = _free_folder(path, overwrite)
    report = ExportReport(field, str(folder))
    reader = LabelReader(samples, field, report, classes, clean, only_approved, group_slices)
    if folder.exists():
        require_no_images(dataset_of(samples), folder)
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    try:
        part.mkdir(parents=True)
        _write(reader, report, progress, part, copy_images)
        # Another export may have ended here meanwhile.
        _free_folder(path, overwrite)
        kept = replace_folder(part, folder)
    except OSError as error:
        raise DatasetError(
            f"{quoted(str(folder), 200)} cannot be written ({error.strerror or error}); free some "
            "space, or choose another folder."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    if kept:
        words = f"{kept} files that no export wrote stay in the folder; a trainer may read them"
        report.notes += run_notes([words])
    return report


def _write(
    reader: LabelReader, report: ExportReport, progress: Progress, folder: Path, copy: bool
) -> None:
    numbers = {label: number for number, label in enumerate(reader.classes)}
    names = "\n".join(f"  {number}: {_yaml(label)}" for label, number in numbers.items())
    train = "images" if copy else "images.txt"
    (folder / "data.yaml").write_text(
        f"{_MADE_HERE}\ntrain: {train}\nval: {train}\nnames:\n{names}\n", encoding="utf-8"
    )
    (folder / "labels").mkdir()
    crowds = 0
    with (
        open(folder / "images.txt", "w", encoding="utf-8") as listed,
        open(folder / LISTED, "w", encoding="ascii") as written,
    ):
        for image in reader.images(progress):
            text = folder / "labels" / PurePosixPath(image.name).with_suffix(".txt")
            if text.exists():
                reason = f"another image has the same labels file, labels/{image.name}; rename one"
                report.failed.append(SampleNote(image.sample, image.filepath, reason))
                continue
            if not copy and len(image.filepath.splitlines()) > 1:
                reason = "its path has a line break, which a list cannot hold; copy the images"
                report.failed.append(SampleNote(image.sample, image.filepath, reason))
                continue
            crowds += sum(label.crowd for label in image.labels)
            labels = [label for label in image.labels if not label.crowd]
            text.parent.mkdir(parents=True, exist_ok=True)
            lines = [f"{numbers[one.label]} {_polygon(one, image)}\n" for one in labels]
            text.write_text("".join(lines), encoding="ascii")
            if copy:
                copied = folder / "images" / image.name
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(image.filepath, copied)
                written.write(listed_line(copied.relative_to(folder).as_posix()))
            written.write(listed_line(text.relative_to(folder).as_posix()))
            listed.write(f"{os.path.abspath(image.filepath)}\n")
            report.images += 1
            for one in labels:
                report.instances[one.label] = report.instances.get(one.label, 0) + 1
        if not copy:
            written.write(listed_line("images.txt"))
    if copy:
        (folder / "images.txt").unlink()
    if crowds:
        report.notes += run_notes([f"{crowds} crowds were left out: the format has none"])


def _yaml(text: str) -> str:
    """A text as YAML has it in quotes, on one line."""
    printable = "".join(
        one if one.isprintable() and one not in '"\\' else f"\\U{ord(one):08X}" for one in text
    )
    return f'"{printable}"'


def _polygon(label: ExportLabel, image: ExportImage) -> str:
    height, width = image.size
    corners = (mask_polygon(label.mask) + label.box[:2]) / (width, height)
    return " ".join(f"{value:.{_DECIMALS}f}" for value in corners.ravel().tolist())


def _free_folder(path: str | Path, overwrite: bool) -> Path:
    folder = as_path(path, "a YOLO dataset").absolute()
    if folder.is_dir() and overwrite and _is_ours(folder):
        return folder
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DatasetError(
            f"{quoted(str(folder), 200)} is there already; choose a new or an empty folder. With "
            "overwrite=True one that an export wrote is replaced."
        )
    return folder


def _is_ours(folder: Path) -> bool:
    try:
        return (folder / "data.yaml").read_text(encoding="utf-8").startswith(_MADE_HERE)
    except (OSError, UnicodeDecodeError):
        return False
