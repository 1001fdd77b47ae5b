"""Reviewed labels handed on into a field of the user's, as plain detections."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import fiftyone as fo
import numpy as np
from bson import ObjectId
from pymongo.errors import PyMongoError

from ...engine.images.load import shown_size
from ...errors import DatasetError, ImageError
from ...worker.labels.boxes import relative_box
from ...worker.labels.label_bytes import NewLabel, png_bytes
from ..banks.thresholds import check_thresholds
from ..database.dataset_locks import schema_lock
from ..database.errors import database_errors, is_too_large
from ..database.fiftyone_internals import reload_samples, samples_of
from ..labels.clean import Clean, tight_mask
from ..labels.convert import label_defaults
from ..labels.label_field import segmentation_fields
from ..labels.mask_files import MaskFiles
from ..labels.overlap import outline, overlaps
from ..labels.review_marks import APPROVED, REJECTED, half_reviewed
from ..runtime.progress_bar import Progress, progress_bar
from ..samples.checks import dataset_of, quoted, require_detections, require_name
from ..samples.sample_notes import SampleNote, run_notes
from ..samples.views import all_images, image_view, load_sample
from .queue import ALL, ReviewItem, review_queue, saved_thresholds

_TRIES = 5


@dataclass
class Accepted:
    """What ``accept_labels`` did.

    Attributes:
        label_field: the field that they are from.
        into: the field that they are in now.
        accepted: number written now, by class.
        already: number that were there before, or whose object (mask IoU >= 0.5) was.
        failed: labels that could not be handed on, each with the reason.
        label_ids: ids of those written now; a label keeps its id.
        notes: what else there is to know: how many images still hold labels to review.
    """

    label_field: str
    into: str
    accepted: dict[str, int] = field(default_factory=dict)
    already: int = 0
    failed: list[SampleNote] = field(default_factory=list)
    label_ids: list[str] = field(default_factory=list)
    notes: list[SampleNote] = field(default_factory=list)


@database_errors("nothing is half copied; do it again when it is back, and it goes on.")
def accept_labels(
    samples: Any,
    label_field: str,
    into: str,
    *,
    thresholds: Mapping[str, float] | bool | None = None,
    classes: str | Iterable[str] | None = None,
    clean: Clean | float | None = None,
    group_slices: str | Iterable[str] | None = None,
    progress: Progress = None,
) -> Accepted:
    """Copy approved labels into a field of the user's, as plain ``Detections``.

    A copy has class, mask, box, confidence, and no attribute of ours. All else stays as it is,
    in both fields. Once more, only what is new is copied.

    Args:
        samples: a dataset or view of images.
        label_field: the reviewed field.
        into: a field of ``Detections``, made if it is new; not one that a run writes.
        thresholds: in place of the approved labels all that are not rejected and at or above
            these thresholds by class (classes without one: approved labels only); True takes the
            thresholds of the bank that the field was segmented with.
        classes: only labels of these classes; all if None.
        clean: removes specks and fills small holes of the copies' masks.
        group_slices: slices to take of a grouped dataset; its active one if None.
        progress: FiftyOne's: True, False, a callback, or None for the configured default.

    Raises:
        DatasetError: there is no such field, or ``into`` cannot be written.

    Example:
        >>> items = ntt.review_queue(dataset, "ntt").items[:3]
        >>> step = ntt.review_labels(dataset, "ntt", [item.key for item in items])
        >>> len(ntt.accept_labels(dataset, "ntt", into="accepted").label_ids)
        3
        >>> step = ntt.undo_review(dataset, "ntt")
    """
    images = image_view(samples, group_slices)
    dataset, cleaning = dataset_of(images), Clean.of(clean)
    require_detections(images, label_field)
    limits = _limits(images, label_field, thresholds)
    queue = review_queue(images, label_field, classes, state=ALL, thresholds=limits)
    chosen: dict[str, list[ReviewItem]] = defaultdict(list)
    for item in queue.items:
        if _is_wanted(item, limits):
            chosen[item.sample].append(item)
    _require_field(dataset, label_field, into)
    left = Counter(item.sample for item in queue.items if _is_to_review(item, limits))
    half = [count for sample_id, count in left.items() if sample_id in chosen]
    done = Accepted(label_field, into, notes=run_notes([half_reviewed(half)] if half else []))
    writer = _Writer(dataset, label_field, into, cleaning, done)
    order = [sample_id for sample_id in images.values("id") if sample_id in chosen]
    try:
        with progress_bar(len(order), progress) as bar:
            for sample_id in bar(order):
                writer.accept(sample_id, chosen[sample_id])
    finally:
        with suppress(PyMongoError):
            reload_samples(dataset)
    return done


class _Writer:
    """Copies labels of a sample from one field into another, in one step a sample."""

    def __init__(
        self, dataset: Any, label_field: str, into: str, clean: Clean | None, done: Accepted
    ) -> None:
        self._view = all_images(dataset).select_fields([label_field, into])
        self._samples = samples_of(dataset)
        self._label_field, self._into, self._clean, self._done = label_field, into, clean, done
        self._files = MaskFiles(dataset, f"accepted_{into}")
        self._defaults = label_defaults()

    def accept(self, sample_id: str, items: Sequence[ReviewItem]) -> None:
        """Copy the labels that are not there yet; what fails is noted."""
        filepath = ""
        try:
            sample = load_sample(self._view, sample_id)
            filepath = sample.filepath
            new = self._new(sample, {item.label_id for item in items})
            if new:
                self._push(sample_id, new)
        except KeyError:
            return  # deleted meanwhile
        except (DatasetError, ImageError) as error:
            self._done.failed.append(SampleNote(sample_id, filepath, str(error)))
            return
        for label_id, copy in new.items():
            self._done.label_ids.append(label_id)
            self._done.accepted[copy.label] = self._done.accepted.get(copy.label, 0) + 1

    def _new(self, sample: Any, wanted: set[str]) -> dict[str, NewLabel]:
        """Copies of the labels whose objects the field does not hold, by their ids."""
        labels = sample[self._label_field].detections if sample[self._label_field] else []
        there = sample[self._into].detections if sample[self._into] else []
        held = {label.id for label in there}
        missing = [label for label in labels if label.id in wanted - held]
        self._done.already += len(wanted & held)
        if not missing:
            return {}
        size = shown_size(sample.filepath)
        # Labels that were accepted from here before stand side by side as their review has them.
        siblings = {label.id for label in labels}
        others = []
        for label in there:
            # A label that a person left without an area covers nothing.
            with suppress(DatasetError):
                others += [] if label.id in siblings else [outline(label, size)]
        found = {}
        for label in missing:
            try:
                if overlaps([outline(label, size)], others)[0]:
                    self._done.already += 1
                else:
                    found[label.id] = self._copy(label, size)
            except DatasetError as error:
                reason = f"label {label.id}: {error}"
                self._done.failed.append(SampleNote(sample.id, sample.filepath, reason))
        return found

    def _copy(self, label: fo.Detection, size: tuple[int, int]) -> NewLabel:
        if not label.has_mask:
            return NewLabel(label.label, list(label.bounding_box), None, label.confidence)
        mask, box = tight_mask(label, size, self._clean)
        whole = np.ascontiguousarray(mask)
        return NewLabel(label.label, relative_box(box, size), whole, label.confidence)

    def _push(self, sample_id: str, new: dict[str, NewLabel]) -> None:
        """Add labels to what the field holds at this moment, each once."""
        in_files = self._in_files(sample_id)
        for _ in range(_TRIES):
            documents = self._documents(sample_id, new, in_files)
            try:
                if not documents or self._add(sample_id, documents):
                    return
            except PyMongoError as error:
                if in_files or not is_too_large(error):
                    raise
                in_files = True
                continue
            # Another person accepted some of them meanwhile.
            held = self._samples.distinct(f"{self._into}.detections._id", _this(sample_id))
            for label_id in map(str, held):
                new.pop(label_id, None)
        raise DatasetError("Others are changing its labels again and again; accept again.")

    def _add(self, sample_id: str, documents: list[dict[str, Any]]) -> bool:
        path, now = f"{self._into}.detections", datetime.now(timezone.utc)
        ids = [document["_id"] for document in documents]
        added = {"$push": {path: {"$each": documents}}, "$set": {"last_modified_at": now}}
        some = {**_this(sample_id), path: {"$type": "array"}, f"{path}._id": {"$nin": ids}}
        if self._samples.update_one(some, added).matched_count:
            return True
        whole = {**fo.Detections().to_dict(), "detections": documents}
        fresh = {"$set": {self._into: whole, "last_modified_at": now}}
        none = {**_this(sample_id), path: None}
        return bool(self._samples.update_one(none, fresh).matched_count)

    def _in_files(self, sample_id: str) -> bool:
        """Whether the sample's masks are files: too many for the database, or as a user wants."""
        path = f"{self._label_field}.detections.mask_path"
        used = {**_this(sample_id), path: {"$type": "string"}}
        return self._samples.find_one(used, {"_id": 1}) is not None

    def _documents(
        self, sample_id: str, new: Mapping[str, NewLabel], in_files: bool
    ) -> list[dict[str, Any]]:
        documents = []
        for label_id, copy in new.items():
            path = None
            if in_files and copy.mask is not None:
                path = self._files.store_one(sample_id, label_id, png_bytes(copy.mask))
            documents.append({**copy.document(self._defaults, path), "_id": ObjectId(label_id)})
        return documents


