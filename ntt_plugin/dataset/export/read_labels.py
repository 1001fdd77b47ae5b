"""The labels to export, image by image; what cannot be exported is named and stops nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fiftyone as fo

from ...engine.images.load import shown_size
from ...engine.typing import Array
from ...errors import DatasetError, ImageError
from ..database.fiftyone_internals import stream
from ..labels.clean import Clean, PixelBox, tight_mask
from ..labels.crowds import is_crowd_label
from ..labels.orientation import stored_pixels_problem
from ..labels.peoples_labels import edited_labels
from ..labels.placed_masks import INVERTED, seems_inverted
from ..labels.review_marks import APPROVED, REJECTED, REVIEW, half_reviewed
from ..references.choose import NO_AREA, NO_MASK
from ..runtime.progress_bar import Progress, progress_bar
from ..samples.checks import dataset_of, require_classes, require_labels
from ..samples.sample_ids import ids_of
from ..samples.sample_notes import SampleNote, run_notes
from ..samples.views import image_view, load_sample
from .report import ExportReport

_AT_ONCE = 100


@dataclass
class ExportLabel:
    """One label to export.

    Attributes:
        label: its class.
        mask: its pixels, bool (h, w), cropped to them.
        box: x1 y1 x2 y2 of the mask in the image.
        crowd: whether it is marked as one.
        confidence: in [0, 1], or None.
    """

    label: str
    mask: Array
    box: PixelBox
    crowd: bool
    confidence: float | None


@dataclass
class ExportImage:
    """One image to export: its file, its size (H, W), its name in the export, its labels."""

    sample: str
    filepath: str
    name: str
    size: tuple[int, int]
    labels: list[ExportLabel] = field(default_factory=list)


class LabelReader:
    """The images of a view with the labels of one field, in order.

    Attributes:
        classes: the classes that are exported.
    """

    def __init__(
        self,
        samples: Any,
        label_field: str,
        report: ExportReport,
        classes: str | Iterable[str] | None,
        clean: Clean | float | None,
        only_approved: bool,
        group_slices: str | Iterable[str] | None,
    ) -> None:
        """Check what is asked for; no label is read yet.

        Raises:
            DatasetError: there is no such field or class, or a size to clean is wrong.
        """
        notes: list[str] = []
        images = image_view(samples, group_slices, notes)
        path = require_labels(images, label_field)
        self.classes = require_classes(images, [path], classes)
        self._view = images.select_fields(label_field)
        self._field, self._list = label_field, path.rpartition(".")[2]
        self._report, self._clean = report, Clean.of(clean)
        self._only_approved = only_approved
        self._ids = ids_of(images)
        self._root = _common_folder(images)
        self._first_inverted, self._inverted = "", 0
        self._empty = self._unreviewed = self._rejected = 0
        self._to_review: list[int] = []
        report.notes += run_notes(notes)

    def images(self, progress: Progress) -> Iterator[ExportImage]:
        """Each image with its labels; few are in memory at a time."""
        with progress_bar(len(self._ids), progress) as bar:
            for sample in bar(self._samples()):
                try:
                    image = self._read(sample)
                except (DatasetError, ImageError) as error:
                    self._fail(sample, str(error))
                    continue
                if image is not None:
                    yield image
        self._note_all()

    def _samples(self) -> Iterator[Any]:
        """The samples; one that FiftyOne cannot load is named, one that was deleted is passed."""
        for start in range(0, len(self._ids), _AT_ONCE):
            some = self._ids[start : start + _AT_ONCE]
            try:
                found = {sample.id: sample for sample in self._view.select(some)}
            except ValueError:
                found = None
            for sample_id in some:
                if found is not None:
                    if sample_id in found:
                        yield found.pop(sample_id)
                    continue
                try:
                    yield load_sample(self._view, sample_id)
                except KeyError:
                    continue
                except DatasetError as error:
                    self._report.failed.append(SampleNote(sample_id, "", str(error)))

    def _read(self, sample: Any) -> ExportImage | None:
        held = sample[self._field]
        if held is None:
            # A field that was never written is not "no objects".
            self._empty += 1
            return None
        labels = self._chosen(sample.id, held[self._list])
        if labels is None:
            self._unreviewed += 1
            return None
        size = shown_size(sample.filepath)
        if problem := stored_pixels_problem(sample, labels):
            raise DatasetError(problem)
        name = Path(os.path.relpath(sample.filepath, self._root)).as_posix()
        image = ExportImage(sample.id, sample.filepath, name, size)
        for label in labels:
            try:
                if label.label in self.classes or not (label.label or "").strip():
                    image.labels.append(self._label(label, sample, size))
            except DatasetError as error:
                self._fail(sample, f"label {label.id}: {error}")
        return image

    def _chosen(self, sample_id: str, labels: Sequence[Any]) -> list[Any] | None:
        """The labels that the review lets pass; None if too little of the image is reviewed."""
        states = [getattr(label, REVIEW, None) for label in labels]
        if self._only_approved:
            states = self._states(sample_id, labels)
            if APPROVED not in states and not all(state == REJECTED for state in states):
                return None
        chosen, to_review = [], 0
        for label, state in zip(labels, states, strict=True):
            is_meant = label.label in self.classes
            self._rejected += is_meant and state == REJECTED
            if state == APPROVED or (state != REJECTED and not self._only_approved):
                chosen.append(label)
            elif state != REJECTED:
                to_review += is_meant
        if to_review:
            self._to_review.append(to_review)
        return chosen

    def _states(self, sample_id: str, labels: Sequence[Any]) -> list[str | None]:
        """What was said of each label; one that was drawn or edited is approved."""
        states = [getattr(label, REVIEW, None) for label in labels]
        if None not in states:
            return states
        edited = edited_labels(dataset_of(self._view), self._field, [sample_id])
        return [
            APPROVED if state is None and (sample_id, label.id) in edited else state
            for state, label in zip(states, labels, strict=True)
        ]

    def _label(
        self, label: fo.Detection | fo.Polyline, sample: Any, size: tuple[int, int]
    ) -> ExportLabel:
        if not (label.label or "").strip():
            raise DatasetError("It has no name.")
        if isinstance(label, fo.Polyline) and not (label.filled or label.closed):
            raise DatasetError(NO_AREA)
        if isinstance(label, fo.Detection) and not label.has_mask:
            raise DatasetError(NO_MASK)
        mask, box = tight_mask(label, size, self._clean)
        if isinstance(label, fo.Detection) and seems_inverted(mask):
            self._first_inverted = self._first_inverted or f"{label.id} of {sample.filepath}"
            self._inverted += 1
        return ExportLabel(label.label, mask, box, is_crowd_label(label), label.confidence)

    def _fail(self, sample: Any, reason: str) -> None:
        self._report.failed.append(SampleNote(sample.id, sample.filepath, reason))

    def _note_all(self) -> None:
        notes = []
        if self._empty:
            notes.append(
                f"{self._empty} images were left out: nothing was ever written to "
                f"{self._field!r} of them, so nobody knows what is in them"
            )
        if self._unreviewed:
            notes.append(
                f"{self._unreviewed} images were left out: none of their labels is approved, and "
                "some are still to review"
            )
        if self._to_review:
            notes.append(half_reviewed(self._to_review))
        if self._rejected:
            notes.append(f"{self._rejected} labels were left out: a review rejected them")
        if self._inverted:
            which = INVERTED.format(f"first, {self._first_inverted}, ")
            notes.append(f"{self._inverted} masks may be inverted; {which}")
        self._report.notes += run_notes(notes)


def _common_folder(images: Any) -> str:
    """The deepest folder that holds all images of a view, which are read one by one."""
    common: str | None = None
    for found in stream(images, [{"$project": {"filepath": 1}}]):
        folder = os.path.dirname(os.path.abspath(found["filepath"]))
        try:
            common = folder if common is None else os.path.commonpath((common, folder))
        except ValueError as error:  # on several drives
            raise DatasetError(
                f"The images have no folder in common ({error}); export those of each drive alone."
            ) from error
    return common or os.curdir
