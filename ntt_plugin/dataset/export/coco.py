"""A field's labels as a COCO annotation file, exact to the pixel."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..labels.clean import Clean
from ..runtime.progress_bar import Progress
from .report import ExportReport


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

    Memory stays flat however many images there are. The file is there whole or not at all.

    Args:
        samples: a dataset or view of images; of a view that filters labels, those it shows.
        field: a field of ``Detections`` with masks, or of filled or closed ``Polylines``.
        path: the file, which ends in ``.json``; its folder is made.
        classes: only these classes, with ids in this order; all, sorted, if None.
        clean: removes specks and fills small holes.
        only_approved: only labels that a review approved.
        overwrite: replace a file that is there.
        group_slices: slices to take of a grouped dataset; its active one if None.
        progress: FiftyOne's: True, False, a callback, or None for the configured default.

    Returns:
        What was written; images and labels that cannot be exported are named, and stop nothing.

    Raises:
        DatasetError: there is no such field or class, or the file cannot be written.
    """
    raise NotImplementedError
