"""Thresholds applied to a field of labels: those below are tagged, or hidden; none is deleted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fiftyone import ViewExpression
from fiftyone import ViewField as F

from ...engine.bank.memory_bank import MemoryBank
from ...engine.bank.records import is_threshold
from ...errors import DatasetError
from ..database.errors import database_errors
from ..database.run_record import read_facts
from ..evaluation.best_f1 import Threshold
from ..samples.checks import literals, quoted, require_detections, require_tag
from ..samples.views import image_view
from .banks import resolve_bank

ACTIONS = ("tag", "hide")


@dataclass(frozen=True)
class ClassCounts:
    """How one class's labels lie to its threshold.

    Attributes:
        threshold: the threshold.
        below: labels of a lower confidence.
        above: the others.
    """

    threshold: float
    below: int
    above: int


@dataclass(frozen=True)
class AppliedThresholds:
    """What applying thresholds found.

    Attributes:
        below: labels below their class's threshold, over all classes.
        above: labels from it on.
        by_class: both by class, of the classes that have a threshold and labels here.
        without: number of labels of the classes that have no threshold, which are left alone.
        view: a view of the labels below where they were tagged; the samples without them where
            they are hidden.
    """

    below: int
    above: int
    by_class: dict[str, ClassCounts]
    without: dict[str, int]
    view: Any


@database_errors("some labels may be tagged already; start again when it is back.")
def apply_thresholds(
    samples: Any,
    label_field: str,
    bank: MemoryBank | str | Path | None = None,
    thresholds: Mapping[str, float | Threshold] | None = None,
    action: str = "tag",
    tag: str = "below_threshold",
    *,
    group_slices: str | Iterable[str] | None = None,
) -> AppliedThresholds:
    """Tag the labels below their class's threshold, or hide them. Nothing is deleted.

    Labels of classes without a threshold, and those without a confidence of 0 or more, are never
    below.

    Args:
        samples: a dataset or view of images; of a view that filters labels, those it shows.
        label_field: a field of ``Detections`` with ``confidence``.
        bank: the memory bank that keeps the thresholds: itself, the name of a saved one, or its
            file; if None, the one that the field was segmented with.
        thresholds: these in place of a bank's, by class, 0 to 1.
        action: ``tag`` gives the labels below the label tag, and takes it from the others;
            ``hide`` changes nothing and gives a view without them.
        tag: the label tag.
        group_slices: slices to take of a grouped dataset; its active one if None.

    Returns:
        How many labels are below and above, by class, and a view.

    Raises:
        DatasetError: the field is of another type, there is no such bank or it keeps no
            thresholds, both are given, a threshold is no number from 0 to 1, or there is no such
            action.
        BankError: the bank is damaged.
    """
    if action not in ACTIONS:
        raise DatasetError(f"There is no action {quoted(action)}; use 'tag' or 'hide'.")
    require_tag(tag)
    images = image_view(samples, group_slices)
    require_detections(images, label_field)
    limits = _limits(images, label_field, bank, thresholds)
    path = f"{label_field}.detections.label"
    found = images.count_values(path)
    # The classes go into a query, which has no room for all that a stranger's bank may name.
    below = is_below({label: limit for label, limit in limits.items() if label in found})
    under = images.filter_labels(label_field, below)
    low = under.count_values(path)
    by_class = {
        label: ClassCounts(limits[label], low.get(label, 0), found[label] - low.get(label, 0))
        for label in sorted(set(limits) & set(found))
    }
    others = sorted(label for label in found if label is not None and label not in limits)
    if action == "tag":
        images.filter_labels(label_field, ~below).untag_labels(tag, label_field)
        under.tag_labels(tag, label_field)
        view = under
    else:
        view = images.filter_labels(label_field, ~below, only_matches=False)
    return AppliedThresholds(
        below=sum(counts.below for counts in by_class.values()),
        above=sum(counts.above for counts in by_class.values()),
        by_class=by_class,
        without={label: found[label] for label in others},
        view=view,
    )


def is_below(thresholds: Mapping[str, float]) -> ViewExpression:
    """Whether a label is below its class's threshold, as an expression of a view.

    Args:
        thresholds: by class, at least one.
    """
    place = ViewExpression({"$indexOfArray": [literals(thresholds), F("label")]})
    limit = ViewExpression({"$arrayElemAt": [list(thresholds.values()), place]})
    # MongoDB takes a missing confidence for less than any number.
    return (place >= 0) & (F("confidence") >= 0) & (F("confidence") < limit)


def _limits(
    images: Any,
    field: str,
    bank: MemoryBank | str | Path | None,
    thresholds: Mapping[str, float | Threshold] | None,
) -> dict[str, float]:
    if thresholds is None:
        name, found = resolve_bank(images, bank if bank is not None else _bank_of(images, field))
        if not found.thresholds:
            raise DatasetError(
                f"The memory bank {quoted(name)} keeps no thresholds; save some of an evaluation "
                "with save_thresholds(), or give thresholds."
            )
        return found.thresholds
    if bank is not None:
        raise DatasetError("Give a memory bank or thresholds; one of the two.")
    if not thresholds:
        raise DatasetError("No threshold was given; name a class and its threshold.")
    values = {
        label: entry.value if isinstance(entry, Threshold) else entry
        for label, entry in thresholds.items()
    }
    for label, value in values.items():
        if not is_threshold(value):
            raise DatasetError(
                f"The threshold of {quoted(label)} is {value!r}; give one from 0 to 1."
            )
    return {label: float(value) for label, value in values.items()}


def _bank_of(images: Any, field: str) -> str:
    """The name of the bank that a field was segmented with."""
    name = read_facts(images, field).get("bank")
    if name is None:
        raise DatasetError(
            f"The field {field!r} was not segmented with a memory bank; name a bank, or give "
            "thresholds."
        )
    return str(name)
