"""A confidence threshold for each class: found in an evaluation, kept with a bank, applied."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fiftyone import ViewExpression
from fiftyone import ViewField as F

from ...engine.bank.memory_bank import MemoryBank
from ...engine.bank.records import is_threshold
from ...engine.typing import Array
from ...errors import DatasetError
from ..database.errors import database_errors
from ..database.run_record import read_facts
from ..evaluation.evaluate import require_evaluation
from ..labels.crowds import crowd_values, is_crowd
from ..samples.checks import listed, literals, quoted, require_detections, require_tag
from ..samples.views import all_images, image_view
from . import store
from .banks import resolve_bank
from .best_threshold import Threshold, best_threshold
from .estimate_thresholds import merge_thresholds

logger = logging.getLogger(__name__)

ACTIONS = ("tag", "hide")

_IOU = 0.5


@dataclass(frozen=True)
class ClassCounts:
    """How many labels of a class are below its threshold, of a lower confidence, and above."""

    threshold: float
    below: int
    above: int


@dataclass(frozen=True)
class AppliedThresholds:
    """What applying thresholds found.

    Attributes:
        below: number of labels below their class's threshold, over all classes.
        above: number of labels at or above it.
        by_class: both by class, of the classes that have a threshold and labels here.
        without: number of labels by class of the classes without a threshold, which are left alone.
        view: a view of the labels below where they were tagged; the samples without them where
            they are hidden.
    """

    below: int
    above: int
    by_class: dict[str, ClassCounts]
    without: dict[str, int]
    view: Any


@database_errors("nothing was changed; start again when it is back.")
def best_thresholds(dataset: Any, eval_key: str) -> dict[str, Threshold]:
    """For each class the confidence that maximises F1 at an IoU of 0.5, by an evaluation.

    What the evaluation left out is left out here too, and a prediction that lies on a crowd counts
    neither as right nor as wrong. A class without a true label, without a prediction or without
    a right one has no threshold; such classes are logged.

    Args:
        dataset: the dataset, or a view of it.
        eval_key: the name of an evaluation that ``evaluate`` made.

    Returns:
        The thresholds by class, sorted by name.

    Raises:
        DatasetError: there is no such evaluation, it is not of this kind, or its confidences go
            beyond 0 to 1.

    Example:
        >>> thresholds = ntt.best_thresholds(dataset, "eval")
        >>> all(0 <= threshold.value <= 1 for threshold in thresholds.values())
        True
    """
    found, without = find_thresholds(dataset, eval_key)
    for reason in without.values():
        logger.warning("%s", reason)
    return found


@database_errors("the thresholds are saved or not at all; start again when it is back.")
def save_thresholds(
    dataset: Any,
    bank: str,
    eval_key: str | None = None,
    thresholds: Mapping[str, float | Threshold] | None = None,
) -> dict[str, float]:
    """Keep thresholds in a saved bank, in place of those that it has.

    They change nothing of what ``segment`` writes: ``apply_thresholds`` applies them. The bank's
    file holds them too.

    Args:
        dataset: the dataset, or a view of it.
        bank: the bank's name in the dataset.
        eval_key: take them from this evaluation, as ``best_thresholds`` finds them; classes that
            the bank does not hold are left out, and logged.
        thresholds: or these, by class, 0 to 1; none at all takes the bank's away.

    Returns:
        The thresholds that the bank has now.

    Raises:
        DatasetError: there is no such bank or evaluation, both or none of the two are given, the
            thresholds are no mapping, or the evaluation has none for any class of the bank.
        BankError: the bank does not hold a class of ``thresholds``, one is no number from 0 to 1,
            or the bank is damaged.

    Example:
        >>> ntt.save_thresholds(dataset, "animals", thresholds={"cat": 0.5, "dog": 0.4})
        {'cat': 0.5, 'dog': 0.4}
    """
    if (eval_key is None) == (thresholds is None):
        raise DatasetError("Give the name of an evaluation, or thresholds; one of the two.")
    dataset = store.require_bank(dataset, bank)
    given = thresholds if eval_key is None else best_thresholds(dataset, eval_key)
    values = _values({} if given is None else given)

    def edit(saved: MemoryBank) -> bool:
        before = saved.thresholds
        saved.set_thresholds(values if eval_key is None else _known(saved, bank, values, eval_key))
        return saved.thresholds != before

    return store.change(dataset, bank, edit, to_undo=False).thresholds


@database_errors("the thresholds are saved or not at all; start again when it is back.")
def update_thresholds(
    dataset: Any, bank: str, thresholds: Mapping[str, float | Threshold]
) -> dict[str, float]:
    """Change the thresholds of some classes of a saved bank; the others keep theirs.

    Classes that the bank does not hold are left out, and logged. An estimated threshold that is
    given as it is stays an estimated one.

    Returns:
        The thresholds that the bank has now.

    Raises:
        DatasetError: there is no such bank, or a threshold is no number from 0 to 1.
        BankError: the bank is damaged.
    """
    values = check_thresholds(thresholds)

    def edit(saved: MemoryBank) -> bool:
        known = {label: value for label, value in values.items() if label in saved.classes}
        if unknown := [label for label in values if label not in known]:
            logger.warning("The memory bank %r does not hold %s: left out.", bank, listed(unknown))
        return merge_thresholds(saved, known, {})

    return store.change(store.require_bank(dataset, bank), bank, edit, to_undo=False).thresholds


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

    Example:
        >>> applied = ntt.apply_thresholds(dataset, "ntt", thresholds={"cat": 0.5})
        >>> applied.view.count("ntt.detections") == applied.below
        True
    """
    if action not in ACTIONS:
        raise DatasetError(f"There is no action {quoted(action)}; use 'tag' or 'hide'.")
    require_tag(tag)
    images = image_view(samples, group_slices)
    require_detections(images, label_field)
    limits = _limits(images, label_field, bank, thresholds)
    path = f"{label_field}.detections.label"
    found = images.count_values(path)
    # The classes go into a query, and a bank may have more than fit into one.
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
    """Whether a label is below its class's threshold, as an expression; of at least one class."""
    place = ViewExpression({"$indexOfArray": [literals(thresholds), F("label")]})
    limit = ViewExpression({"$arrayElemAt": [list(thresholds.values()), place]})
    # For MongoDB a missing confidence is less than any number.
    return (place >= 0) & (F("confidence") >= 0) & (F("confidence") < limit)


