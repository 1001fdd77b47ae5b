"""The labels of a field that a person has to judge, the most doubtful first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fiftyone import ViewField as F

from ...errors import BankError, DatasetError
from ..banks import store
from ..banks.thresholds import check_thresholds
from ..database.errors import database_errors
from ..database.run_record import read_facts
from ..labels.peoples_labels import edited_labels
from ..labels.review_marks import APPROVED, REJECTED, REVIEW, STEP, TODO, as_text
from ..samples.checks import dataset_of, quoted, require_classes, require_detections
from ..samples.label_selection import LabelKey, select_labels
from ..samples.views import all_images, image_view

PAGE_SIZE = 24
"""How many labels a person judges at once."""

ALL = "all"
_STATES = (TODO, APPROVED, REJECTED)


@dataclass(frozen=True)
class ReviewItem:
    """One label to judge.

    Attributes:
        sample: id of its sample.
        label_id: its own id.
        label: its class.
        confidence: its confidence, or None.
        margin: similarity to its class minus that to the next best one; None if unknown.
        state: ``todo``, ``approved`` or ``rejected``.
        doubt: 0 (most doubtful) upwards: how near it is to its class's threshold, or to another
            class, whichever is nearer; infinite where nothing is known.
        step: id of the step that judged it; None if nobody did.
        reset: whether it was edited, and a person put it back to do.
    """

    sample: str
    label_id: str
    label: str
    confidence: float | None
    margin: float | None
    state: str
    doubt: float
    step: str | None = None
    reset: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """The ids of its sample and its own, as ``review_labels`` takes them."""
        return self.sample, self.label_id


@dataclass(frozen=True)
class ReviewCounts:
    """How many labels are to do, approved and rejected; by class and, in ``total``, over all."""

    todo: int = 0
    approved: int = 0
    rejected: int = 0

    @property
    def total(self) -> int:
        """The number of labels."""
        return self.todo + self.approved + self.rejected


@dataclass(frozen=True)
class ReviewQueue:
    """Labels in the order in which to judge them, and how far the review is.

    Attributes:
        label_field: the field that holds them.
        items: the labels asked for, the most doubtful first.
        counts: over all labels of the samples, whatever was asked for.
        by_class: the same by class, sorted by name.
        samples: the images that were given, not grouped.
    """

    label_field: str
    items: tuple[ReviewItem, ...]
    counts: ReviewCounts
    by_class: dict[str, ReviewCounts]
    samples: Any

    def page(self, number: int = 0, size: int = PAGE_SIZE) -> tuple[ReviewItem, ...]:
        """Some of the labels; ``number`` counts from 0. Empty past the end."""
        return self.items[number * size : (number + 1) * size]

    def patches(self, number: int = 0, size: int = PAGE_SIZE) -> Any:
        """A patches view of a page's labels, in order; the id of a patch is its label's id."""
        items = self.page(number, size)
        keys = [LabelKey(item.sample, self.label_field, item.label_id) for item in items]
        images = all_images(dataset_of(self.samples)).select_fields(self.label_field)
        patches = select_labels(images, keys).to_patches(self.label_field)
        return patches.select([item.label_id for item in items], ordered=True)


@database_errors("nothing was changed; start again when it is back.")
def review_queue(
    samples: Any,
    label_field: str,
    classes: str | Iterable[str] | None = None,
    *,
    state: str = TODO,
    thresholds: Mapping[str, float] | None = None,
    only_above: bool = False,
    group_slices: str | Iterable[str] | None = None,
) -> ReviewQueue:
    """The labels of a field in the order to judge them, and how many are done.

    A label's state is its attribute ``review``: ``approved`` or ``rejected``; none is to do. One
    that a person drew, or whose class, box or mask was edited in the App, is approved, too,
    until somebody resets it.

    Args:
        samples: a dataset or view of images; of a view that filters labels, those it shows.
        label_field: a field of ``Detections``, whoever made it.
        classes: only labels of these classes; all if None.
        state: ``todo``, ``approved``, ``rejected`` or ``all``.
        thresholds: by class, 0 to 1; those of the bank that the field was segmented with if
            None, where there are some.
        only_above: leave out the labels below their class's threshold.
        group_slices: slices to take of a grouped dataset; its active one if None.

    Raises:
        DatasetError: there is no such field, class or state, or a threshold is none.

    Example:
        >>> queue = ntt.review_queue(dataset, "ntt")
        >>> len(queue.items) == queue.counts.todo == dataset.count("ntt.detections")
        True
    """
    images = image_view(samples, group_slices)
    require_detections(images, label_field)
    if state not in (*_STATES, ALL):
        raise DatasetError(f"There is no state {quoted(state)}; use one of {(*_STATES, ALL)}.")
    wanted = None
    if classes is not None:
        wanted = set(require_classes(images, [f"{label_field}.detections"], classes))
    limits = (
        saved_thresholds(images, label_field)
        if thresholds is None
        else check_thresholds(thresholds)
    )
    items = _items(images, label_field, limits)
    counts = Counter((item.label, item.state) for item in items)
    asked = [
        item
        for item in items
        if (state in (item.state, ALL))
        and (wanted is None or item.label in wanted)
        and not (only_above and _is_below(item, limits))
    ]
    asked.sort(key=lambda item: item.doubt)
    return ReviewQueue(
        label_field=label_field,
        items=tuple(asked),
        counts=_counts(counts, {label for label, _ in counts}),
        by_class={label: _counts(counts, {label}) for label in sorted({one for one, _ in counts})},
        samples=images,
    )


def saved_thresholds(samples: Any, field: str) -> dict[str, float]:
    """The thresholds of the bank that a field was segmented with; empty if there are none."""
    name, dataset = read_facts(samples, field).get("bank"), dataset_of(samples)
    if name not in store.names(dataset):
        return {}
    try:
        return dict(store.read_info(dataset, name).thresholds)
    except BankError:
        return {}  # a damaged bank does not hinder the review of what it found


def _items(images: Any, field: str, limits: Mapping[str, float]) -> list[ReviewItem]:
    path = F(f"{field}.detections")
    # By expressions: not every field of labels declares all of these.
    names = ("label", "confidence", "margin", REVIEW, STEP)
    columns = images.values(["id", f"{field}.detections.id", *(path.map(F(one)) for one in names)])
    edited = edited_labels(dataset_of(images), field, columns[0])
    items = []
    for sample, *lists in zip(*columns, strict=True):
        for label_id, name, confidence, margin, review, mark in zip(
            *(values or [] for values in lists), strict=True
        ):
            label, step = as_text(name) or "", as_text(mark)
            state = review if review in (APPROVED, REJECTED) else TODO
            is_reset = review == TODO
            if state == TODO and not is_reset and (sample, label_id) in edited:
                state = APPROVED
            score, lead = _number(confidence), _number(margin)
            doubt = _doubt(score, lead, limits.get(label))
            items.append(
                ReviewItem(sample, label_id, label, score, lead, state, doubt, step, is_reset)
            )
    return items


def _doubt(confidence: float | None, margin: float | None, limit: float | None) -> float:
    known = [math.inf]
    if margin is not None:
        known.append(abs(margin))
    if confidence is not None and limit is not None:
        known.append(abs(confidence - limit))
    elif confidence is not None and margin is None:
        known.append(confidence)
    return min(known)


def _number(value: Any) -> float | None:
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    return None


def _is_below(item: ReviewItem, limits: Mapping[str, float]) -> bool:
    limit = limits.get(item.label)
    return limit is not None and item.confidence is not None and item.confidence < limit


def _counts(counts: Mapping[tuple[str, str], int], labels: Iterable[str]) -> ReviewCounts:
    return ReviewCounts(*(sum(counts.get((one, s), 0) for one in labels) for s in _STATES))
