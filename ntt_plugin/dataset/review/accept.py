"""Reviewed labels handed on into a field of the user's, as plain detections."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import fiftyone as fo
from pymongo.errors import PyMongoError

from ...errors import DatasetError
from ..banks.thresholds import check_thresholds
from ..database.dataset_locks import schema_lock
from ..database.errors import database_errors
from ..database.fiftyone_internals import reload_samples
from ..labels.clean import Clean
from ..labels.label_field import segmentation_fields
from ..labels.review_marks import APPROVED, REJECTED, half_reviewed
from ..runtime.progress_bar import Progress, progress_bar
from ..samples.checks import (
    dataset_of,
    listed,
    quoted,
    require_detections,
    require_editable,
    require_name,
)
from ..samples.sample_ids import ids_of
from ..samples.sample_notes import SampleNote, run_notes
from ..samples.views import all_images, image_view
from .label_copies import LabelCopies
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
        updated: ids of labels that were corrected since they were accepted, whose copies were
            brought up to date.
        failed: labels that could not be handed on, each with the reason.
        label_ids: ids of those written now; a label keeps its id.
        notes: what else there is to know: how many images still hold labels to review, and what
            was left alone because a person changed or deleted the copies.
    """

    label_field: str
    into: str
    accepted: dict[str, int] = field(default_factory=dict)
    already: int = 0
    failed: list[SampleNote] = field(default_factory=list)
    label_ids: list[str] = field(default_factory=list)
    notes: list[SampleNote] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)


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
    in both fields. Once more, only what is new is copied, and the copy of a label that was
    corrected since (another class, box or mask) is corrected: its tags and other attributes stay,
    and one that a person changed or deleted is left alone, and noted.

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
    copies = LabelCopies(dataset, label_field, into, cleaning)
    left_alone: Counter[str] = Counter()
    try:
        with progress_bar(len(chosen), progress) as bar:
            for sample_id in bar([one for one in ids_of(images) if one in chosen]):
                _accept(copies, sample_id, chosen[sample_id], done, left_alone)
    finally:
        with suppress(PyMongoError):
            copies.record.save()
            reload_samples(dataset)
    if not chosen:
        among = "" if classes is None else " of these classes"
        above = " or above its threshold" if limits else ""
        words = f"no label of {label_field!r}{among} is approved{above}, so none was copied"
        done.notes += run_notes([words])
    unknown = set(limits) - set(queue.by_class) if isinstance(thresholds, Mapping) else set()
    if unknown:
        words = f"there is a threshold for {listed(sorted(unknown))}, but no label of that class"
        done.notes += run_notes([words])
    left_alone["rejected"] = _still_there(images, into, queue.items)
    done.notes += run_notes(
        words.format(count=left_alone[what], into=into)
        for what, words in _LEFT_ALONE.items()
        if left_alone[what]
    )
    return done


_LEFT_ALONE = {
    "changed": "{count} labels were corrected since they were accepted, but their copies in "
    "{into!r} were changed, too; these stay as they are",
    "deleted": "{count} labels were accepted before, and their copies in {into!r} were deleted; "
    "they are not copied again (clear the field, or accept into another one, to have them)",
    "rejected": "{count} labels that were accepted before are rejected now; their copies in "
    "{into!r} stay: delete those that are wrong",
}


def _accept(
    copies: LabelCopies,
    sample_id: str,
    items: Sequence[ReviewItem],
    done: Accepted,
    left_alone: Counter[str],
) -> None:
    """Hand on labels of one sample; what fails is noted."""
    try:
        found = copies.accept(sample_id, [item.label_id for item in items])
    except KeyError:
        return  # deleted meanwhile
    done.label_ids += found.copied
    for label in found.copied.values():
        done.accepted[label] = done.accepted.get(label, 0) + 1
    done.updated += found.updated
    done.already += found.already
    done.failed += [SampleNote(sample_id, found.filepath, reason) for reason in found.failed]
    left_alone.update(changed=found.changed, deleted=found.deleted)


def _still_there(images: Any, into: str, items: Iterable[ReviewItem]) -> int:
    """How many rejected labels have a copy from before."""
    rejected = {item.key for item in items if item.state == REJECTED}
    if not rejected:
        return 0
    columns = images.values(["id", f"{into}.detections.id"])
    return sum(
        (sample, label) in rejected
        for sample, labels in zip(*columns, strict=True)
        for label in labels or []
    )


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
        DatasetError: it is the reviewed one, one that runs write, read-only, or of another type.
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
    require_editable(dataset, into)
