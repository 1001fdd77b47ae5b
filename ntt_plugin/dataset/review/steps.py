"""The steps of a review: labels approved, rejected or given another class, and taken back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import DatasetError
from ..database.errors import database_errors
from ..labels.peoples_labels import edited_labels
from ..labels.review_marks import (
    APPROVED,
    REJECTED,
    TODO,
    Change,
    Mark,
    declare_review,
    read_marks,
)
from ..samples.checks import (
    dataset_of,
    is_number,
    quoted,
    require_detections,
    require_editable,
)
from ..samples.views import all_images
from .journal import Journal, Step, new_step
from .queue import review_queue

LabelName = str | tuple[str, str]
"""A label's id, or the ids of its sample and its own, which are found faster."""


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


@database_errors("each label is as it was or as wanted; start again when it is back.")
def review_labels(
    samples: Any,
    label_field: str,
    approve: Iterable[LabelName] = (),
    reject: Iterable[LabelName] = (),
    change: Mapping[LabelName, str] | None = None,
    reset: Iterable[LabelName] = (),
    *,
    reviewer: str = "",
    again: bool = False,
    expected: Mapping[LabelName, str] | None = None,
) -> ReviewStep:
    """Approve and reject labels, or give them another class, as one step that can be undone.

    Each label is changed by one database update that applies only if nobody changed it meanwhile.
    A process that is killed in the middle loses and doubles nothing: the next call of the same
    reviewer completes its step.

    Args:
        samples: the dataset, or a view of it.
        label_field: a field of ``Detections``.
        approve: ids of the labels that are right; or, found faster, pairs of the ids of a label's
            sample and its own (``ReviewItem.key``). So are the next ones.
        reject: ids of those that are wrong.
        change: the right class by label id; such a label is approved.
        reset: ids of labels that are to do again.
        reviewer: whose step it is; the undo of one does not touch the steps of others.
        again: also labels that are approved, rejected or edited already, whoever did it.
            Without it they are left alone (``reset`` needs none).
        expected: the class that the reviewer saw, by label; a label that has another one by now
            is left alone. Labels that are not named may have any.

    Raises:
        DatasetError: there is no such field or it is read-only, a label is named twice or by no
            id, or a class is unusable.

    Example:
        >>> first, second, *_ = ntt.review_queue(dataset, "ntt").items
        >>> step = ntt.review_labels(dataset, "ntt", [first.key], change={second.key: "cat"})
        >>> step.approved, step.changed, ntt.undo_review(dataset, "ntt").left_alone
        (1, 1, ())
    """
    dataset = _reviewed(samples, label_field)
    wanted = _wanted(approve, reject, {} if change is None else change, reset)
    expected = _require_mapping("expected", {} if expected is None else expected)
    journal = Journal(dataset, label_field, reviewer)
    journal.complete()
    marks = _marks(dataset, label_field, wanted)
    step, when = new_step()
    samples_there = list(dict.fromkeys(key[0] for key, _ in marks.values()))
    edited = edited_labels(dataset, label_field, samples_there)
    changes, left_alone = [], []
    for name, verdict in wanted.items():
        key, before = marks.get(_label_id(name), (None, None))
        if key is None or before is None or not _is_as_seen(key, before, expected):
            left_alone.append(_label_id(name))
            continue
        is_judged = before.is_judged or (key in edited and before.review != TODO)
        if is_judged and not again and verdict.is_judged:
            left_alone.append(_label_id(name))
            continue
        # Without a mark an edited label counts as approved.
        review = verdict.review or (TODO if key in edited else None)
        after = Mark(verdict.label or before.label, review, step)
        changes.append(Change(*key, before, after))
    return _make(dataset, label_field, reviewer, Step(step, when, tuple(changes)), left_alone)


