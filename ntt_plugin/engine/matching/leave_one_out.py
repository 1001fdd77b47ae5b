"""Thresholds without ground truth: what a bank finds in the images of its own references.

Each such image is matched with a bank that lacks the image's references. Where an annotated object
is found again, its score is one that a right prediction gets. A prediction of a class that lies on
an object of another class, or on a negative, is wrong. What lies on nothing that is annotated is
unknown: an image may hold more objects than were annotated, so most of these may be right.

How many of the unknown are right is estimated from their scores (a mixture of two populations, one
of which is known): above the median of the right predictions' scores, few are wrong. If ``n`` of
the unknown lie there, and half of the right ones do, about ``2 n`` of the unknown are right.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..typing import Array
from .match import Instances

SAME_IOU = 0.5
"""A prediction finds an object if their masks have at least this IoU."""

# Fewer objects of a class tell less about it than the objects of all classes together.
_ENOUGH = 20
# A class's expected recall begins at that of all classes, as if so many objects had told it.
_PRIOR = 10


@dataclass(frozen=True, eq=False)
class Annotated:
    """An annotated object of an image.

    Attributes:
        label: its class.
        mask: bool (H, W).
        negative: whether it is an example of what the class is not.
    """

    label: str
    mask: Array
    negative: bool = False


@dataclass(frozen=True)
class Estimate:
    """A class's threshold, as the images of the references suggest it.

    Attributes:
        value: predictions of at least this score are kept.
        recall: the expected share of the class's objects that are kept, 0 to 1.
        objects: number of the class's annotated objects that were looked for.
        pooled: whether the objects of all classes together decided.
    """

    value: float
    recall: float
    objects: int
    pooled: bool


class LeaveOneOut:
    """Scores of what was found in images whose references were left out of the bank."""

    def __init__(self) -> None:
        """Nothing was looked at yet."""
        self._right: dict[str, list[float]] = defaultdict(list)
        self._wrong: dict[str, list[float]] = defaultdict(list)
        self._unknown: dict[str, list[float]] = defaultdict(list)
        self._objects: Counter[str] = Counter()

    def add(
        self, instances: Instances, annotated: Sequence[Annotated], classes: Iterable[str]
    ) -> None:
        """Count what a bank without the image's references found in an image.

        Args:
            instances: all that was found, by falling score.
            annotated: the image's annotated objects; there may be others in it.
            classes: the classes that the bank without them has; others cannot be found.
        """
        known = set(classes)
        wanted = [one for one in annotated if not one.negative and one.label in known]
        self._objects.update(one.label for one in wanted)
        left = list(wanted)
        for index, label in enumerate(instances.labels):
            score = float(instances.scores[index])
            overlaps = {id(one): _iou(instances, index, one.mask) for one in annotated}
            same = [one for one in left if one.label == label and overlaps[id(one)] >= SAME_IOU]
            if same:
                found = max(same, key=lambda one: overlaps[id(one)])
                left = [one for one in left if one is not found]
                self._right[label].append(score)
            elif any(overlap >= SAME_IOU for overlap in overlaps.values()):
                self._wrong[label].append(score)
            else:
                self._unknown[label].append(score)

    def estimate(self, classes: Iterable[str]) -> dict[str, Estimate]:
        """A threshold for each class; none where no annotated object was found again."""
        every = list({*self._right, *self._wrong, *self._unknown, *self._objects})
        pooled = self._threshold(every)
        if pooled is None:
            return {}
        recall_of_all = self._recall(every, pooled)
        found = {}
        for label in classes:
            count = self._objects[label]
            own = self._threshold([label]) if count >= _ENOUGH else None
            value = pooled if own is None else own
            kept = sum(score >= value for score in self._right[label])
            recall = (kept + _PRIOR * recall_of_all) / (count + _PRIOR)
            found[label] = Estimate(value, recall, count, own is None)
        return found

    def _threshold(self, classes: Sequence[str]) -> float | None:
        """The threshold with the highest expected F1 over some classes."""
        right, wrong, unknown = (
            np.array([score for label in classes for score in scores[label]])
            for scores in (self._right, self._wrong, self._unknown)
        )
        if not len(right):
            return None
        objects = sum(self._objects[label] for label in classes)
        # For each annotated object, this many that are not annotated.
        middle = np.median(right)
        others = (unknown >= middle).sum() / (right >= middle).sum()
        others = min(float(others), len(unknown) / len(right))
        cuts = np.unique(np.concatenate([[0.0], right, wrong, unknown]))
        hits = (1 + others) * _at_least(right, cuts)
        kept = sum(_at_least(scores, cuts) for scores in (right, wrong, unknown))
        f1 = 2 * hits / np.maximum(kept + (1 + others) * objects, 1e-9)
        best = int(f1.argmax())
        return 0.0 if best == 0 else float((cuts[best - 1] + cuts[best]) / 2)

    def _recall(self, classes: Sequence[str], value: float) -> float:
        kept = sum(score >= value for label in classes for score in self._right[label])
        return kept / max(1, sum(self._objects[label] for label in classes))


def _at_least(scores: Array, cuts: Array) -> Array:
    """How many scores reach each of some cuts, int (n,)."""
    return len(scores) - np.searchsorted(np.sort(scores), cuts, side="left")


def _iou(instances: Instances, index: int, mask: Array) -> float:
    x1, y1, x2, y2 = (int(edge) for edge in instances.boxes[index])
    found = instances.masks[index]
    shared = int(np.count_nonzero(found & mask[y1:y2, x1:x2]))
    return shared / (int(np.count_nonzero(found)) + int(np.count_nonzero(mask)) - shared)
