"""Whether two journeys gave the same: exactly, or within what a format loses."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.journeys.way import Found, Record

Array = np.ndarray[Any, Any]

# A lossy file moves the edges of masks by a pixel and scores by hundredths; the figures of one
# image with few objects move by more. Measured over all lossy kinds on both scenes.
_SAME_IOU, _SAME_SHARE, _SAME_COSINE, _SAME_AP = 0.8, 0.6, 0.9, 0.25
# Boxes rounded to thousandths of a pixel move masks by a pixel or two.
_ROUNDED_IOU, _ROUNDED_SCORE = 0.97, 0.01


def differences(got: Record, right: Record, lossy: bool, rounded: bool) -> list[str]:
    """What differs between two records, each in a sentence; nothing if they are equal.

    Args:
        got: the journey to judge.
        right: that of the same scene as a plain PNG with masks.
        lossy: whether the file's format loses something.
        rounded: whether the labels' numbers are rounded.
    """
    found = list(_features(got, right, lossy or rounded))
    if lossy:
        return found + list(_nearly(got, right))
    found += _exactly(got.found, right.found, "found", rounded)
    if not rounded:
        found += _scores(got.scores, right.scores, "scores")
        for name, scores in got.again.items():
            found += _scores(scores, right.again[name], f"scores after {name}")
            found += _exactly(
                got.again_found[name], right.again_found[name], f"after {name}", False
            )
    return found


def _features(got: Record, right: Record, loosely: bool) -> Iterator[str]:
    if got.features.keys() != right.features.keys():
        yield f"classes learnt: {sorted(got.features)}, right: {sorted(right.features)}"
        return
    for name, feature in got.features.items():
        expected = right.features[name]
        if feature.shape != expected.shape:
            yield f"{len(feature)} references of {name!r}, right: {len(expected)}"
        elif not loosely and not np.array_equal(feature, expected):
            yield f"a feature of {name!r} is another one, cosine {_cosine(feature, expected):.3f}"
        elif loosely and _cosine(feature, expected) < _SAME_COSINE:
            yield f"a feature of {name!r} is far off, cosine {_cosine(feature, expected):.3f}"


def _cosine(left: Array, right: Array) -> float:
    norms = np.linalg.norm(left, axis=-1) * np.linalg.norm(right, axis=-1)
    return float(((left * right).sum(axis=-1) / norms).min())


def _exactly(got: list[Found], right: list[Found], what: str, rounded: bool) -> list[str]:
    if [entry.label for entry in got] != [entry.label for entry in right]:
        return [f"{what}: {_told(got)}, right: {_told(right)}"]
    found = []
    for one, other in zip(got, right, strict=True):
        near = abs(one.score - other.score) <= (_ROUNDED_SCORE if rounded else 0)
        same = one.box == other.box and np.array_equal(one.mask, other.mask)
        if not near or not (same or (rounded and iou(one, other) >= _ROUNDED_IOU)):
            found.append(
                f"{what}: {_told([one])}, right: {_told([other])}, IoU {iou(one, other):.3f}"
            )
    return found


def _nearly(got: Record, right: Record) -> Iterator[str]:
    again = sum(
        any(one.label == other.label and iou(one, other) >= _SAME_IOU for one in got.found)
        for other in right.found
    )
    if again < math.ceil(_SAME_SHARE * len(right.found)):
        yield f"{again} of {len(right.found)} labels found again: {_told(got.found)}"
    pairs = [(got.scores, right.scores, "scores")]
    pairs += [(scores, right.again[name], f"after {name}") for name, scores in got.again.items()]
    for scores, expected, what in pairs:
        for name in ("segm AP", "bbox AP"):
            if abs(scores[name] - expected[name]) > _SAME_AP:
                yield f"{what}: {name} {scores[name]:.3f}, right: {expected[name]:.3f}"


def _scores(got: dict[str, float], right: dict[str, float], what: str) -> list[str]:
    return [
        f"{what}: {name} {got[name]:.4f}, right: {right[name]:.4f}"
        for name in right
        if got[name] != right[name]
    ]


def iou(one: Found, other: Found) -> float:
    """Intersection over union of two masks."""
    width = max(one.box[2], other.box[2], one.box[0] + one.mask.shape[1]) + 2
    height = max(one.box[3], other.box[3], one.box[1] + one.mask.shape[0]) + 2
    width = max(width, other.box[0] + other.mask.shape[1])
    height = max(height, other.box[1] + other.mask.shape[0])
    left, right = (_laid(entry, height, width) for entry in (one, other))
    return float((left & right).sum() / max(1, (left | right).sum()))


def _laid(entry: Found, height: int, width: int) -> Array:
    full = np.zeros((height, width), bool)
    rows, columns = entry.mask.shape
    full[entry.box[1] : entry.box[1] + rows, entry.box[0] : entry.box[0] + columns] = entry.mask
    return full


def _told(found: list[Found]) -> str:
    return ", ".join(f"{entry.label} {entry.score:.3f} {entry.box}" for entry in found) or "nothing"