@database_errors("each label is as it was or as wanted; start again when it is back.")
def approve_above(
    samples: Any,
    label_field: str,
    label: str,
    confidence: float,
    *,
    reviewer: str = "",
    thresholds: Mapping[str, float] | None = None,
    only_above: bool = False,
    group_slices: str | Iterable[str] | None = None,
) -> ReviewStep:
    """Approve all labels of a class of at least a confidence that are to do, as one step.

    With ``only_above`` those below the class's threshold stay to do; ``thresholds`` are in place
    of the bank's, as in ``review_queue``.

    Raises:
        DatasetError: there is no such field or class, or the confidence is no number.

    Example:
        >>> step = ntt.approve_above(dataset, "ntt", "cat", 0.0)
        >>> step.approved == ntt.review_queue(dataset, "ntt", state="approved").counts.approved
        True
        >>> step = ntt.undo_review(dataset, "ntt")
    """
    if not is_number(confidence) or not math.isfinite(confidence):
        raise DatasetError(f"The confidence is {quoted(confidence)}; give a number from 0 to 1.")
    queue = review_queue(
        samples,
        label_field,
        [label],
        state=TODO,
        thresholds=thresholds,
        only_above=only_above,
        group_slices=group_slices,
    )
    dataset = _reviewed(samples, label_field)
    journal = Journal(dataset, label_field, reviewer)
    journal.complete()
    step, when = new_step()
    # The class as it was seen: where somebody changes it meanwhile, nothing is approved.
    changes = [
        Change(
            *item.key,
            Mark(item.label, TODO if item.reset else None, item.step),
            Mark(item.label, APPROVED, step),
        )
        for item in queue.items
        if item.confidence is not None and item.confidence >= confidence
    ]
    return _make(dataset, label_field, reviewer, Step(step, when, tuple(changes)), [])


@database_errors("each label is as it was or as wanted; start again when it is back.")
def undo_review(samples: Any, label_field: str, *, reviewer: str = "") -> ReviewStep | None:
    """Take back a reviewer's last step; None if there is none left.

    What somebody else changed after it stays as it is, and is named in ``left_alone``.

    Raises:
        DatasetError: there is no such field.

    Example:
        >>> item = ntt.review_queue(dataset, "ntt").items[0]
        >>> step = ntt.review_labels(dataset, "ntt", reject=[item.key])
        >>> ntt.undo_review(dataset, "ntt").rejected
        1
    """
    dataset = _reviewed(samples, label_field)
    journal = Journal(dataset, label_field, reviewer)
    journal.complete()
    undone = journal.undo()
    if undone is None:
        return None
    step, restored = undone
    return _told(step, label_field, reviewer, restored, [])


@database_errors("each label is as it was or as wanted; start again when it is back.")
def review_history(samples: Any, label_field: str, *, reviewer: str = "") -> list[ReviewStep]:
    """A reviewer's steps that can be undone, the last one first.

    Raises:
        DatasetError: there is no such field.

    Example:
        >>> item = ntt.review_queue(dataset, "ntt").items[0]
        >>> step = ntt.review_labels(dataset, "ntt", [item.key])
        >>> ntt.review_history(dataset, "ntt")[0].approved
        1
        >>> step = ntt.undo_review(dataset, "ntt")
    """
    dataset = _reviewed(samples, label_field)
    steps = Journal(dataset, label_field, reviewer).steps()
    return [
        _told(step, label_field, reviewer, {one.key for one in step.changes}, [])
        for step in reversed(steps)
    ]


def _reviewed(samples: Any, field: str) -> Any:
    dataset = dataset_of(samples)
    require_detections(all_images(dataset), field)
    require_editable(dataset, field)
    return dataset


