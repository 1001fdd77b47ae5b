"""How good the references of a bank are, and which of them are unusual or repeated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .memory_bank import MemoryBank, StoredReference


@dataclass(frozen=True)
class ReferenceQuality:
    """How well one reference stands for its class, in cosines.

    Attributes:
        own: to the mean of its class's other references; nan if it is the only one. Of a
            negative: to its class's prototype.
        close: the mean to the nearer half of these others, which one bad reference among them
            does not change; nan if it is the only one, and of a negative.
        nearest_class: the other class whose prototype is nearest; None with one class.
        nearest: to that prototype; nan with one class.
    """

    id: str
    label: str
    own: float
    close: float
    nearest_class: str | None
    nearest: float


def reference_quality(bank: MemoryBank) -> list[ReferenceQuality]:
    """The quality of every reference, class by class, in order of addition."""
    found = []
    for label in bank.classes:
        features = bank.features(label)
        alone = len(features) == 1
        own = F.cosine_similarity(features, features.sum(dim=0) - features, dim=1)
        own = torch.full_like(own, math.nan) if alone else own
        found += _qualities(bank, label, bank.references(label), features, own, _close(features))
    return found


def negative_quality(bank: MemoryBank) -> list[ReferenceQuality]:
    """The quality of every negative, class by class, in order of addition."""
    found = []
    prototypes = bank.prototypes()
    for label, prototype in zip(bank.classes, prototypes, strict=True):
        features = bank.negatives(label)
        own = F.normalize(features, dim=1) @ prototype
        unknown = torch.full_like(own, math.nan)
        found += _qualities(bank, label, bank.negative_references(label), features, own, unknown)
    return found


def class_similarity(bank: MemoryBank) -> Tensor:
    """Cosines of the classes' prototypes, float32 (k, k), in the order of ``bank.classes``."""
    prototypes = bank.prototypes()
    return (prototypes @ prototypes.T).clamp(-1, 1)


def _qualities(
    bank: MemoryBank,
    label: str,
    stored: Sequence[StoredReference],
    features: Tensor,
    own: Tensor,
    close: Tensor,
) -> list[ReferenceQuality]:
    labels = bank.classes
    others = F.normalize(features, dim=1) @ bank.unit_features.prototypes.T
    others[:, labels.index(label)] = -torch.inf
    nearest, which = others.max(dim=1)
    alone = len(labels) == 1
    rows = zip(stored, own.tolist(), close.tolist(), nearest.tolist(), which.tolist(), strict=True)
    return [
        ReferenceQuality(
            id=entry.id,
            label=label,
            own=to_own,
            close=to_close,
            nearest_class=None if alone else labels[other],
            nearest=math.nan if alone else to_other,
        )
        for entry, to_own, to_close, to_other, other in rows
    ]


