"""Reviewed labels handed on into a field of the user's, as plain detections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..labels.clean import Clean
from ..runtime.progress_bar import Progress
from ..segmentation.report import SampleNote


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
    """

    label_field: str
    into: str
    accepted: dict[str, int] = field(default_factory=dict)
    already: int = 0
    failed: list[SampleNote] = field(default_factory=list)
    label_ids: list[str] = field(default_factory=list)


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
    """
    raise NotImplementedError
