"""The confidence at which a class's predictions have their highest F1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...engine.typing import Array


@dataclass(frozen=True)
class Threshold:
    """A confidence threshold of one class, and its scores where it was chosen, at an IoU of 0.5.

    Attributes:
        value: predictions of at least this confidence are kept; 0 keeps all.
        f1: F1 of those that are kept, 0 to 1.
        precision: the share of them that is right.
        recall: the share of the true objects that they find.
        f1_without: F1 of all predictions.
    """

    value: float
    f1: float
    precision: float
    recall: float
    f1_without: float


def best_threshold(scores: Array, right: Array, truths: int) -> Threshold | None:
    """The threshold with the highest F1; None where no prediction is right.

    Of equal ones the lowest, which drops the fewest. It lies midway between two different scores.

    Args:
        scores: confidences of the predictions, float (n,), in any order.
        right: whether each is right, bool (n,).
        truths: number of true objects.
    """
    if not right.any():
        return None
    order = np.argsort(-scores, kind="stable")
    scores = scores[order].astype(np.float64)
    # A threshold cuts after the last of several equal scores.
    cuts = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    hits, kept = np.cumsum(right[order])[cuts], cuts + 1
    f1 = 2 * hits / (kept + truths)
    best = len(f1) - 1 - int(np.argmax(f1[::-1]))
    return Threshold(
        value=_between(scores, cuts[best]),
        f1=float(f1[best]),
        precision=float(hits[best] / kept[best]),
        recall=float(hits[best] / truths),
        f1_without=float(f1[-1]),
    )


def _between(scores: Array, last: int) -> float:
    """A number between a falling score and the next one; 0 after the last."""
    if last == len(scores) - 1:
        return 0.0
    upper, lower = float(scores[last]), float(scores[last + 1])
    middle = lower + (upper - lower) / 2
    return middle if middle > lower else upper  # neighbouring floats have no middle