def _this(sample_id: str) -> dict[str, Any]:
    return {"_id": ObjectId(sample_id)}


def _limits(
    images: Any, label_field: str, thresholds: Mapping[str, float] | bool | None
) -> dict[str, float]:
    if thresholds is None or thresholds is False:
        return {}
    if thresholds is not True:
        return check_thresholds(thresholds)
    limits = saved_thresholds(images, label_field)
    if not limits:
        raise DatasetError(
            f"The memory bank that {label_field!r} was segmented with keeps no thresholds; "
            "estimate them with estimate_thresholds(), or give some."
        )
    return limits


def _is_wanted(item: ReviewItem, limits: Mapping[str, float]) -> bool:
    if item.state in (APPROVED, REJECTED):
        return item.state == APPROVED
    limit = limits.get(item.label)
    return limit is not None and item.confidence is not None and item.confidence >= limit


def _is_to_review(item: ReviewItem, limits: Mapping[str, float]) -> bool:
    """Whether neither a person nor a threshold has judged a label."""
    judged = item.state in (APPROVED, REJECTED)
    return not judged and (item.label not in limits or item.confidence is None)


def _require_field(dataset: Any, label_field: str, into: str) -> None:
    """Make sure that labels may be added to a field; make it if it is new.

    Raises:
        DatasetError: it is the reviewed one, one that runs write, or of another type.
    """
    require_name(into, "label field")
    if into == label_field or into in segmentation_fields(dataset):
        raise DatasetError(
            f"Runs write the field {into!r}, and a later one would replace what is accepted; "
            "choose a field of your own, or a new one."
            if into != label_field
            else f"{quoted(into)} is the field that is reviewed; accept into another one."
        )
    if dataset.get_field(into) is None:
        with schema_lock(dataset):
            dataset.add_sample_field(
                into, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections
            )
    require_detections(all_images(dataset), into)
