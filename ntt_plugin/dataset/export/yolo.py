"""A field's labels as YOLO's segmentation format: one polygon an instance."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..labels.clean import Clean
from ..runtime.progress_bar import Progress
from .report import ExportReport


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
        samples, field, classes, clean, only_approved, overwrite, group_slices, progress: as for
            ``export_coco``.
        path: a folder, new or empty; gets ``data.yaml``, ``labels`` with a text file an image,
            and ``images`` if they are copied, else ``images.txt``, which lists them.
        copy_images: copy the images too.

    Returns:
        What was written; images and labels that cannot be exported are named, and stop nothing.

    Raises:
        DatasetError: there is no such field or class, or the folder cannot be written.
    """
    raise NotImplementedError
