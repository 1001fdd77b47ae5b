"""Active learning: which proposals of many images are most worth labelling for a memory bank.

A proposal gains from three things: as a reference it would move its class's prototype towards the
mean of the class's objects, the bank holds nothing similar, and it is likely an object. Selection
is greedy, as if the bank had learnt the earlier picks, so that suggestions differ and together
represent their classes.

The rule was tuned with the networks of the preset `tiny`, on scenes and draws that
benchmarks/suggestions.py does not report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from .bank.memory_bank import MemoryBank
from .device.device import float_array, to_array
from .masks.packed import PackedMask
from .matching.match import best_class, compared_features, similarities
from .matching.nms import box_iou, suppress
from .proposals.proposals import Proposals
from .recipe import Recipe
from .references import Box
from .typing import Array

# Candidates kept over all images: 8 MB of features in the preset `paper`.
_POOL = 2048
# Predicted IoU below which a mask rarely shows an object.
_LEAST_IOU = 0.6
_SAME_OBJECT = 0.5
# The bank is unsure if the second best similarity is at least this share of the best.
_UNSURE = 0.9
# Cosine above which a proposal counts as known to the bank.
_KNOWN = 0.999
# Rounds of reassignment of candidates to classes; more change almost nothing.
_ROUNDS = 3
# Lower bound of the prototype term, so that novelty still ranks candidates at the optimum.
_LEAST_CLOSED = 1e-6

_ROW = np.dtype(
    [
        ("image", np.int64),
        ("proposal", np.int64),
        ("box", np.float32, (4,)),
        ("label", np.int64),
        ("rival", np.int64),
        ("score", np.float32),
        ("rival_score", np.float32),
        ("iou", np.float32),
        ("nearest", np.float32),
        ("known", np.float32),
        ("lot", np.float64),
    ]
)


@dataclass(frozen=True)
class Suggestion:
    """A proposal suggested for labelling.

    Attributes:
        image: number of its image, as given to the pool.
        proposal: index among the image's proposals.
        box: x1 y1 x2 y2 of its low-resolution mask, inclusive; identifies the proposal.
        label: most similar class.
        rival: second most similar class; None with a single class.
        score: similarity to ``label``, in [0, 1].
        margin: score minus the similarity to ``rival``; the score with a single class.
        proposal_iou: IoU predicted by the segmenter.
        nearest: cosine to the most similar reference of ``label``.
        gain: expected benefit given the earlier suggestions, in [0, 1], for ranking only.
        reason: why it is suggested, one line.
    """

    image: int
    proposal: int
    box: tuple[float, float, float, float]
    label: str
    rival: str | None
    score: float
    margin: float
    proposal_iou: float
    nearest: float
    gain: float
    reason: str


class SuggestionPool:
    """Candidates of many images, in bounded memory.

    Above ``size`` candidates it keeps an equal, seeded random quota per class (all of a class that
    has fewer).
    """

    def __init__(self, bank: MemoryBank, recipe: Recipe, size: int = _POOL) -> None:
        """An empty pool.

        Args:
            bank: the bank to improve; must not change while the pool is used.
            recipe: thresholds, as for matching.
            size: number of candidates to keep.

        Raises:
            BankError: the bank is empty.
        """
        bank.require_classes()
        self._bank = bank
        self._recipe = recipe
        self._size = size
        self._taught = _Taught(bank)
        self._lots = np.random.default_rng(0)
        self._seen = np.zeros(len(bank.classes), np.int64)
        self._rows = np.zeros(0, _ROW)
        self._features = np.zeros((0, bank.fingerprint.channels), np.float32)
        self._waiting: list[tuple[Array, Array]] = []

    def add(self, image: int, proposals: Proposals, taught: Sequence[Box] = ()) -> None:
        """Add the candidates of an image.

        Of overlapping proposals (box IoU above 0.5) the one with the highest predicted IoU is kept.

        Args:
            image: any number that identifies the image.
            proposals: its proposals.
            taught: boxes of the image's references and negatives, x1 y1 x2 y2 in pixels, x2 and
                y2 exclusive; proposals that overlap one are skipped.

        Raises:
            BankError: the proposals' features come from another encoder than the bank's.
        """
        if proposals.fingerprint is not None:
            self._bank.require_encoder(proposals.fingerprint)
        if len(proposals) == 0:
            return
        rows, features = self._look(image, proposals)
        masks = proposals.some_masks(rows["proposal"].tolist())
        free = [_is_free(mask, taught) for mask in masks]
        self._waiting.append((rows[free], features[free]))
        self._seen += np.bincount(rows["label"][free], minlength=len(self._seen))
        if sum(len(rows) for rows, _ in self._waiting) > self._size:
            self._sift()

    def choose(self, count: int) -> list[Suggestion]:
        """Select up to ``count`` suggestions greedily, the largest gain first.

        The gain is the product of ``ClassMeans.closed`` (how far the candidate would move its
        class's prototype to the mean of the class's candidates), the root of one minus its largest
        cosine to anything in the bank or selected before, and predicted IoU. Near duplicates of
        those are skipped.
        """
        self._sift()
        rows, features = self._rows, self._features
        class_means = self._class_means()
        nearest = rows["known"].copy()
        found: list[Suggestion] = []
        for _ in range(min(count, len(rows))):
            gains = _gains(rows, class_means, nearest)
            best = int(gains.argmax())
            if gains[best] <= 0:
                break
            found.append(self._suggestion(best, float(gains[best]), class_means.labels))
            class_means.learn(best)
            nearest = np.maximum(nearest, features @ features[best])
            nearest[best] = 1
        return found

    def candidates(self) -> list[Suggestion]:
        """All candidates in the order of their images, each with its gain as the only pick."""
        self._sift()
        class_means = self._class_means()
        gains = _gains(self._rows, class_means, self._rows["known"])
        return [
            self._suggestion(index, float(gains[index]), class_means.labels)
            for index in np.flatnonzero(gains > 0).tolist()
        ]

    def _look(self, image: int, proposals: Proposals) -> tuple[Array, Array]:
        recipe, features = self._recipe, compared_features(proposals)
        similarity = similarities(features, self._bank, recipe.negative_sigma)
        labels, scores, margins = best_class(similarity)
        ious = float_array(proposals.ious)
        boxes = to_array(proposals.boxes)
        kept = suppress(boxes, ious, labels, recipe.nms_iou)
        kept = kept[(scores[kept] > 0) & (ious[kept] >= _LEAST_IOU)]
        features = features[kept]
        nearest, known = self._taught.nearest(features, labels[kept])

        rows = np.zeros(len(kept), _ROW)
        rows["image"], rows["proposal"], rows["box"] = image, kept, boxes[kept]
        rows["label"], rows["rival"] = labels[kept], _rivals(similarity[kept], labels[kept])
        rows["score"], rows["iou"] = scores[kept], ious[kept]
        rows["rival_score"] = scores[kept] - margins[kept]
        rows["nearest"], rows["known"] = nearest, known
        rows["lot"] = self._lots.random(len(rows))
        alike = np.zeros(len(rows), np.int64)
        apart = np.sort(suppress(rows["box"], rows["iou"], alike, _SAME_OBJECT))
        return rows[apart], features[apart]

    def _sift(self) -> None:
        rows = np.concatenate([self._rows, *(rows for rows, _ in self._waiting)])
        features = np.concatenate([self._features, *(found for _, found in self._waiting)])
        kept = np.sort(_fair_share(rows["label"], rows["lot"], self._size))
        self._rows, self._features, self._waiting = rows[kept], features[kept], []

    def _class_means(self) -> ClassMeans:
        """Class means of the candidates, weighted for those that were not kept."""
        rows, labels = self._rows, self._rows["label"]
        kept = np.bincount(labels, minlength=len(self._seen))
        # Squared, so that the many candidates unlike any class have little weight.
        each = rows["iou"] * rows["score"] ** 2
        weights = each * self._seen[labels] / kept[labels]
        return ClassMeans(self._features, labels, weights, *self._taught.sums())

    def _suggestion(self, index: int, gain: float, likes: Array) -> Suggestion:
        row, classes = self._rows[index], self._bank.classes
        rival = None if len(classes) == 1 else classes[row["rival"]]
        score, rival_score = float(row["score"]), float(row["rival_score"])
        x1, y1, x2, y2 = row["box"].tolist()
        return Suggestion(
            image=int(row["image"]),
            proposal=int(row["proposal"]),
            box=(x1, y1, x2, y2),
            label=classes[row["label"]],
            rival=rival,
            score=score,
            margin=score if rival is None else score - rival_score,
            proposal_iou=float(row["iou"]),
            nearest=float(row["nearest"]),
            gain=gain,
            reason=self._reason(index, int(likes[index])),
        )

    def _reason(self, index: int, like: int) -> str:
        """Why a candidate, grouped by ``ClassMeans`` with the class ``like``, is suggested."""
        row, classes = self._rows[index], self._bank.classes
        label, rival = classes[row["label"]], classes[row["rival"]]
        if like != row["label"]:
            return f"taken for {label!r}, but more like the candidates for {classes[like]!r}"
        if len(classes) > 1 and row["rival_score"] >= _UNSURE * row["score"]:
            both = f"{row['score']:.2f}, {row['rival_score']:.2f}"
            return f"unsure between {label!r} and {rival!r} ({both})"
        if row["nearest"] <= np.median(self._rows["nearest"]):
            return f"unlike all references of {label!r} ({row['nearest']:.2f})"
        return f"not covered yet: the nearest reference is at {row['known']:.2f}"


class ClassMeans:
    """Estimated class means, and how far each candidate would move a prototype towards them.

    A prototype is the mean of its class's references; ideally it equals the mean of all objects
    of the class. Unlabelled candidates of many images, grouped by class, estimate that mean.

    Attributes:
        labels: class whose mean is most similar to each candidate, int (n,).
        closed: reduction of the weighted sum of squared distances between prototypes and class
            means if the candidate became a reference, as a share of the initial sum, float (n,);
            negative if it would increase the distance.
    """

    def __init__(
        self, features: Array, guesses: Array, weights: Array, sums: Array, shots: Array
    ) -> None:
        """Group the candidates by spherical k-means from the assignment ``guesses``.

        This corrects objects that a bank of few references misclassifies. References stay in their
        class.

        Args:
            features: of the candidates, unit-length, float (n, C).
            guesses: classes of the candidates, int (n,).
            weights: of the candidates, at least 0, float (n,).
            sums: of the unit-length reference features of each class, float (k, C).
            shots: references of each class, int (k,).
        """
        self._features = features.astype(np.float64)
        self._sums, self._shots = sums.astype(np.float64), shots.astype(np.float64)
        self.labels = guesses
        for _ in range(_ROUNDS):
            means, _ = self._means(weights)
            lengths = np.linalg.norm(means, axis=1, keepdims=True).clip(min=1e-12)
            self.labels = (self._features @ (means / lengths).T).argmax(axis=1)
        self._centres, self._masses = self._means(weights)
        distances = ((self._centres - self._prototypes()) ** 2).sum(axis=1)
        self._all = max(float(self._masses @ distances), 1e-12)
        self.closed = np.zeros(len(features))
        for label in np.unique(self.labels).tolist():
            self._close(label)

    def learn(self, candidate: int) -> None:
        """Count a candidate as a reference of its class from now on."""
        label = int(self.labels[candidate])
        self._sums[label] += self._features[candidate]
        self._shots[label] += 1
        self._close(label)

    def _means(self, weights: Array) -> tuple[Array, Array]:
        """Mean of candidates and references (k, C) and total candidate weight (k,) per class."""
        masses = np.bincount(self.labels, weights, minlength=len(self._shots))
        totals = self._sums.copy()
        np.add.at(totals, self.labels, weights[:, None] * self._features)
        return totals / (masses + self._shots)[:, None], masses

    def _prototypes(self) -> Array:
        return self._sums / self._shots[:, None]

    def _close(self, label: int) -> None:
        """Recompute ``closed`` for the candidates of a class."""
        members = np.flatnonzero(self.labels == label)
        centre, total, shots = self._centres[label], self._sums[label], self._shots[label]
        now = ((centre - total / shots) ** 2).sum()
        taught = (total + self._features[members]) / (shots + 1)
        then = ((centre - taught) ** 2).sum(axis=1)
        self.closed[members] = (now - then) * self._masses[label] / self._all


class _Taught:
    """Unit-length references and negatives of a bank."""

    def __init__(self, bank: MemoryBank) -> None:
        shots = [bank.shots(label) for label in bank.classes]
        self._starts = np.cumsum([0, *shots[:-1]])
        features = torch.cat([bank.features(label) for label in bank.classes])
        negatives = torch.cat([bank.negatives(label) for label in bank.classes])
        self._references = F.normalize(features, dim=1).numpy()
        self._negatives = F.normalize(negatives, dim=1).numpy()

    def sums(self) -> tuple[Array, Array]:
        """Sum (k, C) and number (k,) of the unit-length reference features of each class."""
        ends = np.append(self._starts[1:], len(self._references))
        return np.add.reduceat(self._references, self._starts, axis=0), ends - self._starts

    def nearest(self, features: Array, labels: Array) -> tuple[Array, Array]:
        """Largest cosine to references of the given class, and to anything in the bank.

        Args:
            features: unit-length, float (n, C).
            labels: class of each feature, int (n,).
        """
        by_class = np.maximum.reduceat(features @ self._references.T, self._starts, axis=1)
        known = by_class.max(axis=1)
        if len(self._negatives):
            known = np.maximum(known, (features @ self._negatives.T).max(axis=1))
        return np.take_along_axis(by_class, labels[:, None], axis=1)[:, 0], known


def _gains(rows: Array, class_means: ClassMeans, nearest: Array) -> Array:
    unlike = np.where(nearest < _KNOWN, np.sqrt((1 - nearest).clip(0, 1)), 0)
    gains: Array = rows["iou"].clip(0, 1) * unlike * class_means.closed.clip(_LEAST_CLOSED, 1)
    return gains


def _fair_share(labels: Array, lots: Array, size: int) -> Array:
    """Indices of ``size`` candidates, an equal quota per class, drawn by the random ``lots``."""
    order = np.lexsort((lots, labels))
    starts = np.searchsorted(labels[order], labels[order])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - starts
    kept: Array = np.lexsort((lots, place))[:size]
    return kept


def _rivals(similarity: Array, labels: Array) -> Array:
    """Second best class of each row of float (n, k); 0 with a single class."""
    others = similarity.copy()
    np.put_along_axis(others, labels[:, None], -1, axis=1)
    rivals: Array = others.argmax(axis=1)
    return rivals


def _is_free(mask: PackedMask | None, taught: Sequence[Box]) -> bool:
    """Whether a mask is non-empty and overlaps no reference or negative."""
    return mask is not None and all(box_iou(mask.box, box) <= _SAME_OBJECT for box in taught)
