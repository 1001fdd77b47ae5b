"""Marking chosen labels as references or as negatives, and teaching them to a bank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from ...engine.bank.memory_bank import Refused
from ...errors import ReferenceRefusedError
from ...worker.tasks.networks import SegmenterLike
from ..database.errors import database_errors
from ..labels.crowds import IS_CROWD
from ..labels.label_field import segmentation_fields
from ..references.choose import NO_AREA, NO_MASK, ChosenReferences, choose_references
from ..references.copies import KEPT_FIELD, keep_labels
from ..references.sampling import find_candidates
from ..runtime.progress_bar import Progress
from ..samples.checks import dataset_of, require_labels, require_tag
from ..samples.label_selection import LabelKey, select_labels
from ..samples.views import all_images, whole_images
from . import store
from .learn import describe_first, learn_labels

REFERENCE_TAG = "reference"
NEGATIVE_TAG = "negative"


@dataclass(frozen=True)
class AddedReferences:
    """What ``add_references`` or ``add_negatives`` marked and taught.

    Attributes:
        tag: the label tag that marks the labels.
        field: the field that the marked labels are in: ``ntt_references`` for predictions.
        label_ids: ids of the marked labels.
        counts: number marked by class.
        bank: the bank's name; None if they were marked alone.
        added: number that the bank learnt now by class.
        already: number that it held before.
        refused: labels that cannot serve, each with the reason; they are not marked.
        version: the bank's version; None without a bank.
        view: the marked labels alone, in their images.
        labels: the marked labels, each by its sample, field and id.
    """

    tag: str
    field: str
    label_ids: tuple[str, ...]
    counts: dict[str, int]
    bank: str | None
    added: dict[str, int]
    already: int
    refused: tuple[Refused, ...]
    version: int | None
    view: Any
    labels: tuple[LabelKey, ...] = ()

    def __str__(self) -> str:
        """The counts in words, for logs and messages."""
        classes = ", ".join(f"{label} ({count})" for label, count in self.counts.items())
        parts = [f"{len(self.label_ids)} labels in {self.field!r} are {self.tag!r}: {classes}"]
        if self.bank is not None:
            learnt = sum(self.added.values())
            parts.append(f"{self.bank!r} learnt {learnt}, and held {self.already} before")
        if self.refused:
            parts.append(f"{len(self.refused)} left out, the first {self.refused[0].reason}")
        return "; ".join(parts)


@database_errors("not all may be marked or learnt; do it again when it is back.")
def add_references(
    samples: Any,
    label_field: str,
    bank: str | None = None,
    tag: str = REFERENCE_TAG,
    *,
    classes: Iterable[str] | None = None,
    group_slices: str | Iterable[str] | None = None,
    device: str | torch.device | None = None,
    progress: Progress = None,
    segmenter: SegmenterLike | None = None,
) -> AddedReferences:
    """Mark the labels that a view holds as references, and teach them to a saved bank.

    Other references stay as they are, in the dataset and in the bank. Labels of a field that runs
    made, predictions or suggestions, would be gone with the next run: they are first copied, mask
    and all, into the field ``ntt_references`` of their sample, and marked and learnt there. A copy
    of the same class that covers the same object is used again. Labels without a mask, crowds and
    others that cannot serve are left out and named.

    Args:
        samples: a dataset or view of images, or a patches view; of selected labels, as a rule.
        label_field: a field of ``Detections`` with masks, or of filled or closed ``Polylines``.
        bank: a bank saved with the dataset, which learns what it does not hold yet; None to mark
            labels alone.
        tag: the label tag to mark with; the tag ``negative`` is taken off these labels.
        classes: only labels of these classes; all if None.
        group_slices: slices to take of a grouped dataset; its active one if None.
        device: where to run; the best there is if None.
        progress: FiftyOne's: True, False, a callback, or None for the configured default. What a
            callback raises ends the work: nothing is marked, and the bank is as it was.
        segmenter: an engine ``Segmenter`` to use in place of the bank's recipe and ``device``.

    Raises:
        DatasetError: there is no such bank or field, no label is there, or another process was
            changing the bank for too long.
        ReferenceRefusedError: no label can serve; names the first and the reason.
        BankError: the bank is damaged, or another encoder made it than the segmenter has.

    Example:
        >>> cats = dataset.filter_labels("ground_truth", fo.ViewField("label") == "cat")
        >>> added = ntt.add_references(cats, "ground_truth", "animals")
        >>> added.added, added.already
        ({'cat': 2}, 2)
    """
    return _add(
        samples, label_field, bank, tag, False, classes, group_slices, device, progress, segmenter
    )


@database_errors("not all may be marked or learnt; do it again when it is back.")
def add_negatives(
    samples: Any,
    label_field: str,
    bank: str,
    tag: str = NEGATIVE_TAG,
    *,
    classes: Iterable[str] | None = None,
    group_slices: str | Iterable[str] | None = None,
    device: str | torch.device | None = None,
    progress: Progress = None,
    segmenter: SegmenterLike | None = None,
    from_references: bool = False,
) -> AddedReferences:
    """Mark the labels that a view holds as wrong for their class, and teach a saved bank so.

    What looks like a negative more than like its class scores lower from then on (recipe, section
    5). Give the wrong predictions as they are: each is a negative of the class that it carries. A
    class that the bank does not have can have no negatives: such labels are left out and named.
    The rest is as for ``add_references``.

    Args:
        samples: a dataset or view of images, or a patches view; of selected labels, as a rule.
        label_field: a field of ``Detections`` with masks: predictions, as a rule.
        bank: a bank saved with the dataset.
        tag: the label tag to mark with; the tag ``reference`` is taken off these labels.
        classes: only labels of these classes; all if None.
        group_slices: as for ``add_references``, and so are the following.
        device: where to run.
        progress: FiftyOne's.
        segmenter: an engine ``Segmenter`` to use.
        from_references: whether labels that the bank holds as references may become negatives;
            they are refused otherwise.

    Raises:
        DatasetError, ReferenceRefusedError, BankError: as ``add_references``.

    Example:
        >>> wrong = dataset.filter_labels("ntt", fo.ViewField("eval") == "fp").limit(1)
        >>> added = ntt.add_negatives(wrong, "ntt", "animals")
        >>> len(added.label_ids) > 0
        True
    """
    return _add(
        samples,
        label_field,
        bank,
        tag,
        True,
        classes,
        group_slices,
        device,
        progress,
        segmenter,
        from_references,
    )


@database_errors("not all may be marked; do it again when it is back.")
def mark_negatives(
    samples: Any,
    label_field: str,
    classes: Iterable[str] | None = None,
    group_slices: str | Iterable[str] | None = None,
) -> AddedReferences:
    """Mark labels as negatives, as ``add_negatives`` does, without teaching a bank."""
    return _add(samples, label_field, None, NEGATIVE_TAG, True, classes, group_slices)


def _add(
    samples: Any,
    label_field: str,
    bank: str | None,
    tag: str,
    negatives: bool,
    classes: Iterable[str] | None,
    group_slices: str | Iterable[str] | None,
    device: str | torch.device | None = None,
    progress: Progress = None,
    segmenter: SegmenterLike | None = None,
    from_references: bool = False,
) -> AddedReferences:
    require_tag(tag)
    dataset = dataset_of(samples) if bank is None else store.require_bank(samples, bank)
    chosen = choose_references(
        whole_images(samples), label_field, classes=classes, group_slices=group_slices
    )
    chosen, refused = _usable(chosen)
    sources: dict[LabelKey, LabelKey] = {}
    if label_field in segmentation_fields(dataset):
        kept = keep_labels(chosen)
        refused += kept.refused
        sources = {copy: label for label, copy in kept.copies.items()}
        chosen = _copies(dataset, sources)
    if chosen.count == 0:
        raise ReferenceRefusedError(
            f"None of the {len(refused)} labels can serve; {describe_first(refused)}"
        )
    change = None
    if bank is not None:
        change = learn_labels(
            dataset, bank, chosen, negatives, device, progress, segmenter, sources, from_references
        )
        refused += change.refused
    chosen = _without(chosen, refused)
    labels = chosen.keys()
    # A view of its own: the chosen one may filter by one of these tags.
    view = select_labels(all_images(dataset), labels)
    view.untag_labels(REFERENCE_TAG if negatives else NEGATIVE_TAG, label_fields=chosen.field)
    view.tag_labels(tag, label_fields=chosen.field)
    return AddedReferences(
        tag=tag,
        field=chosen.field,
        label_ids=tuple(key.label for key in labels),
        counts=dict(sorted(Counter(labels.values()).items())),
        bank=bank,
        added={} if change is None else change.negatives if negatives else change.added,
        already=0 if change is None else change.already,
        refused=tuple(refused),
        version=None if change is None else change.version,
        view=view,
        labels=tuple(labels),
    )


def _usable(chosen: ChosenReferences) -> tuple[ChosenReferences, list[Refused]]:
    """The labels that have an area and are no crowds, and the others with the reasons."""
    labels = chosen.keys()
    problems = {
        LabelKey(found.sample, chosen.field, found.id): found.problem
        or (IS_CROWD if found.crowd else "")
        for found in find_candidates(chosen.view, chosen.path, set(labels.values()), Counter())
    }
    without = NO_AREA if chosen.path.endswith(".polylines") else NO_MASK
    refused = [
        Refused(label, chosen.provenance(key), problem)
        for key, label in labels.items()
        if (problem := problems.get(key, without))
    ]
    return _without(chosen, refused), refused


def _without(chosen: ChosenReferences, refused: Iterable[Refused]) -> ChosenReferences:
    left_out = {(entry.provenance.sample, entry.provenance.label) for entry in refused}
    keys = chosen.keys()
    kept = [key for key in keys if key[::2] not in left_out]
    return chosen if len(kept) == len(keys) else chosen.only(kept)


def _copies(dataset: Any, labels: Iterable[LabelKey]) -> ChosenReferences:
    view = all_images(dataset).select_fields(KEPT_FIELD)
    path = require_labels(view, KEPT_FIELD)
    return ChosenReferences(view, path).only(labels)