def _close(features: Tensor) -> Tensor:
    """Mean cosine of each feature (n, C) to the nearer half of the others, (n,)."""
    count = len(features)
    if count == 1:
        return torch.full((1,), math.nan)
    unit = F.normalize(features, dim=1)
    cosines = unit @ unit.T
    cosines.fill_diagonal_(-torch.inf)
    return cosines.topk(count // 2, dim=1).values.mean(dim=1)


# The rule below was tuned with the networks of the preset `tiny`, on scenes and draws that
# benchmarks/outliers.py does not report. It knows no absolute similarity, which encoders differ in.
FEWEST_TO_JUDGE = 3
"""Of two references that differ, nothing tells which one is wrong."""

ODD = 2.5
ODD_AND_MORE_LIKE_ANOTHER = 1.75
ODD_AND_BADLY_CUT = 1.5
BADLY_CUT = 0.5
NOT_CUT = 0.1
"""Intersection over union with the given mask."""

_Object = tuple[str | None, str | bytes]
_SAME = 0.9995
# Where all references are as good as equal, small differences say nothing.
_LEAST_USUAL = 0.02


def find_outliers(qualities: Sequence[ReferenceQuality]) -> dict[str, str]:
    """References that are unlike their class, by id, each with a sentence that says why.

    A reference is odd by how many times farther it is from its class than is usual in the bank,
    or in the better part of its class where that is more. In classes of one or two references
    nothing is found.
    """
    usual, oddness = _usual_distance(qualities), _oddness(qualities)
    typical = _median_by_class(qualities)
    found = {}
    for entry in qualities:
        odd = oddness.get(entry.id, 0.0)
        elsewhere = entry.own < entry.nearest and entry.close < entry.nearest
        if odd > ODD_AND_MORE_LIKE_ANOTHER and elsewhere and 1 - entry.nearest <= ODD * usual:
            found[entry.id] = (
                f"more like {entry.nearest_class!r} ({entry.nearest:.2f}) than its own class "
                f"{entry.label!r} ({entry.own:.2f}): perhaps mislabelled"
            )
        elif odd > ODD or (odd > ODD_AND_MORE_LIKE_ANOTHER and elsewhere):
            found[entry.id] = (
                f"unlike the other references of {entry.label!r} ({entry.own:.2f}, where "
                f"{typical[entry.label]:.2f} is usual): look at its mask and at its class"
            )
    return found


def find_badly_cut(
    qualities: Sequence[ReferenceQuality], ious: Mapping[str, float]
) -> dict[str, str]:
    """References whose mask the segmenter does not give again, by id, each with a sentence.

    The segmenter errs too: an IoU below one half counts only for a reference that is rather
    unlike its class, or if next to nothing of the mask is found again.

    ``ious`` has by id the intersection over union of the mask and what the segmenter cuts out
    of its box; references that were not checked are left out.
    """
    oddness = _oddness(qualities)
    found = {}
    for entry in qualities:
        iou = ious.get(entry.id, 1.0)
        if iou < NOT_CUT or (iou < BADLY_CUT and oddness.get(entry.id, 0.0) > ODD_AND_BADLY_CUT):
            found[entry.id] = (
                f"the segmenter cuts something else out of its box (IoU {iou:.2f} with its mask): "
                "the mask may be wrong, or of several objects"
            )
    return found


def find_duplicates(bank: MemoryBank) -> dict[str, str]:
    """References and negatives that show an object once more, by id, each with a sentence.

    The first reference of an object in its class is not among them; one object in two classes, or
    as reference and negative of one class, is found in both places.
    """
    classes_of: dict[_Object, set[str]] = {}
    for label in bank.classes:
        for entry in bank.references(label):
            classes_of.setdefault(_object(entry), set()).add(label)
    found: dict[str, str] = {}
    for label in bank.classes:
        references = bank.references(label)
        for identity in _repeated(references, bank.features(label)):
            found[identity] = f"the same object as another reference of {label!r}"
        known = {}
        for entry in references:
            known[_object(entry)] = entry.id
            if others := sorted(classes_of[_object(entry)] - {label}):
                found[entry.id] = f"the same object is a reference of {others[0]!r} too"
        for negative in bank.negative_references(label):
            if reference := known.get(_object(negative)):
                found[negative.id] = f"the same object is a reference of {label!r} too"
                found[reference] = f"the same object is a negative of {label!r} too"
    return found


def _distances(qualities: Sequence[ReferenceQuality]) -> dict[str, list[float]]:
    """1 - close of the references of each class that can be judged, in order."""
    by_class: dict[str, list[float]] = {}
    for entry in qualities:
        by_class.setdefault(entry.label, []).append(1 - entry.close)
    return {label: far for label, far in by_class.items() if len(far) >= FEWEST_TO_JUDGE}


def _usual_distance(qualities: Sequence[ReferenceQuality]) -> float:
    distances = [far for of_class in _distances(qualities).values() for far in of_class]
    return float(np.median(distances)) if distances else math.nan


def _oddness(qualities: Sequence[ReferenceQuality]) -> dict[str, float]:
    """Distance of each reference from its class, in units of the usual distance, by id."""
    usual, by_class = _usual_distance(qualities), _distances(qualities)
    # A class that varies by nature has a scale of its own: a low quantile, which one or two bad
    # references do not raise.
    scale = {
        label: max(usual, float(np.quantile(far, 0.25)), _LEAST_USUAL)
        for label, far in by_class.items()
    }
    return {
        entry.id: (1 - entry.close) / scale[entry.label]
        for entry in qualities
        if entry.label in scale
    }


def _median_by_class(qualities: Sequence[ReferenceQuality]) -> dict[str, float]:
    owns: dict[str, list[float]] = {}
    for entry in qualities:
        owns.setdefault(entry.label, []).append(entry.own)
    return {label: float(np.median(values)) for label, values in owns.items()}


def _object(entry: StoredReference) -> _Object:
    """Identity of the object: its sample and label id, or the feature if the label is unknown.

    A cloned field repeats label ids and shows the same objects; a cloned sample may not.
    """
    source = entry.provenance
    return source.sample, source.label or entry.feature.numpy().tobytes()


def _repeated(references: Sequence[StoredReference], features: Tensor) -> list[str]:
    """Ids of the references of a class that show the same object as an earlier one."""
    unit = F.normalize(features, dim=1)
    alike = (unit @ unit.T).tril(-1).max(dim=1).values > _SAME
    seen: set[_Object] = set()
    found = []
    for entry, same in zip(references, alike.tolist(), strict=True):
        if same or _object(entry) in seen:
            found.append(entry.id)
        seen.add(_object(entry))
    return found
