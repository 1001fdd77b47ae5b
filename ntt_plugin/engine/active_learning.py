"""Proposals of many images that would teach a memory bank most, were a person to name them.

Three things make one worth a look: as a reference it would take its class's prototype nearer to
where the objects of the class lie, the bank has nothing like it, and it is likely an object. They
are chosen one after the other as if the bank had learnt those before: so twenty suggestions are
not twenty of the same, and together they stand for their classes.

The rule was tuned with the networks of the preset `tiny`, on scenes and draws that
benchmarks/suggestions.py does not report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .bank.memory_bank import MemoryBank
from .class_means import ClassMeans
from .masks.packed import PackedMask
from .matching.match import best_class, compared_features, similarities
from .matching.nms import box_iou, suppress
from .proposals.proposals import Proposals
from .recipe import Recipe
from .references import Box

Array = np.ndarray[Any, Any]

# So many candidates are kept of all images: 8 MB of features in the preset `paper`.
_POOL = 2048
# Below it the segmenter's masks are rarely an object's.
_LEAST_IOU = 0.6
_SAME_OBJECT = 0.5
# From this share of the best class's similarity on, the second best is as good a guess.
_UNSURE = 0.9
# Above this cosine a proposal is all but the same as something that the bank holds.
_KNOWN = 0.999
# Where the prototypes are as near to their classes as they get, the unlike are chosen still.
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
    """A proposal that is worth a person's look.

    Attributes:
        image: its image, as it was given to the pool.
        proposal: its index among the image's proposals.
        box: x1 y1 x2 y2 of its low-resolution mask, inclusive, to know the proposal again by.
        label: the likeliest class.
        rival: the next likeliest; None with one class.
        score: similarity to the likeliest class, in [0, 1].
        margin: by how much that is above the rival's; the score itself with one class.
        proposal_iou: the segmenter's own predicted IoU.
        nearest: cosine to the most similar reference of the likeliest class.
        gain: how much it would teach beside those before it, in [0, 1]: to be compared, and of no
            unit.
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
    """Candidates of many images.

    Memory does not grow with images: when there are too many candidates, as many of each class are
    kept, or all of those classes that have fewer, at random. The same candidates give the same.
    """

    def __init__(self, bank: MemoryBank, recipe: Recipe, size: int = _POOL) -> None:
        """An empty pool.

        Args:
            bank: what is to be taught; not to be changed meanwhile.
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
        """Take the candidates of an image: what matching leaves and is worth a look.

        Of proposals that overlap (box IoU above 0.5), that of the highest predicted IoU is taken.

        Args:
            image: a number of one's own for it.
            proposals: its proposals.
            taught: boxes of the image's references and negatives, x1 y1 x2 y2 in pixels, x2 and
                y2 exclusive: proposals that overlap one are left out.

        Raises:
            BankError: another encoder made the proposals' features than the bank's.
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
        """The suggestions, the most telling first; fewer where there are no more candidates.

        One after the other the candidate of the largest gain: how far it would take its class's
        prototype to the mean of the class's candidates, counted by how many those are
        (``ClassMeans.closed``), times the root of its unlikeness (one less its largest cosine to
        what the bank holds and to what is chosen already), times predicted IoU. What is as good as
        the same as something held or chosen is left out.

        Args:
            count: the most to choose.
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
        """All that could be suggested, in the order of their images, each with its gain alone."""
        self._sift()
        class_means = self._class_means()
        gains = _gains(self._rows, class_means, self._rows["known"])
        return [
            self._suggestion(index, float(gains[index]), class_means.labels)
            for index in np.flatnonzero(gains > 0).tolist()
        ]

    def _look(self, image: int, proposals: Proposals) -> tuple[Array, Array]:
        """The candidates of one image, as rows and features."""
        recipe, features = self._recipe, compared_features(proposals)
        similarity = similarities(features, self._bank, recipe.negative_sigma)
        labels, scores, margins = best_class(similarity)
        ious = proposals.ious.detach().cpu().float().numpy()
        boxes = proposals.boxes.detach().cpu().numpy()
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
        """Keep as many candidates of each class as there is room for."""
        rows = np.concatenate([self._rows, *(rows for rows, _ in self._waiting)])
        features = np.concatenate([self._features, *(found for _, found in self._waiting)])
        kept = np.sort(_fair_share(rows["label"], rows["lot"], self._size))
        self._rows, self._features, self._waiting = rows[kept], features[kept], []

    def _class_means(self) -> ClassMeans:
        """Where the classes lie, by the candidates kept, which stand for those that are not."""
        rows, labels = self._rows, self._rows["label"]
        kept = np.bincount(labels, minlength=len(self._seen))
        # Squared, so that the many that show nothing of any class count for little.
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
        """What sets a candidate apart that is most like those of the class ``like``."""
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


class _Taught:
    """Everything that a bank learnt, to be compared with candidates."""

    def __init__(self, bank: MemoryBank) -> None:
        shots = [bank.shots(label) for label in bank.classes]
        self._starts = np.cumsum([0, *shots[:-1]])
        features = torch.cat([bank.features(label) for label in bank.classes])
        negatives = torch.cat([bank.negatives(label) for label in bank.classes])
        self._references = F.normalize(features, dim=1).numpy()
        self._negatives = F.normalize(negatives, dim=1).numpy()

    def sums(self) -> tuple[Array, Array]:
        """Of each class the sum of its references' unit-length features, and their number."""
        ends = np.append(self._starts[1:], len(self._references))
        return np.add.reduceat(self._references, self._starts, axis=0), ends - self._starts

    def nearest(self, features: Array, labels: Array) -> tuple[Array, Array]:
        """Cosine to the most similar reference of a class, and to the most similar of anything.

        Args:
            features: unit-length, float (n, C).
            labels: the class of each, int (n,).
        """
        by_class = np.maximum.reduceat(features @ self._references.T, self._starts, axis=1)
        known = by_class.max(axis=1)
        if len(self._negatives):
            known = np.maximum(known, (features @ self._negatives.T).max(axis=1))
        return np.take_along_axis(by_class, labels[:, None], axis=1)[:, 0], known


def _gains(rows: Array, class_means: ClassMeans, nearest: Array) -> Array:
    """What each candidate would teach: float (n,), 0 where it is known already."""
    unlike = np.where(nearest < _KNOWN, np.sqrt((1 - nearest).clip(0, 1)), 0)
    gains: Array = rows["iou"].clip(0, 1) * unlike * class_means.closed.clip(_LEAST_CLOSED, 1)
    return gains


def _fair_share(labels: Array, lots: Array, size: int) -> Array:
    """Indices of ``size`` candidates, as many of each class as can be, the lowest lots first."""
    order = np.lexsort((lots, labels))
    starts = np.searchsorted(labels[order], labels[order])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - starts
    kept: Array = np.lexsort((lots, place))[:size]
    return kept


def _rivals(similarity: Array, labels: Array) -> Array:
    """The next best class of each row of float (n, k); 0 with one class."""
    others = similarity.copy()
    np.put_along_axis(others, labels[:, None], -1, axis=1)
    rivals: Array = others.argmax(axis=1)
    return rivals


def _is_free(mask: PackedMask | None, taught: Sequence[Box]) -> bool:
    """Whether a proposal's mask shows something of the image, and nothing that was taught."""
    return mask is not None and all(box_iou(mask.box, box) <= _SAME_OBJECT for box in taught)
