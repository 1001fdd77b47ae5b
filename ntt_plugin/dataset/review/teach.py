"""What a review says taught to a bank: rejected labels as negatives, approved as references."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch

from ...errors import DatasetError, ImageError
from ...worker.tasks.networks import SegmenterLike
from ..banks import store
from ..banks.add_references import AddedReferences, add_negatives, add_references
from ..database.errors import database_errors
from ..labels.review_marks import APPROVED, REJECTED
from ..references.copies import KEPT_FIELD, copy_of
from ..runtime.progress_bar import Progress
from ..samples.checks import quoted, whole_number
from ..samples.label_lookup import find_labels
from ..samples.label_selection import LabelKey, select_labels
from ..samples.views import all_images, load_sample
from .queue import ReviewItem, review_queue

MOST_TAUGHT = 10
"""How many labels of a class a bank learns of a field, so that it does not drown in them."""

_STATES = {"negatives": REJECTED, "references": APPROVED}


@database_errors("not all may be marked or learnt; do it again when it is back.")
def teach_review(
    samples: Any,
    label_field: str,
    bank: str,
    kind: str,
    most: int = MOST_TAUGHT,
    *,
    classes: str | Iterable[str] | None = None,
    group_slices: str | Iterable[str] | None = None,
    device: str | torch.device | None = None,
    progress: Progress = None,
    segmenter: SegmenterLike | None = None,
) -> AddedReferences:
    """Teach a bank the labels that a review rejected or approved.

    Of each class at most ``most`` that the bank does not hold yet are taken, as different from
    each other as they come: of different images first, the most confident mistakes first. If it
    holds all of them, nothing is added.

    Args:
        samples: a dataset or view of images.
        label_field: the reviewed field.
        bank: a bank saved with the dataset.
        kind: ``negatives`` (the rejected labels) or ``references`` (the approved ones).
        most: the most new labels of a class.
        classes: only labels of these classes; all if None.
        group_slices: as for ``add_references``.
        device: where to run.
        progress: FiftyOne's.
        segmenter: an engine ``Segmenter`` to use.

    Raises:
        DatasetError, ReferenceRefusedError, BankError: as ``add_references``; or nothing was
            rejected or approved.

    Example:
        >>> items = ntt.review_queue(dataset, "ntt").items
        >>> step = ntt.review_labels(dataset, "ntt", reject=[item.key for item in items[:2]])
        >>> len(ntt.teach_review(dataset, "ntt", "animals", "negatives").label_ids)
        2
        >>> step = ntt.undo_review(dataset, "ntt")
    """
    if not isinstance(kind, str) or kind not in _STATES:
        raise DatasetError(f"There is no kind {quoted(kind)}; use 'negatives' or 'references'.")
    if whole_number("most", most) < 1:
        raise DatasetError(f"most is {most}; let the bank learn at least one label of a class.")
    dataset = store.require_bank(samples, bank)
    state = _STATES[kind]
    queue = review_queue(samples, label_field, classes, state=state, group_slices=group_slices)
    if not queue.items:
        raise DatasetError(
            f"No label in {label_field!r} of {dataset.name!r} is {state} in this view; review some "
            "first."
        )
    held = _held(dataset, bank, label_field, queue.items, kind == "negatives")
    # With nothing new it is told how many it held before.
    new = [item for item in queue.items if item.key not in held] or queue.items
    keys = [
        LabelKey(item.sample, label_field, item.label_id)
        for item in _spread(new, most, surest_first=state == REJECTED)
    ]
    chosen = select_labels(all_images(dataset), keys)
    teach = add_negatives if kind == "negatives" else add_references
    return teach(chosen, label_field, bank, device=device, progress=progress, segmenter=segmenter)


def _held(
    dataset: Any, bank: str, field: str, items: Iterable[ReviewItem], negatives: bool
) -> set[tuple[str, str]]:
    """Which labels a bank holds, themselves or their copies, by the ids of sample and label."""
    entries = [one for one in store.read(dataset, bank).entries() if one.negative == negatives]
    found = set(find_labels([one.stored.provenance for one in entries], dataset)) - {None}
    with_some = {key.sample for key in found if key is not None}
    wanted: dict[str, list[ReviewItem]] = defaultdict(list)
    for item in items:
        if item.sample in with_some:
            wanted[item.sample].append(item)
    fields = [field, *({KEPT_FIELD} & set(dataset.get_field_schema()))]
    view = all_images(dataset).select_fields(fields)
    held = set()
    for sample_id, some in wanted.items():
        # What cannot be read is told by who teaches it.
        with suppress(KeyError, DatasetError, ImageError):
            sample = load_sample(view, sample_id)
            labels = {label.id: label for label in sample[field].detections}
            held |= {item.key for item in some if _is_held(sample, field, labels, item, found)}
    return held


def _is_held(
    sample: Any,
    field: str,
    labels: Mapping[str, Any],
    item: ReviewItem,
    found: Collection[LabelKey | None],
) -> bool:
    if LabelKey(item.sample, field, item.label_id) in found:
        return True
    label = labels.get(item.label_id)
    copy = copy_of(sample, label) if label is not None and label.has_mask else None
    return copy is not None and LabelKey(item.sample, KEPT_FIELD, copy.id) in found


def _spread(items: Sequence[ReviewItem], most: int, surest_first: bool) -> list[ReviewItem]:
    """At most so many of each class, from as many images as there are.

    Confident mistakes do the most harm, and what is right without being sure teaches the most.
    """
    by_class: dict[str, list[ReviewItem]] = defaultdict(list)
    for item in items:
        by_class[item.label].append(item)
    chosen = []
    for same in by_class.values():
        same.sort(key=lambda item: item.confidence or 0.0, reverse=surest_first)
        seen: Counter[str] = Counter()
        turns = []
        for place, item in enumerate(same):
            turns.append((seen[item.sample], place))
            seen[item.sample] += 1
        # The first one of each image, then the second ones, and so on.
        chosen += [same[place] for _, place in sorted(turns)[:most]]
    return chosen