def find_thresholds(dataset: Any, eval_key: str) -> tuple[dict[str, Threshold], dict[str, str]]:
    """As ``best_thresholds``, and with it why the other classes of the evaluation have none."""
    truths, predictions, scores = _matches(require_evaluation(dataset, eval_key), eval_key)
    thresholds, without = {}, {}
    for label in sorted({*truths, *predictions} - {None}):
        true, found = truths == label, predictions == label
        best = best_threshold(scores[found], true[found], int(true.sum()))
        if best is None:
            what = "right prediction" if true.any() and found.any() else "prediction"
            what = what if true.any() else "true label"
            without[label] = f"{quoted(label)} has no threshold: there is no {what} of it."
        elif not 0 <= best.value <= 1:
            raise DatasetError(
                f"Confidences of {quoted(label)} in the evaluation {eval_key!r} are not all "
                "from 0 to 1, so no threshold can be kept for them."
            )
        else:
            thresholds[label] = best
    return thresholds, without


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
    return check_thresholds(thresholds)


def check_thresholds(thresholds: Mapping[str, float | Threshold]) -> dict[str, float]:
    """Thresholds by class as floats.

    Raises:
        DatasetError: one is no number from 0 to 1, or they are no mapping.
    """
    values = _values(thresholds)
    for label, value in values.items():
        if not is_threshold(value):
            raise DatasetError(
                f"The threshold of {quoted(label)} is {value!r}; give one from 0 to 1."
            )
    return {label: float(value) for label, value in values.items()}


def _values(thresholds: Mapping[str, float | Threshold]) -> dict[str, float]:
    """Thresholds by class, of whatever value.

    Raises:
        DatasetError: they are no mapping.
    """
    if not isinstance(thresholds, Mapping):
        raise DatasetError(
            f"{quoted(thresholds)} are no thresholds; give one for each class, such as "
            '{"cat": 0.6}.'
        )
    return {
        label: entry.value if isinstance(entry, Threshold) else entry
        for label, entry in thresholds.items()
    }


def _bank_of(images: Any, field: str) -> str:
    name = read_facts(images, field).get("bank")
    if name is None:
        raise DatasetError(
            f"The field {field!r} was not segmented with a memory bank; name a bank, or give "
            "thresholds."
        )
    return str(name)


def _matches(dataset: Any, eval_key: str) -> tuple[Array, Array, Array]:
    """Matches of an evaluation at IoU 0.5, without crowds and their matches.

    Valid for every threshold: matching goes by descending score, so removing predictions below a
    score does not change the matches above it. Of each match, or object or prediction without one,
    the true class and the predicted one, None where there is none, and the score; each (n,).
    """
    config = dataset.get_evaluation_info(eval_key).config
    settings = [getattr(config, name, None) for name in ("method", "iou", "classwise")]
    results = dataset.load_evaluation_results(eval_key, cache=False)
    if settings != ["coco", _IOU, True] or results is None:
        raise DatasetError(
            f"The evaluation {eval_key!r} of {dataset.name!r} is none by COCO's rules at an IoU of "
            f"{_IOU}; run evaluate() under this key."
        )
    crowds = _crowds(dataset, config.gt_field)
    rows = np.array([label not in crowds for label in results.ytrue_ids], dtype=bool)
    truths = _classes(results.ytrue, results.ytrue_ids)
    found = _classes(results.ypred, results.ypred_ids)
    return truths[rows], found[rows], results.confs[rows].astype(np.float64)


def _classes(names: Array, ids: Array) -> Array:
    """Classes of the labels that an evaluation compared; None where it has no label."""
    named = zip(names, ids, strict=True)
    return np.array([None if key is None else str(name) for name, key in named], dtype=object)


def _crowds(dataset: Any, field: str) -> set[str]:
    if dataset.get_field(field) is None:
        return set()
    set_to_something = F("iscrowd").to_bool() | F("attributes.iscrowd.value").to_bool()
    marked = all_images(dataset).filter_labels(field, set_to_something)
    path = f"{field}.detections"
    found = set()
    for ids, values in zip(marked.values(f"{path}.id"), crowd_values(marked, path), strict=True):
        for label, value in zip(ids or [], values or [], strict=True):
            # The evaluation left out labels whose ``iscrowd`` cannot be read.
            with contextlib.suppress(DatasetError):
                if is_crowd(value):
                    found.add(label)
    return found


def _known(
    saved: MemoryBank, name: str, thresholds: dict[str, float], eval_key: str
) -> dict[str, float]:
    """The thresholds of the bank's own classes; the others are logged."""
    unknown = [label for label in thresholds if label not in saved.classes]
    if len(unknown) == len(thresholds):
        raise DatasetError(
            f"The evaluation {eval_key!r} has no threshold for any class of the memory bank "
            f"{name!r}; its thresholds are for {listed(unknown) or 'no class'}."
        )
    if unknown:
        logger.warning("The memory bank %r does not hold %s: left out.", name, listed(unknown))
    return {label: value for label, value in thresholds.items() if label in saved.classes}
