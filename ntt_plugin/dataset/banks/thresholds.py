"""A threshold of confidence for each class: found in an evaluation, kept with the memory bank."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from fiftyone import ViewField as F

from ...engine.bank.memory_bank import MemoryBank
from ...engine.typing import Array
from ...errors import DatasetError
from ..database.errors import database_errors
from ..evaluation.best_f1 import Threshold, best_threshold
from ..evaluation.evaluate import require_evaluation
from ..labels.crowds import crowd_values, is_crowd
from ..samples.checks import listed, quoted
from ..samples.views import all_images
from . import store

logger = logging.getLogger(__name__)

_IOU = 0.5


@database_errors("nothing was changed; start again when it is back.")
def best_thresholds(dataset: Any, eval_key: str) -> dict[str, Threshold]:
    """For each class the confidence that maximises F1 at an IoU of 0.5, by an evaluation's marks.

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
        DatasetError: there is no such bank or evaluation, both or none of the two are given, or
            the evaluation has no threshold for any class of the bank.
        BankError: the bank does not hold a class of ``thresholds``, one is no number from 0 to 1,
            or the bank is damaged.
    """
    if (eval_key is None) == (thresholds is None):
        raise DatasetError("Give the name of an evaluation, or thresholds; one of the two.")
    dataset = store.require_bank(dataset, bank)
    given = thresholds if eval_key is None else best_thresholds(dataset, eval_key)
    values = {
        label: entry.value if isinstance(entry, Threshold) else entry
        for label, entry in (given or {}).items()
    }

    def edit(saved: MemoryBank) -> bool:
        before = saved.thresholds
        saved.set_thresholds(values if eval_key is None else _known(saved, bank, values, eval_key))
        return saved.thresholds != before

    return store.change(dataset, bank, edit).thresholds


def find_thresholds(dataset: Any, eval_key: str) -> tuple[dict[str, Threshold], dict[str, str]]:
    """The best thresholds by class, and why the other classes of the evaluation have none.

    Raises:
        DatasetError: as ``best_thresholds``.
    """
    matches = _matches(require_evaluation(dataset, eval_key), eval_key)
    thresholds, without = {}, {}
    for label in sorted({*matches.truths[matches.is_true], *matches.found[matches.is_found]}):
        true = matches.is_true & (matches.truths == label)
        found = matches.is_found & (matches.found == label)
        best = best_threshold(matches.scores[found], true[found], int(true.sum()))
        if best is None:
            what = "right prediction" if true.any() and found.any() else "prediction"
            what = what if true.any() else "true label"
            without[str(label)] = (
                f"{quoted(str(label))} has no threshold: there is no {what} of it."
            )
        elif not 0 <= best.value <= 1:
            raise DatasetError(
                f"Confidences of {quoted(str(label))} in the evaluation {eval_key!r} are not all "
                "from 0 to 1, so no threshold can be kept for them."
            )
        else:
            thresholds[str(label)] = best
    return thresholds, without


class _Matches(NamedTuple):
    """What an evaluation matched, a row each: a true object with a prediction, or one alone."""

    truths: Array
    is_true: Array
    found: Array
    is_found: Array
    scores: Array


def _matches(dataset: Any, eval_key: str) -> _Matches:
    """Matches of an evaluation at IoU 0.5, without crowds and their matches.

    Valid for every threshold: matching goes by descending score, so removing predictions below a
    score does not change the matches above it.
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
    return _Matches(
        truths=results.ytrue[rows],
        is_true=_is_there(results.ytrue_ids)[rows],
        found=results.ypred[rows],
        is_found=_is_there(results.ypred_ids)[rows],
        scores=results.confs[rows].astype(np.float64),
    )


def _is_there(ids: Array) -> Array:
    return np.array([label is not None for label in ids], dtype=bool)


def _crowds(dataset: Any, field: str) -> set[str]:
    """Ids of the labels of a field that are marked as crowds."""
    if dataset.get_field(field) is None:
        return set()
    set_to_something = F("iscrowd").to_bool() | F("attributes.iscrowd.value").to_bool()
    marked = all_images(dataset).filter_labels(field, set_to_something)
    path = f"{field}.detections"
    found = set()
    for ids, values in zip(marked.values(f"{path}.id"), crowd_values(marked, path), strict=True):
        for label, value in zip(ids or [], values or [], strict=True):
            # A value that cannot be read kept the label out of the evaluation.
            with contextlib.suppress(DatasetError):
                if is_crowd(value):
                    found.add(label)
    return found


def _known(
    saved: MemoryBank, name: str, thresholds: dict[str, float], eval_key: str
) -> dict[str, float]:
    """Those of the bank's own classes; the others are logged."""
    unknown = [label for label in thresholds if label not in saved.classes]
    if len(unknown) == len(thresholds):
        raise DatasetError(
            f"The evaluation {eval_key!r} has no threshold for any class of the memory bank "
            f"{name!r}; its thresholds are for {listed(unknown) or 'no class'}."
        )
    if unknown:
        logger.warning("The memory bank %r does not hold %s: left out.", name, listed(unknown))
    return {label: value for label, value in thresholds.items() if label in saved.classes}