def _wanted(
    approve: Iterable[LabelName],
    reject: Iterable[LabelName],
    change: Mapping[LabelName, str],
    reset: Iterable[LabelName],
) -> dict[LabelName, Mark]:
    """What each label is to be; without a step, and without a class where that stays."""
    _require_mapping("change", change)
    for name, label in change.items():
        if not isinstance(label, str) or not label.strip():
            raise DatasetError(
                f"The new class of the label {quoted(_label_id(name))} is {quoted(label)}; give a "
                "name."
            )
    verdicts = [
        *((name, Mark(None, APPROVED, None)) for name in _each("approve", approve)),
        *((name, Mark(None, REJECTED, None)) for name in _each("reject", reject)),
        *((name, Mark(label, APPROVED, None)) for name, label in change.items()),
        *((name, Mark(None, None, None)) for name in _each("reset", reset)),
    ]
    times = Counter(_label_id(name) for name, _ in verdicts)
    for label_id, count in times.items():
        if count > 1:
            raise DatasetError(
                f"The label {quoted(label_id)} is named {count} times in one step; approve, "
                "reject, change or reset it, once."
            )
    return dict(verdicts)


def _is_as_seen(key: tuple[str, str], mark: Mark, expected: Mapping[LabelName, str]) -> bool:
    """Whether a label has the class that its reviewer saw, if that is known."""
    return expected.get(key, expected.get(key[1], mark.label)) == mark.label


def _each(what: str, names: Iterable[LabelName]) -> list[LabelName]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        kind = "one text" if isinstance(names, str) else quoted(names)
        raise DatasetError(f"{what} is {kind}; give a list of ids of labels.")
    return list(names)


def _require_mapping(what: str, given: Mapping[LabelName, str]) -> Mapping[LabelName, str]:
    if not isinstance(given, Mapping):
        raise DatasetError(
            f"{what} is {quoted(given)}; give the class of each label by its id, such as "
            '{item.key: "cat"}.'
        )
    return given


def _label_id(name: LabelName) -> str:
    if isinstance(name, str):
        return name
    if not isinstance(name, tuple) or len(name) != 2:
        raise DatasetError(
            f"{quoted(name)} names no label; give its id as a text, or the ids of its sample and "
            "its own, such as the key of an item of review_queue."
        )
    return str(name[1])


def _marks(
    dataset: Any, field: str, wanted: Mapping[LabelName, Mark]
) -> dict[str, tuple[tuple[str, str], Mark]]:
    """The key and the mark of each label that is there, by its id.

    Raises:
        DatasetError: labels of several samples have one of the ids, and no sample was named.
    """
    pairs = [name for name in wanted if not isinstance(name, str)]
    alone = [name for name in wanted if isinstance(name, str)]
    found: dict[str, tuple[tuple[str, str], Mark]] = {}
    if pairs:
        named = {(str(sample), str(label)) for sample, label in pairs}
        marks = read_marks(dataset, field, [key[1] for key in named], [key[0] for key in named])
        found |= {key[1]: (key, mark) for key, mark in marks.items() if key in named}
    if alone:
        for key, mark in read_marks(dataset, field, alone).items():
            if key[1] in found:
                raise DatasetError(
                    f"Labels of several samples have the id {quoted(key[1])}; give pairs of the "
                    "ids of the sample and the label."
                )
            found[key[1]] = key, mark
    return found


def _make(dataset: Any, field: str, reviewer: str, step: Step, left_alone: list[str]) -> ReviewStep:
    if not step.changes:
        return _told(step, field, reviewer, set(), left_alone)
    declare_review(dataset, field)
    applied = Journal(dataset, field, reviewer).make(step)
    return _told(step, field, reviewer, applied, left_alone)


def _told(
    step: Step, field: str, reviewer: str, done: set[tuple[str, str]], left_alone: list[str]
) -> ReviewStep:
    made = [one for one in step.changes if one.key in done]
    counts: Counter[str] = Counter()
    for one in made:
        renamed = one.after.label != one.before.label
        verdict = one.after.review if one.after.is_judged else "reset"
        counts["changed" if renamed else str(verdict)] += 1
    missed = [one.label_id for one in step.changes if one.key not in done]
    return ReviewStep(
        step=step.step,
        label_field=field,
        reviewer=reviewer,
        when=step.when,
        approved=counts[APPROVED],
        rejected=counts[REJECTED],
        changed=counts["changed"],
        reset=counts["reset"],
        left_alone=(*left_alone, *missed),
    )
