"""Proposals of many images that would teach a memory bank most, were a person to name them.

Three things make one worth a look: the bank is unsure of its class, it has nothing like it, and
it is likely an object. They are chosen one after the other, and what is like one
that is chosen already is worth less: so twenty suggestions are not twenty of the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .config import Recipe
from .matching import best_class, similarities
from .memory import MemoryBank
from .nms import box_iou, suppress
from .proposals import Proposals
from .references import Box

Array = np.ndarray[Any, Any]

# So many candidates are kept of all images: 8 MB of features in the preset `paper`.
_POOL = 2048
# Below it the segmenter's masks are rarely an object's.
_LEAST_IOU = 0.6
_SAME_OBJECT = 0.5
# From this share of the best class's similarity on, the second best is as good a guess.
_UNSURE = 0.9
# Below it a proposal is all but the same as something that the bank holds.
_LEAST_GAIN = 0.001

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
        ("worth", np.float32),
        ("gain", np.float32),
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
        gain: how much it would teach, in [0, 1]: to be compared, and of no unit.
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
    """Candidates of many images, the best of which are kept: memory does not grow with images."""

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
        self._rows = np.zeros(0, _ROW)
        self._features = np.zeros((0, bank.fingerprint.channels), np.float32)
        self._waiting: list[tuple[Array, Array]] = []

    def add(self, image: int, proposals: Proposals, taught: Sequence[Box] = ()) -> None:
        """Take the candidates of an image: what matching leaves and is worth a look.

        Of proposals that overlap (box IoU above 0.5), one is taken.

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
        free = [_is_free(proposals, index, taught) for index in rows["proposal"].tolist()]
        self._waiting.append((rows[free], features[free]))
        if sum(len(rows) for rows, _ in self._waiting) > self._size:
            self._sift()

    def choose(self, count: int) -> list[Suggestion]:
        """The suggestions, the most telling first; fewer where nothing else would teach anything.

        One after the other the candidate of the largest gain: the similarity to its second best
        class (large where the bank is unsure, and small for background, which is like no class)
        times unlikeness (one less its largest cosine to what the bank holds and to what is chosen
        already) times predicted IoU.

        Args:
            count: the most to choose.
        """
        self._sift()
        rows, features = self._rows, self._features
        nearest = rows["known"].copy()
        found: list[Suggestion] = []
        for _ in range(min(count, len(rows))):
            gains = rows["worth"] * (1 - nearest)
            best = int(gains.argmax())
            if gains[best] < _LEAST_GAIN:
                break
            found.append(self._suggestion(best, float(gains[best])))
            nearest = np.maximum(nearest, features @ features[best])
            nearest[best] = 1
        return found

    def _look(self, image: int, proposals: Proposals) -> tuple[Array, Array]:
        """The candidates of one image, as rows and features."""
        recipe, features = self._recipe, proposals.features.detach().cpu().float()
        similarity = similarities(features, self._bank, recipe.negative_sigma).numpy()
        labels, scores, margins = best_class(similarity)
        ious = proposals.ious.detach().cpu().float().numpy()
        boxes = proposals.boxes.detach().cpu().numpy()
        kept = suppress(boxes, ious, labels, recipe.nms_iou)
        kept = kept[(scores[kept] > 0) & (ious[kept] >= _LEAST_IOU)]
        features = features[torch.from_numpy(kept)]
        nearest, known = self._taught.nearest(features, labels[kept])

        rows = np.zeros(len(kept), _ROW)
        rows["image"], rows["proposal"], rows["box"] = image, kept, boxes[kept]
        rows["label"], rows["rival"] = labels[kept], _rivals(similarity[kept], labels[kept])
        rows["score"], rows["iou"] = scores[kept], ious[kept]
        rows["rival_score"] = scores[kept] - margins[kept]
        rows["nearest"], rows["known"] = nearest, known
        # With one class there is nothing to take it for: all are equally unsure.
        alone = similarity.shape[1] == 1
        unsure = rows["score"] if alone else rows["rival_score"]
        rows["worth"] = unsure * rows["iou"].clip(0, 1)
        rows["gain"] = rows["worth"] * (1 - known).clip(0, 1)
        alike = np.zeros(len(rows), np.int64)
        apart = np.sort(suppress(rows["box"], rows["gain"], alike, _SAME_OBJECT))
        return rows[apart], features.numpy()[apart]

    def _sift(self) -> None:
        """Keep the candidates of the largest gain; the earlier among equals."""
        rows = np.concatenate([self._rows, *(rows for rows, _ in self._waiting)])
        features = np.concatenate([self._features, *(found for _, found in self._waiting)])
        best = np.sort(np.argsort(-rows["gain"], kind="stable")[: self._size])
        self._rows, self._features, self._waiting = rows[best], features[best], []

    def _suggestion(self, index: int, gain: float) -> Suggestion:
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
            reason=self._reason(index),
        )

    def _reason(self, index: int) -> str:
        """What sets a candidate apart."""
        row, classes = self._rows[index], self._bank.classes
        label, rival = classes[row["label"]], classes[row["rival"]]
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
        self._references = F.normalize(features, dim=1)
        self._negatives = F.normalize(negatives, dim=1)

    def nearest(self, features: Tensor, labels: Array) -> tuple[Array, Array]:
        """Cosine to the most similar reference of a class, and to the most similar of anything.

        Args:
            features: unit-length, float (n, C).
            labels: the class of each, int (n,).
        """
        cosines = (features @ self._references.T).numpy()
        by_class = np.maximum.reduceat(cosines, self._starts, axis=1)
        known = by_class.max(axis=1)
        if len(self._negatives):
            known = np.maximum(known, (features @ self._negatives.T).numpy().max(axis=1))
        return np.take_along_axis(by_class, labels[:, None], axis=1)[:, 0], known


def _rivals(similarity: Array, labels: Array) -> Array:
    """The next best class of each row of float (n, k); 0 with one class."""
    others = similarity.copy()
    np.put_along_axis(others, labels[:, None], -1, axis=1)
    rivals: Array = others.argmax(axis=1)
    return rivals


def _is_free(proposals: Proposals, proposal: int, taught: Sequence[Box]) -> bool:
    """Whether a proposal shows something of the image, and nothing that was taught."""
    mask = proposals.masks[proposal]
    return mask is not None and all(box_iou(mask.box, box) <= _SAME_OBJECT for box in taught)
