"""The labels of a field that a person has to judge, the most doubtful first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

PAGE_SIZE = 24

TODO, APPROVED, REJECTED = "todo", "approved", "rejected"


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
    """

    sample: str
    label_id: str
    label: str
    confidence: float | None
    margin: float | None
    state: str
    doubt: float


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
        raise NotImplementedError

    def patches(self, number: int = 0, size: int = PAGE_SIZE) -> Any:
        """A patches view of a page's labels, in order; the id of a patch is its label's id."""
        raise NotImplementedError


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

    A label's state is its attribute ``review``: ``approved`` or ``rejected``; none is to do.

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
        DatasetError: there is no such field, class or state.
    """
    raise NotImplementedError
