"""The steps of a review: labels approved, rejected or given another class, and taken back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

KEPT_STEPS = 50
"""How many steps of each reviewer can be undone."""


@dataclass(frozen=True)
class ReviewStep:
    """What one step did; it is kept with the dataset, so that it can be undone.

    Attributes:
        step: its id.
        label_field: the field.
        reviewer: who made it.
        when: ISO 8601 in UTC.
        approved: number of labels that it approved.
        rejected: number that it rejected.
        changed: number that it gave another class (they are approved, too).
        reset: number that are to do again.
        left_alone: ids of the labels that were asked for and not touched: somebody else judged or
            changed them, or they are gone.
    """

    step: str
    label_field: str
    reviewer: str
    when: str
    approved: int = 0
    rejected: int = 0
    changed: int = 0
    reset: int = 0
    left_alone: tuple[str, ...] = ()


def review_labels(
    samples: Any,
    label_field: str,
    approve: Iterable[str] = (),
    reject: Iterable[str] = (),
    change: Mapping[str, str] | None = None,
    reset: Iterable[str] = (),
    *,
    reviewer: str = "",
    again: bool = False,
) -> ReviewStep:
    """Approve and reject labels, or give them another class, as one step that can be undone.

    Each label is changed by one database update that applies only if nobody changed it meanwhile.
    A process that is killed in the middle loses and doubles nothing: the next call of the same
    reviewer completes its step.

    Args:
        samples: the dataset, or a view of it.
        label_field: a field of ``Detections``.
        approve: ids of the labels that are right.
        reject: ids of those that are wrong.
        change: the right class by label id; such a label is approved.
        reset: ids of labels that are to do again.
        reviewer: whose step it is; the undo of one does not touch the steps of others.
        again: also labels that are approved or rejected already, whoever did it. Without it
            they are left alone (``reset`` needs none).

    Raises:
        DatasetError: there is no such field, a label is named twice, or a class is unusable.
    """
    raise NotImplementedError


def approve_above(
    samples: Any,
    label_field: str,
    label: str,
    confidence: float,
    *,
    reviewer: str = "",
    group_slices: str | Iterable[str] | None = None,
) -> ReviewStep:
    """Approve all labels of a class of at least a confidence that are to do, as one step.

    Raises:
        DatasetError: there is no such field or class, or the confidence is no number.
    """
    raise NotImplementedError


def undo_review(samples: Any, label_field: str, *, reviewer: str = "") -> ReviewStep | None:
    """Take back a reviewer's last step; None if there is none left.

    What somebody else changed after it stays as it is, and is named in ``left_alone``.

    Raises:
        DatasetError: there is no such field.
    """
    raise NotImplementedError


def review_history(samples: Any, label_field: str, *, reviewer: str = "") -> list[ReviewStep]:
    """A reviewer's steps that can be undone, the last one first."""
    raise NotImplementedError
